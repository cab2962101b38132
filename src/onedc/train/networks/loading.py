"""Pretrained networks from files into the modules of a stage. No training, no recipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from onedc.config import SMALL, ModelConfig
from onedc.errors import ConfigError
from onedc.model.blocks import with_lower_knots
from onedc.model.lora import adapt
from onedc.model.lpips import LPIPS
from onedc.model.maskgit import MaskGITTokenizer
from onedc.model.onedc import OneDC
from onedc.model.taef2 import TAEF2
from onedc.pretrained.loading import fill, load_network, read_lpips
from onedc.pretrained.runs import run_config, stored_network
from onedc.train.checkpoint import find_checkpoint
from onedc.train.config import NetsConfig
from onedc.train.networks.score import ScoreConfig, ScoreNetwork, TextEncoder
from onedc.train.stages.tokenizer import PixelTokenizer
from onedc.weights import BUNDLED
from onedc.weights.file import trainable_tensors
from onedc.weights.lora import merged, rank_of


def load_model(config: ModelConfig, nets: NetsConfig, adapter_rank: int = 0) -> OneDC:
    """The model of a stage: random but for its autoencoder, or all from `nets.start`.

    The autoencoder comes from its files; without them that of the bundled weights is taken. A start may lack
    the injection of noise. With `adapter_rank` the generator's UNet has adapters: those of `nets.start` go on
    where it is a run that has some of this rank; any others are merged into their layers, and new ones begin
    at zero.

    Raises:
        ConfigError: only one half of TAEF2 is named.
        WeightsError: a file is missing, damaged or of another network.
    """
    if bool(nets.vae_encoder) != bool(nets.vae_decoder):
        raise ConfigError("nets.vae_encoder, nets.vae_decoder: name both files or neither")
    model = OneDC(config)
    if nets.vae_encoder and not config.reduced:
        load_network(model.vae.get_submodule("encoder"), "taef2-encoder", nets.vae_encoder)
        load_network(model.vae.get_submodule("decoder"), "taef2-decoder", nets.vae_decoder)
    elif has_bundled_vae(config) and not nets.start:
        bundled = start_tensors(BUNDLED, config)
        fill(model.vae, {name[4:]: t for name, t in bundled.items() if name.startswith("vae.")}, str(BUNDLED))
    if nets.vae:
        load_network(model.vae, "sd-vae", nets.vae)
    if nets.generator:
        load_network(model.generator.unet, "dmd2-unet", nets.generator, own=("conv_in.",))
    adapted = False
    if nets.start:
        tensors = start_tensors(Path(nets.start), config)
        adapted = adapter_rank > 0 and rank_of(tensors) == adapter_rank
        if adapted:
            adapt(model.generator.unet, adapter_rank)
        new = {name: t for name, t in model.state_dict().items() if name.startswith("generator.noise.")}
        fill(model, new | (tensors if adapted else merged(tensors, nets.start)), nets.start)
    if adapter_rank and not adapted:
        adapt(model.generator.unet, adapter_rank)
    return model


def load_autoencoder(config: ModelConfig, nets: NetsConfig) -> TAEF2 | None:
    """TAEF2 beside a model with a reduced one, by `nets.vae_encoder` and `nets.vae_decoder`; else None.

    Without them such a model goes on with the latents of its own.

    Raises:
        WeightsError: a file is missing, damaged or of another network.
    """
    if not (config.reduced and nets.vae_encoder and nets.vae_decoder):
        return None
    autoencoder = TAEF2(config.vae_channels)
    load_network(autoencoder.encoder, "taef2-encoder", nets.vae_encoder)
    load_network(autoencoder.decoder, "taef2-decoder", nets.vae_decoder)
    return autoencoder


def load_codec(nets: NetsConfig) -> OneDC:
    """The codec of the weights file `nets.codec`, its seam as floats again.

    Raises:
        ConfigError: it is not set.
        WeightsError: missing, damaged or of another kind.
    """
    place = _named(nets, "codec", "name the weights file of the codec to imitate")
    config, tensors = trainable_tensors(place)
    return _filled(config, tensors, nets.codec)


def _named(nets: NetsConfig, field: str, advice: str) -> Path:
    """The place of a network. Raises ConfigError, which ends with the advice, where it is not set."""
    place = getattr(nets, field)
    if not place:
        raise ConfigError(f"nets.{field}: not set; {advice}")
    return Path(place)


def _filled(config: ModelConfig, tensors: Mapping[str, Tensor], origin: str) -> OneDC:
    with torch.device("meta"):
        model = OneDC(config)
    fill(model.to_empty(device="cpu"), tensors, origin)
    return model


def takes_taef2(config: ModelConfig) -> bool:
    """Whether TAEF2 as published is a model's autoencoder, or makes the latents that it learns."""
    return config.reduced or (config.vae == "taef2" and config.vae_width == SMALL.vae_width)


