"""What the published checkpoints would be: their keys and shapes, filled by the rule of the recorded runs.

Tensors are made when they are asked for, so that a network of 900 million weights costs what is read of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from onedc.config import SD15
from onedc.interop.keys import codec_key, merge_lora, unet_key, vae_key
from onedc.model.onedc import OneDC
from onedc.pretrained.checkpoint import Checkpoint

SHARED = Path(os.environ.get("ONEDC_SHARED", Path(__file__).parents[3] / "shared"))
RECORDED = SHARED / "conformance"
needs_recordings = pytest.mark.skipif(
    not (RECORDED / "weights.py").is_file(), reason=f"recorded reference outputs are not at {RECORDED}"
)


@cache
def rule() -> ModuleType:
    """The module that gives every tensor a value from its name."""
    spec = importlib.util.spec_from_file_location("recorded_weights", RECORDED / "weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of one published file, in its order."""
    text = (SHARED / "spec" / "manifest" / f"{name}.json").read_text()
    return {key: tuple(shape) for key, shape in json.loads(text).items()}


class _Unfilled:
    """Passes for a module whose state dict is filled, one tensor in memory at a time."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.last = torch.empty(0)

    def state_dict(self) -> _Unfilled:
        return self

    def items(self) -> Iterator[tuple[str, Tensor]]:
        for key, shape in self.shapes.items():
            self.last = torch.empty(shape)
            yield key, self.last


def fingerprint(name: str, net: str) -> str:
    """Hash over all weights of one published file."""
    digest: str = rule().fill(_Unfilled(manifest(name)), net)
    return digest


def published(name: str, net: str) -> Checkpoint:
    """One published file."""

    def read(key: str) -> Tensor:
        one = _Unfilled({key: manifest(name)[key]})
        rule().fill(one, net)
        return one.last

    return Checkpoint(name=name, shapes=manifest(name), read=read)


@cache
def ours() -> Checkpoint:
    """All three published files under our keys."""
    parts = [
        published("sd21_vae", "vae").renamed(vae_key),
        published("codec_model", "codec").renamed(codec_key),
        merge_lora(published("feedforward_model", "unet")).renamed(unet_key),
    ]
    owner = {key: part for part in parts for key in part.shapes}
    shapes = {key: shape for part in parts for key, shape in part.shapes.items()}
    assert len(shapes) == sum(len(part.shapes) for part in parts)
    return Checkpoint(name="published", shapes=shapes, read=lambda key: owner[key].tensor(key))


def network(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """One network of the paper's model with the published weights: "vae", "g_a", "h_a", ..."""
    with torch.device("meta"):
        module: nn.Module = getattr(OneDC(SD15), name)
    weights = {key: ours().tensor(f"{name}.{key}").to(dtype) for key in module.state_dict()}
    module.load_state_dict(weights, assign=True)
    return module.eval().requires_grad_(False)
