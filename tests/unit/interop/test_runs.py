"""Training runs as rates of a family: adapters stay beside the layers that all of them share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from onedc.cli.main import main
from onedc.config import TINY, ModelConfig
from onedc.errors import WeightsError
from onedc.interop.family import open_run
from onedc.loading import load
from onedc.model.lora import UP, adapt
from onedc.model.onedc import OneDC
from onedc.weights.file import save_weights
from onedc.weights.lora import merged

CONFIG = replace(TINY, quality_knots=0, analysis_unet=replace(TINY.analysis_unet, time_channels=64))


def write_run(folder: Path, index: int, config: ModelConfig = CONFIG) -> Path:
    """A run whose UNet is that of all others but for its adapters, and the same model as a weights file."""
    torch.manual_seed(0)
    shared = {
        k: t for k, t in OneDC(config).state_dict().items() if k.startswith(("generator.unet.", "vae."))
    }
    torch.manual_seed(1 + index)
    model = OneDC(config).eval()
    model.load_state_dict(model.state_dict() | shared)
    adapt(model.generator.unet, rank=4)
    for name, parameter in model.named_parameters():
        if name.endswith(UP):
            torch.nn.init.normal_(parameter, std=0.01)
    place = folder / f"run{index}" / "checkpoints" / "step-00000001"
    place.mkdir(parents=True)
    (place / "state.json").write_text(json.dumps({"model": config.to_json(), "step": 1}))
    save_file({f"model.{key}": t for key, t in model.state_dict().items()}, place / "model.safetensors")
    plain = OneDC(config).eval()
    plain.load_state_dict(merged(model.state_dict(), "run"))
    save_weights(folder / f"{index}.safetensors", plain, model_id=200, dtype=torch.float32)
    return folder / f"run{index}"


def test_runs_become_a_family_that_codes_as_each_of_them(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, index) for index in range(2)]
    output = tmp_path / "family.safetensors"
    command = ["convert", "--run", "12.2", str(runs[0]), "--run", "4.6", str(runs[1]), "-o", str(output)]
    assert main([*command, "--storage", "fp32", "--model-id", "200"]) == 0
    family = load(output, precision="fp32")
    picture = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    for index, quality in ((0, 20), (1, 90)):
        alone = load(tmp_path / f"{index}.safetensors", precision="fp32")
        data = family.encode(picture, quality=quality)
        assert data == alone.encode(picture, quality=quality)
        decoded = alone.decode(data, output="torch")
        assert torch.allclose(family.decode(data, output="torch"), decoded, atol=1e-4)
    with safe_open(output, "pt") as file:
        names = set(file.keys())
    layer = "generator.unet.mid_block.resnets.0.conv1.weight"
    assert {f"shared.{layer}", f"0.{layer}.adapter_down", f"1.{layer}.adapter_up"} <= names
    assert "shared.generator.unet.time_embedding.linear_1.weight" in names  # one may train on from it


def test_what_is_no_rate_of_a_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"not a checkpoint .*state\.json"):
        open_run(tmp_path, "4.6")
    (tmp_path / "state.json").write_text('{"step": 1}')
    with pytest.raises(WeightsError, match=r"state\.json has no usable model"):
        open_run(tmp_path, "4.6")
    several = write_run(tmp_path, 0, replace(CONFIG, quality_knots=2))
    with pytest.raises(WeightsError, match="has all rates in one model"):
        open_run(several / "checkpoints" / "step-00000001", "4.6")
    run = str(write_run(tmp_path, 1))
    assert main(["convert", "--run", "4.6", run, "-o", "x"]) == 2
    assert main(["convert", "--run", "4.6", run, "--run", "4.6", run, "-o", "x"]) == 2
    assert main(["convert", "--run", "4.6", run, "--run", "1.8", run, "--vae", "v", "-o", "x"]) == 2
