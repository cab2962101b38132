"""Weights between others: runs/mix_weights.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from tests.conformance.fixture_model import FIXTURE

from onedc.model.onedc import OneDC
from onedc.pretrained.loading import fill
from onedc.weights.file import load_weights, save_weights, trainable_tensors

SCRIPT = Path(__file__).parents[3] / "runs" / "mix_weights.py"


def mixed(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_every_number_is_the_weighed_mean(tmp_path: Path) -> None:
    config, tensors = trainable_tensors(FIXTURE)
    other = OneDC(config)
    fill(other, tensors, str(FIXTURE))
    moved = "generator.vae_reduction.conv2.bias"
    with torch.no_grad():
        other.get_parameter(moved).add_(1.0)
    save_weights(tmp_path / "other.safetensors", other, model_id=255, dtype=torch.float32)
    output = tmp_path / "mixed.safetensors"
    done = mixed(f"3:{FIXTURE}", f"1:{tmp_path / 'other.safetensors'}", "-o", output, "--model-id", 255)
    assert done.returncode == 0, done.stderr
    nets, found = load_weights(FIXTURE).nets, load_weights(output)
    assert found.model_id == 255
    shift = found.nets.get_parameter(moved) - nets.get_parameter(moved)
    torch.testing.assert_close(shift, torch.full_like(shift, 0.25), atol=2e-3, rtol=0)
    still = "g_s.conv_out.ffn.conv_out.weight"
    peak = float(nets.get_parameter(still).abs().max())
    assert (found.nets.get_parameter(still) - nets.get_parameter(still)).abs().max() <= peak / 127


def test_it_refuses_what_it_cannot_mix(tmp_path: Path) -> None:
    for parts in (("half:a",), ("0.5",), ("nan:a",), ("1:a", "0"), ("0:a",)):
        assert mixed(*parts, "-o", tmp_path / "x").returncode == 2
    done = mixed("1:missing.safetensors", "-o", tmp_path / "x.safetensors")
    assert done.returncode == 1 and "missing.safetensors" in done.stderr
    assert not list(tmp_path.iterdir())