def has_bundled_vae(config: ModelConfig) -> bool:
    """Whether a model's autoencoder has the layers of the bundled one."""
    return all(getattr(config, name) == getattr(SMALL, name) for name in ("vae", "vae_width", "reduced"))


def start_tensors(place: Path, config: ModelConfig) -> dict[str, Tensor]:
    """All parameters of a codec: from a run's folder, one checkpoint of it, or a weights file.

    A weights file with fewer knots of quality than the configuration is taken for one of its highest rates.

    Raises:
        WeightsError: missing, damaged or no codec.
    """
    if not place.is_file():
        return checkpoint_tensors(find_checkpoint(place))
    _, tensors = trainable_tensors(place)
    return with_lower_knots(tensors, config.quality_knots)


def load_checkpoint(folder: Path) -> OneDC:
    """The codec of a checkpoint folder, with the running mean of its weights where there is one.

    Raises:
        WeightsError: not a checkpoint of a codec, or a damaged one.
    """
    return _filled(run_config(folder), checkpoint_model(folder), str(folder))


def checkpoint_model(path: Path, prefix: str = "model") -> dict[str, Tensor]:
    """The tensors of one stored network of a checkpoint folder, its adapters merged into their layers.

    Raises:
        WeightsError: missing or damaged.
    """
    return merged(checkpoint_tensors(path, prefix), str(path))


def checkpoint_tensors(path: Path, prefix: str = "model") -> dict[str, Tensor]:
    """The tensors of one stored network of a checkpoint folder, its running mean where there is one.

    Raises:
        WeightsError: missing or damaged.
    """
    stored = stored_network(path, prefix)
    return {name: stored.tensor(name) for name in stored.shapes}


def load_score(config: ScoreConfig, model: ModelConfig, nets: NetsConfig) -> ScoreNetwork:
    """A score network from `nets.score`: a teacher's checkpoint, or a UNet in diffusers' layout; else random.

    Raises:
        WeightsError: a file is missing, damaged or of another network.
    """
    score = ScoreNetwork(config, model)
    if not nets.score:
        return score
    place = Path(nets.score)
    if (place / "checkpoints").is_dir() or (place / "state.json").is_file():  # no published network's folder
        fill(score, checkpoint_model(find_checkpoint(place), "score"), nets.score)
    else:
        load_network(score.unet, "sd15-unet", nets.score)
    return score


def load_tokenizer(nets: NetsConfig) -> PixelTokenizer | MaskGITTokenizer:
    """The tokenizer of the run or checkpoint `nets.teacher`; of a file, MaskGIT's.

    Raises:
        ConfigError: `nets.teacher` is not set.
        WeightsError: it is no tokenizer's.
    """
    place = _named(nets, "teacher", "distillation needs a tokenizer's run, or MaskGIT's file")
    if place.is_file():
        maskgit = MaskGITTokenizer()
        load_network(maskgit, "maskgit-vqgan", nets.teacher)
        return maskgit
    tensors = checkpoint_model(find_checkpoint(place), "tokenizer")
    tokenizer = PixelTokenizer(len(tensors["codebook"]))
    fill(tokenizer, tensors, nets.teacher)
    return tokenizer


def load_text(config: ScoreConfig, model: ModelConfig, nets: NetsConfig) -> TextEncoder | None:
    """The text encoder of `nets.text`, where guidance is by captions.

    Raises:
        ConfigError: `nets.text` is not set, or its width is not that of the model's tokens.
        WeightsError: not a text encoder.
    """
    if config.guidance != "text":
        return None
    encoder = TextEncoder(_named(nets, "text", "guidance by text needs a CLIP text encoder"))
    if encoder.width != model.token_channels:
        raise ConfigError(
            f"nets.text: width {encoder.width}, but tokens have {model.token_channels} channels"
        )
    return encoder


class NoLPIPS(LPIPS):
    """Stands for LPIPS in a loss where it weighs nothing: 0 for any two pictures."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def features(self, x: Tensor) -> list[Tensor]:
        return [x.new_zeros(len(x))]

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        return a[0]


def load_lpips(nets: NetsConfig, *, weight: float = 1.0) -> LPIPS:
    """LPIPS with the weights of `nets.lpips`. Only where its `weight` in the loss is 0 may there be none.

    Raises:
        ConfigError: `nets.lpips` is not set.
        WeightsError: the file is missing, damaged or of another network.
    """
    if not nets.lpips and not weight:
        return NoLPIPS()
    kind = nets.lpips_net
    listed = f"name the file of LPIPS over {kind} (`onedc nets list lpips-{kind}`)"
    place = _named(nets, "lpips", f"{listed}, or with nets.lpips_net another backbone")
    return read_lpips(place, nets.lpips_net, average_pooling=nets.lpips_averages)
