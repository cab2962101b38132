"""LPIPS over its three backbones. Its real weights over SqueezeNet: evaluation/."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from onedc.errors import WeightsError
from onedc.model.lpips import BACKBONES, LPIPS, backbone_of
from onedc.pretrained.loading import read_lpips


def random_net(backbone: str, *, average_pooling: bool = False) -> LPIPS:
    torch.manual_seed(0)
    net = LPIPS(backbone, average_pooling=average_pooling)
    for level in range(len(net.widths)):
        nn.init.uniform_(net.get_submodule(f"lin{level}").weight)
    return net


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_is_zero_for_equal_pictures_and_has_gradients(backbone: str) -> None:
    net = random_net(backbone)
    x = torch.rand(2, 3, 64, 80) * 2 - 1
    y = (torch.rand(2, 3, 64, 80) * 2 - 1).requires_grad_(True)
    assert net(x, x).tolist() == [0.0, 0.0]
    distance = net(x, y)
    assert distance.shape == (2,) and (distance > 0).all()
    distance.sum().backward()
    assert y.grad is not None and y.grad.abs().sum() > 0
    seen = net.features(x)
    assert tuple(f.shape[1] for f in seen) == net.widths
    assert torch.equal(net.distance(seen, net.features(y)), distance)


def by_hand(state: dict[str, Tensor], x: Tensor, y: Tensor, *, average: bool) -> Tensor:
    """LPIPS over VGG16 by the names that its convolutions have in torchvision, pictures in [0,1]."""
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    ends, levels = {2: 0, 7: 1, 14: 2, 21: 3, 28: 4}, []
    for picture in (x, y):
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        h, found = ((picture + 1) / 2 - mean) / std, []
        for number, following in pairwise((*numbers, 30)):
            kernel, bias = (state[f"net.features.{number}.{part}"] for part in ("weight", "bias"))
            h = F.relu(F.conv2d(h, kernel, bias, padding=1))
            if number in ends:
                found.append(h / (h.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
            if following - number == 3:  # a pooling layer lies between
                h = F.avg_pool2d(h, 2) if average else F.max_pool2d(h, 2)
        levels.append(found)
    total = torch.zeros(len(x))
    for level, (a, b) in enumerate(zip(*levels, strict=True)):
        total += ((a - b).square() * state[f"lin{level}.weight"]).sum(dim=1).mean(dim=(1, 2))
    return total


@torch.no_grad()
@pytest.mark.parametrize("average", [False, True])
def test_vgg_is_the_formula(average: bool) -> None:
    net = random_net("vgg", average_pooling=average)
    x, y = (torch.rand(1, 3, 48, 64) * 2 - 1 for _ in range(2))
    wanted = by_hand(net.state_dict(), x, y, average=average)
    assert torch.allclose(net(x, y), wanted, rtol=1e-3)


def test_how_maps_are_pooled_is_no_part_of_the_weights(tmp_path: Path) -> None:
    save_file(random_net("vgg").state_dict(), tmp_path / "vgg.safetensors")
    x, y = (torch.rand(1, 3, 64, 64) * 2 - 1 for _ in range(2))
    nets = [read_lpips(tmp_path / "vgg.safetensors", average_pooling=each) for each in (False, True)]
    assert nets[0](x, y).item() != nets[1](x, y).item()
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in nets[1].modules())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_file_says_which_backbone_it_holds(tmp_path: Path, backbone: str) -> None:
    net, file = LPIPS(backbone), tmp_path / "own.safetensors"
    save_file(net.state_dict(), file)
    assert backbone_of(net.state_dict()) == read_lpips(file).backbone == backbone
    assert not read_lpips(file, backbone).training
    other = next(name for name in BACKBONES if name != backbone)
    with pytest.raises(WeightsError, match=f"LPIPS over {other}"):
        read_lpips(file, other)


def test_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"damaged")
    for name in ("other", "damaged", "absent"):
        with pytest.raises(WeightsError, match=name):
            read_lpips(tmp_path / f"{name}.safetensors")
