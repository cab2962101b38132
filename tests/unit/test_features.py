"""MobileNetV2's features: shapes, and what the loader refuses. Its real weights: evaluation/."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from onedc.errors import WeightsError
from onedc.model.features import MobileNetV2Features, SameConv2d
from onedc.pretrained.loading import load_mobilenet_v2


@pytest.mark.parametrize(("size", "stride"), [(7, 1), (7, 2), (8, 2), (9, 3)])
def test_same_padding_keeps_size_over_stride_and_pads_right(size: int, stride: int) -> None:
    layer = SameConv2d(1, 1, 3, stride=stride, bias=False)
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        out = layer(torch.ones(1, 1, size, size))
    assert out.shape[-2:] == (-(-size // stride),) * 2
    if (size, stride) == (8, 2):
        assert out[0, 0, 0, 0] == 9 and out[0, 0, -1, -1] == 4


def test_mobilenet_pools_to_1280() -> None:
    net = MobileNetV2Features()
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 1280)
    assert net.classifier(net(torch.zeros(1, 3, 64, 64))).shape == (1, 1001)


def test_loader_takes_its_own_weights_and_refuses_others(tmp_path: Path) -> None:
    save_file(MobileNetV2Features().state_dict(), tmp_path / "own.safetensors")
    assert not load_mobilenet_v2(tmp_path / "own.safetensors").training
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"damaged")
    for name in ("other", "damaged", "absent"):
        with pytest.raises(WeightsError, match=name):
            load_mobilenet_v2(tmp_path / f"{name}.safetensors")
