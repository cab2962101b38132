"""Pretrained networks from files into the modules of a stage. No training, no recipes."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from onedc.config import SMALL, ModelConfig
from onedc.errors import ConfigError, WeightsError
from onedc.model.adapters import merged
from onedc.model.features import MobileNetV2Features, load_mobilenet_v2
from onedc.model.lpips import LPIPS, read_lpips
from onedc.model.maskgit import MaskGITTokenizer
from onedc.model.onedc import OneDC
from onedc.train.checkpoint import find_checkpoint, read_state
from onedc.train.config import NetsConfig
from onedc.train.score import ScoreConfig, ScoreNetwork
from onedc.train.text import TextEncoder
from onedc.train.tokenizer import FeatureTokenizer, PixelFeatures, TokenizerConfig
from onedc.weights import BUNDLED
from onedc.weights.file import trainable_tensors


def fill(module: nn.Module, tensors: dict[str, Tensor], origin: str) -> None:
    """Copy `tensors`, of any floating type, into a module of the same names.

    Raises:
        WeightsError: names or shapes do not fit.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{origin}: does not fit {type(module).__name__} ({reason})") from error


def read_file(path: str) -> dict[str, Tensor]:
    """All tensors of a safetensors file, or of one of PyTorch's with nothing but tensors in it.

    Raises:
        WeightsError: missing or damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return tensors
        return load_file(path)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: not a readable file of tensors ({reason})") from error


def load_model(config: ModelConfig, nets: NetsConfig) -> OneDC:
    """The model of a stage: random but for its autoencoder, or all from `nets.start`.

    The autoencoder comes from its files; without them TAEF2 comes from the bundled weights.

    Raises:
        ConfigError: only one half of TAEF2 is named.
        WeightsError: a file is missing, damaged or of another network.
    """
    if bool(nets.vae_encoder) != bool(nets.vae_decoder):
        raise ConfigError("nets.vae_encoder, nets.vae_decoder: name both files or neither")
    model = OneDC(config)
    if nets.vae_encoder:
        fill(model.vae.get_submodule("encoder"), read_file(nets.vae_encoder), nets.vae_encoder)
        fill(model.vae.get_submodule("decoder"), read_file(nets.vae_decoder), nets.vae_decoder)
    elif has_taef2(config) and not nets.start:
        bundled = start_tensors(BUNDLED)
        fill(model.vae, {name[4:]: t for name, t in bundled.items() if name.startswith("vae.")}, str(BUNDLED))
    if nets.vae:
        fill(model.vae, read_file(nets.vae), nets.vae)
    if nets.generator:
        unet = model.generator.unet
        own_input = {f"conv_in.{name}": t for name, t in unet.conv_in.state_dict().items()}
        fill(unet, read_file(nets.generator) | own_input, nets.generator)
    if nets.start:
        fill(model, start_tensors(Path(nets.start)), nets.start)
    return model


def has_taef2(config: ModelConfig) -> bool:
    """Whether a model's autoencoder is TAEF2 in its own width."""
    return config.vae == "taef2" and config.vae_width == SMALL.vae_width


def start_tensors(place: Path) -> dict[str, Tensor]:
    """All parameters of a codec: from a run's folder, one checkpoint of it, or a weights file.

    Raises:
        WeightsError: missing, damaged or no codec.
    """
    if place.is_file():
        return trainable_tensors(place)[1]
    return checkpoint_model(find_checkpoint(place))


def load_checkpoint(folder: Path) -> OneDC:
    """The codec of a checkpoint folder, with the running mean of its weights where there is one.

    Raises:
        WeightsError: not a checkpoint of a codec, or a damaged one.
    """
    try:
        config = ModelConfig.from_json(read_state(folder)["model"])
    except (KeyError, ConfigError) as error:
        raise WeightsError(f"{folder}: state.json has no usable model ({error})") from error
    with torch.device("meta"):
        model = OneDC(config)
    fill(model.to_empty(device="cpu"), checkpoint_model(folder), str(folder))
    return model


def checkpoint_model(path: Path, prefix: str = "model") -> dict[str, Tensor]:
    """The tensors of one stored network of a checkpoint folder, its running mean where there is one.

    Adapters are merged into their layers.

    Raises:
        WeightsError: missing or damaged.
    """
    lead = f"{prefix}."
    stored = read_file(str(path / "model.safetensors"))
    if (path / "ema.safetensors").exists():
        stored |= read_file(str(path / "ema.safetensors"))
    found = {name.removeprefix(lead): t for name, t in stored.items() if name.startswith(lead)}
    if not found:
        raise WeightsError(f"{path}: a checkpoint without the network {prefix!r}")
    return merged(found)


def load_score(config: ScoreConfig, model: ModelConfig, nets: NetsConfig) -> ScoreNetwork:
    """A score network from `nets.score`: a teacher's checkpoint, or a UNet in diffusers' layout; else random.

    Raises:
        WeightsError: a file is missing, damaged or of another network.
    """
    score = ScoreNetwork(config, model)
    if not nets.score:
        return score
    place = Path(nets.score)
    if place.is_dir():
        fill(score, checkpoint_model(find_checkpoint(place), "score"), nets.score)
    else:
        fill(score.unet, read_file(nets.score), nets.score)
    return score


def load_features(nets: NetsConfig) -> MobileNetV2Features:
    """The pretrained features of `nets.features`.

    Raises:
        ConfigError: `nets.features` is not set.
        WeightsError: the file is missing, damaged or of another network.
    """
    if not nets.features:
        raise ConfigError("nets.features: not set; name the safetensors file of MobileNetV2")
    return load_mobilenet_v2(nets.features)


def load_tokenizer(nets: NetsConfig) -> FeatureTokenizer | MaskGITTokenizer:
    """The tokenizer of the run or checkpoint `nets.teacher`; of a file, MaskGIT's.

    Raises:
        ConfigError: `nets.teacher` is not set.
        WeightsError: it is no tokenizer's.
    """
    if not nets.teacher:
        raise ConfigError("nets.teacher: not set; distillation needs a tokenizer's run, or MaskGIT's file")
    if Path(nets.teacher).is_file():
        maskgit, wanted = MaskGITTokenizer(), read_file(nets.teacher)
        fill(maskgit, {k: t for k, t in wanted.items() if not k.startswith("decoder.")}, nets.teacher)
        return maskgit
    tensors = checkpoint_model(find_checkpoint(Path(nets.teacher)), "tokenizer")
    codes, channels = tensors["codebook"].shape
    pixels = len(tensors["middle"]) == PixelFeatures.width
    features = PixelFeatures() if pixels else MobileNetV2Features()
    tokenizer = FeatureTokenizer(features, TokenizerConfig(codes=codes, channels=channels))
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
    if not nets.text:
        raise ConfigError("nets.text: not set, but guidance by text needs a CLIP text encoder")
    encoder = TextEncoder(Path(nets.text))
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
    if not nets.lpips:
        raise ConfigError("nets.lpips: not set; name the safetensors file of LPIPS-squeeze")
    return read_lpips(nets.lpips)
