"""Tensors of files into modules: every network that was trained elsewhere comes in through here.

LAYOUTS has the weights of each under our keys, and their names where it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from onedc.config import SD15
from onedc.errors import WeightsError, one_line
from onedc.model.features import MobileNetV2Features
from onedc.model.lpips import BACKBONES, LPIPS, backbone_of
from onedc.model.maskgit import MaskGITTokenizer
from onedc.model.taef2 import TAEF2
from onedc.model.unet import Transformer2d, UNet
from onedc.model.vae_kl import AutoencoderKL
from onedc.pretrained.checkpoint import open_checkpoint
from onedc.pretrained.fitting import Rename, Shapes, fit
from onedc.pretrained.places import find_weights
from onedc.pretrained.table import PARTS


def fill(module: nn.Module, tensors: Mapping[str, Tensor], origin: str, what: str = "") -> None:
    """Copy `tensors`, of any floating type, into a module of the same names.

    Args:
        origin, what: the file and the network, for messages.

    Raises:
        WeightsError: names or shapes do not fit.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = one_line(error)[:200]
        raise WeightsError(f"{origin}: does not fit {what or type(module).__name__} ({reason})") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file. Raises WeightsError: missing or damaged, or values that are not finite."""
    file = open_checkpoint(path)
    return {key: file.tensor(key) for key in file.shapes}


def read_lpips(path: str | Path, backbone: str = "", *, average_pooling: bool = False) -> LPIPS:
    """LPIPS with the weights of a file.

    Args:
        backbone: a key of BACKBONES that it has to be; "": whichever the file holds.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    tensors = read_tensors(Path(path))
    found = backbone or backbone_of(tensors) or next(iter(BACKBONES))
    net = LPIPS(found, average_pooling=average_pooling)
    fill(net, tensors, str(path), f"LPIPS over {found}")
    return net


def load_mobilenet_v2(path: str | Path) -> MobileNetV2Features:
    """MobileNetV2's features with the weights of a file.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    net = MobileNetV2Features()
    fill(net, read_tensors(Path(path)), str(path))
    return net


def load_network(module: nn.Module, name: str, place: str, *, own: tuple[str, ...] = ()) -> None:
    """Copy a network of the table, as published or converted, into a module.

    Args:
        module: of the network's keys; its widths may be others than the published ones.
        name: of the network in the table.
        place: a file; for a part of a diffusion model also a folder in diffusers' layout, or a hub id.
        own: beginnings of keys that stay as they are in the module.

    Raises:
        WeightsError: missing, damaged or another network.
    """
    layout = LAYOUTS[name]
    path = find_weights(place, PARTS[name]) if name in PARTS else Path(place)
    expected = {key: shape for key, shape in shapes_of(module).items() if not key.startswith(own)}
    ignored = (*layout.ignored, *own)
    found = fit(open_checkpoint(path), name, expected, layout.rename, ignored=ignored).weights
    state = module.state_dict()
    for key in expected:  # one by one: a UNet fills gigabytes
        state[key].copy_(found.tensor(key))


_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
UNBOUNDED = 1 << 30
"""Attention without windows."""


@dataclass(frozen=True)
class Layout:
    """What a network's file holds."""

    build: Callable[[], Shapes]  # our keys and shapes
    rename: Rename = str  # our key of a published one
    ignored: tuple[str, ...] = ()  # what published keys begin with that are of no use here


def newer_attention(published: str) -> str:
    """A key of Stable Diffusion's autoencoder, of either of its two attention namings, in the newer one."""
    for theirs, ours in _OLD_ATTENTION.items():
        published = published.replace(f".attentions.0.{theirs}.", f".attentions.0.{ours}.")
    return published


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a module's weights."""
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def _of(build: Callable[[], nn.Module]) -> Callable[[], dict[str, tuple[int, ...]]]:
    def shapes() -> dict[str, tuple[int, ...]]:
        with torch.device("meta"):
            return shapes_of(build())

    return shapes


def _sd15_unet() -> nn.Module:
    """The UNet of SD 1.5, which DMD2's is too."""
    unet = SD15.generator_unet
    module = UNet(
        unet,
        SD15.vae_channels,
        lambda c: Transformer2d(c, unet.heads, SD15.token_channels, UNBOUNDED, UNBOUNDED),
    )
    module.conv_in = nn.Conv2d(SD15.vae_channels, unet.widths[0], 3, padding=1)
    return module


def clip_text(width: int = 768, layers: int = 12, words: int = 49408, length: int = 77) -> Shapes:
    """The text encoder of CLIP ViT-L/14."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.token_embedding.weight": (words, width),
        "embeddings.position_embedding.weight": (length, width),
    }
    linear = {f"self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "out")}
    linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    norms = {"final_layer_norm"}
    for layer in (f"encoder.layers.{n}" for n in range(layers)):
        norms |= {f"{layer}.layer_norm1", f"{layer}.layer_norm2"}
        for name, shape in linear.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    for norm in norms:
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return shapes


LAYOUTS: dict[str, Layout] = {
    "lpips-squeeze": Layout(_of(lambda: LPIPS("squeeze"))),
    "lpips-vgg": Layout(_of(lambda: LPIPS("vgg"))),
    "lpips-alex": Layout(_of(lambda: LPIPS("alex"))),
    "mobilenet-v2": Layout(_of(MobileNetV2Features)),
    "taef2-encoder": Layout(_of(lambda: TAEF2().encoder)),
    "taef2-decoder": Layout(_of(lambda: TAEF2().decoder)),
    "sd-vae": Layout(_of(AutoencoderKL), newer_attention),
    "dmd2-unet": Layout(_of(_sd15_unet)),
    "sd15-unet": Layout(_of(_sd15_unet)),
    "sd15-text": Layout(clip_text, ignored=("embeddings.position_ids",)),
    "maskgit-vqgan": Layout(_of(MaskGITTokenizer), ignored=("decoder.",)),
}
"""By the names of the table."""
