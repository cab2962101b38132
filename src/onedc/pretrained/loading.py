"""Tensors of files into modules: every network that was trained elsewhere comes in through here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from onedc.errors import WeightsError, one_line
from onedc.model.features import MobileNetV2Features
from onedc.model.lpips import BACKBONES, LPIPS, backbone_of
from onedc.pretrained.checkpoint import open_checkpoint
from onedc.pretrained.fitting import fit
from onedc.pretrained.layouts import LAYOUTS, shapes_of
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
    """All tensors of a file.

    Raises:
        WeightsError: missing or damaged, or values that are not finite.
    """
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
