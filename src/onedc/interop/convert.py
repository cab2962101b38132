"""Published checkpoints of the paper's model to one weights file of ours.

Strict: every weight of every file is used once and none is missing. The networks between z and y become
integers on the way (`seam.conversion`). Tensors pass through memory one by one. Prints nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from onedc.config import SD15, ModelConfig
from onedc.container.packing import PRIVATE_MODEL_IDS
from onedc.entropy.tables import load_tables
from onedc.errors import WeightsError
from onedc.files import file_sha256
from onedc.interop.keys import codec_key, merge_lora, unet_key, vae_key
from onedc.model.onedc import PRECISE_NETS, OneDC
from onedc.pretrained.checkpoint import Checkpoint, joined, open_checkpoint
from onedc.pretrained.fitting import COMPILED, fit
from onedc.seam.conversion import seam_integers
from onedc.weights.file import SEAM_NETS, file_metadata, stored
from onedc.weights.layout import SEAM
from onedc.weights.stream_writer import Entry, write_safetensors

_UNET_INPUT = "conv_in.weight"
STORAGE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Published:
    """The files of one published model."""

    unet: Path  # UNet with adapters, model.safetensors
    codec: Path  # model_1.safetensors
    vae: Path  # Stable Diffusion autoencoder, diffusers' format
    rate: str = ""  # its lambda, kept as a note
    z_only: bool = False  # the published model without y


@dataclass(frozen=True, kw_only=True)
class Options:
    """How published models are converted."""

    storage: str = "bf16"  # a key of STORAGE
    model_id: int = PRIVATE_MODEL_IDS.start  # written into .1dc files; 192..255 are private

    def __post_init__(self) -> None:
        if self.model_id not in PRIVATE_MODEL_IDS:
            raise WeightsError(f"model id {self.model_id}: converted models take 192 to 255")


def convert(published: Published, output: Path, options: Options) -> None:
    """Write published checkpoints as one weights file.

    Raises:
        WeightsError: a file that is missing, damaged, of another network, or not finite in the storage type.
        OutputError: the output cannot be written.
    """
    config, weights = read_published(published)
    integers = convert_seam(config, weights)
    entries = {SEAM + name: Entry.of(value) for name, value in integers.items()}
    for key in weights.shapes:
        if not key.startswith(SEAM_NETS):
            entries[key] = entry(key, weights, STORAGE[options.storage])
    notes = {"origin": json.dumps(origin(published)), "lambda": published.rate}
    write_safetensors(output, entries, notes | file_metadata(config, options.model_id, integers))


def read_published(published: Published) -> tuple[ModelConfig, Checkpoint]:
    """The published weights under our keys, adapters merged, read when asked for; and their configuration.

    Raises:
        WeightsError: see `convert`.
    """
    expected = expected_keys(SD15)
    unet = merge_lora(open_unet(published.unet))
    parts = [
        fit(unet, "published UNet", expected["unet"], unet_key).weights,
        fit(open_checkpoint(published.codec), "published codec", expected["codec"], codec_key).weights,
        fit(open_checkpoint(published.vae), "published autoencoder", expected["vae"], vae_key).weights,
    ]
    return replace(SD15, z_only=published.z_only), joined("published", parts)


def open_unet(path: Path) -> Checkpoint:
    """The published UNet with its adapters, its keys as published whatever a trainer put before them.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    file = open_checkpoint(path)
    first = next((key for key in file.shapes if key.endswith(_UNET_INPUT)), _UNET_INPUT)
    prefix = first.removesuffix(_UNET_INPUT)
    return file.renamed(lambda key: key.replace(COMPILED, "").removeprefix(prefix.replace(COMPILED, "")))


def convert_seam(config: ModelConfig, weights: Checkpoint) -> dict[str, Tensor]:
    """The integers of h_s and the prior. Raises WeightsError: weights that have no fixed-point form."""
    h_s, prior = (build_network(config, weights, name) for name in ("h_s", "prior"))
    return seam_integers(h_s, prior, load_tables().scale.tolist())  # type: ignore[arg-type]


def build_network(config: ModelConfig, weights: Checkpoint, name: str) -> nn.Module:
    """One network of the model ("vae", "g_a", "h_a", ...) in fp32; the others stay on disk."""
    with torch.device("meta"):
        network: nn.Module = getattr(OneDC(config), name)
    tensors = {key: weights.tensor(f"{name}.{key}").float() for key in network.state_dict()}
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def entry(key: str, weights: Checkpoint, dtype: torch.dtype) -> Entry:
    """A parameter as it will stand in the file."""
    return Entry(
        dtype=torch.float32 if key.startswith(PRECISE_NETS) else dtype,
        shape=weights.shapes[key],
        read=lambda: stored(key, weights.tensor(key), dtype),
    )


def origin(published: Published) -> dict[str, dict[str, str]]:
    """Names and hashes of the published files."""
    files = {"unet": published.unet, "codec": published.codec, "vae": published.vae}
    return {name: {"file": path.name, "sha256": file_sha256(path)} for name, path in files.items()}


def expected_keys(config: ModelConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """Our keys and shapes by the published file that holds them."""
    with torch.device("meta"):
        state = OneDC(config).state_dict()
    files: dict[str, dict[str, tuple[int, ...]]] = {"unet": {}, "codec": {}, "vae": {}}
    for key, tensor in state.items():
        file = {"generator": "unet", "vae": "vae"}.get(key.partition(".")[0], "codec")
        files[file][key] = tuple(tensor.shape)
    return files
