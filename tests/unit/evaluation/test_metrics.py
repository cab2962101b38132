"""Metrics equal their published or documented values, and say why where they have none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.unit.evaluation.conftest import picture

from onedc.engine.torch_engine import to_tensor
from onedc.errors import ConfigError
from onedc.evaluation.metrics import load_image_metrics, psnr
from onedc.model.lpips import LPIPS
from onedc.pretrained.loading import load_mobilenet_v2, read_lpips

ORIGINAL, OTHER = picture(1, 192, 176), picture(2, 192, 176)


def test_psnr_and_ms_ssim_equal_torchmetrics() -> None:
    from torchmetrics.functional.image import (  # here, since importing it takes seconds of every worker
        multiscale_structural_similarity_index_measure,
        peak_signal_noise_ratio,
    )

    a, b = (torch.from_numpy(x).permute(2, 0, 1)[None].double() / 255 for x in (OTHER, ORIGINAL))
    found = {m.name: m.measure(ORIGINAL, OTHER).number for m in load_image_metrics(["psnr", "ms_ssim"])}
    assert found["psnr"] == pytest.approx(float(peak_signal_noise_ratio(a, b, data_range=1.0)), abs=1e-6)
    expected = float(multiscale_structural_similarity_index_measure(a, b, data_range=1.0))
    assert found["ms_ssim"] == pytest.approx(expected, abs=1e-6)


def test_psnr_by_hand() -> None:
    a = np.zeros((2, 2, 3), np.uint8)
    assert psnr(a, a + 1).number == pytest.approx(20 * np.log10(255))
    assert psnr(a, a).number is None and "identical" in psnr(a, a).reason


def test_lpips_squeeze_reproduces_the_values_of_torchmetrics_documentation(metric_weights: Path) -> None:
    net = read_lpips(metric_weights / "lpips_squeeze.safetensors")
    state = torch.random.get_rng_state()
    torch.manual_seed(123)
    a, b = (torch.rand(10, 3, 100, 100) * 2 - 1 for _ in range(2))
    torch.random.set_rng_state(state)
    assert round(float(net(a, b).mean()), 4) == 0.1008
    generator = torch.Generator().manual_seed(42)
    a, b = (torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    assert [round(v, 4) for v in net(a, b).tolist()] == [0.1024, 0.0938]


def test_lpips_of_changing_originals(metric_weights: Path) -> None:
    (metric,) = load_image_metrics(["lpips_squeeze"], metric_weights)
    pairs = [(ORIGINAL, OTHER), (ORIGINAL, ORIGINAL), (OTHER, ORIGINAL), (OTHER, OTHER)]
    values = [metric.measure(*pair).number for pair in pairs]
    assert values[1] == values[3] == 0 and values[0] == pytest.approx(values[2])
    assert "32 pixels" in metric.measure(ORIGINAL[:31], OTHER[:31]).reason


def test_mobilenet_has_the_classes_it_was_trained_on(metric_weights: Path) -> None:
    net = load_mobilenet_v2(metric_weights / "mobilenet_v2_qat.safetensors")
    logits = net.classifier(net(torch.from_numpy(picture(3, 224, 224)).permute(2, 0, 1)[None] / 127.5 - 1))
    assert logits.shape == (1, 1001) and logits.std() > 0.5


@pytest.mark.parametrize("name", ["lpips_squeeze", "lpips_alex", "lpips_vgg", "dists"])
def test_missing_networks_give_a_reason_and_no_number(name: str, tmp_path: Path) -> None:
    (metric,) = load_image_metrics([name], tmp_path)
    value = metric.measure(ORIGINAL, OTHER)
    assert value.number is None and len(value.reason) > 20


def test_packages_are_used_only_with_weights_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Net(torch.nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a - b).abs().mean()

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Net, __version__="1"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (metric,) = load_image_metrics(["lpips_alex"])
    assert "no alexnet-owt-*.pth" in metric.measure(ORIGINAL, OTHER).reason
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "alexnet-owt-1.pth").touch()
    (metric,) = load_image_metrics(["lpips_alex"])
    assert metric.measure(ORIGINAL, ORIGINAL).number == 0.0
    assert (metric.measure(ORIGINAL, OTHER).number or 0) > 0.1
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace())
    (metric,) = load_image_metrics(["lpips_alex"])
    assert "lpips cannot be used" in metric.measure(ORIGINAL, OTHER).reason


def test_small_pictures_have_no_ms_ssim() -> None:
    (metric,) = load_image_metrics(["ms_ssim"])
    assert "176 pixels" in metric.measure(ORIGINAL[:175], OTHER[:175]).reason
    assert metric.measure(ORIGINAL[:176, :176], OTHER[:176, :176]).number is not None


def test_unknown_metric() -> None:
    with pytest.raises(ConfigError, match="'vmaf'"):
        load_image_metrics(["vmaf"])


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_lpips_over_other_backbones_from_their_files(tmp_path: Path, backbone: str) -> None:
    net = LPIPS(backbone)
    save_file(net.state_dict(), tmp_path / f"lpips_{backbone}.safetensors")
    (metric,) = load_image_metrics([f"lpips_{backbone}"], tmp_path)
    with torch.inference_mode():
        wanted = float(net(*(to_tensor(picture) for picture in (ORIGINAL, OTHER))))
    assert metric.measure(ORIGINAL, OTHER).number == pytest.approx(wanted, rel=1e-4)
    assert metric.identity.startswith(f"lpips_{backbone} ")
