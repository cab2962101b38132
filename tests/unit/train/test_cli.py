"""`onedc train` and `onedc export` as a user meets them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.train.conftest import SIZES, picture

import onedc
from onedc.cli.main import main
from onedc.train.config import TrainConfig
from onedc.train.recipes import RECIPES


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "list"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == list(RECIPES)
    purposes = dict(lines)
    assert purposes["small-teacher"] == (
        "A diffusion model of TAEF2's latents: the real score of small-stage2."
    )
    assert "paper's rates" in purposes["sd15-rate-2.9"]


def test_show_prints_the_resolved_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "lpips_squeeze.safetensors").write_bytes(b"")
    arguments = ["--nets", str(tmp_path), "--data", "photos", "--set", "optim.lr=1e-5", "--show"]
    assert main(["train", "small-stage1", *arguments]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["optim"]["lr"], shown["data"]["source"]) == (1e-5, "photos")
    assert shown["nets"]["lpips"] == str(tmp_path / "lpips_squeeze.safetensors")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["stage9", "--out", "x"], 2, "no recipe"),
        (["tiny-stage1", "--out", "x", "--set", "optim.speed=1"], 2, "no field"),
        (["tiny-stage1"], 2, "--out"),
        (["tiny-stage1", "--out", "x", "--data", "/nowhere"], 2, "does not exist"),
        (["tiny-stage1", "--out", "x"], 2, "data.source"),
        (["tiny-stage1", "--out", "x", "--nets", "/nowhere"], 2, "no such folder"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_wrong_start_is_one_line(
    tiny: Callable[..., TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = tiny(), tmp_path / "run"
    command = ["train", "tiny-stage1", "--data", config.data.source, "--out", str(run), "--set"]
    command += [f"nets.lpips={config.nets.lpips}", *SIZES, "run.steps=1", "run.validate_every=0"]
    assert main(command) == 0
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    wrong = {
        "nets.start=/nowhere": "/nowhere",
        f"nets.start={tmp_path / 'junk.safetensors'}": "junk.safetensors",
        f"nets.start={run} model.hyper_channels=64": "does not fit",
    }
    capsys.readouterr()
    for number, (settings, message) in enumerate(wrong.items()):
        command[command.index("--out") + 1] = str(tmp_path / f"other{number}")
        assert main([*command, *settings.split()]) == 1
        errors = capsys.readouterr().err
        assert message in errors
        assert errors.count("\n") == 1
        assert not (tmp_path / f"other{number}/checkpoints").exists()


def test_train_in_slices_then_export(
    tiny: Callable[..., TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str], no_graphs: None
) -> None:
    config = tiny()
    run = tmp_path / "run"
    command = ["train", "tiny-stage1", "--data", config.data.source, "--out", str(run), "--resume"]
    command += ["--set", f"nets.lpips={config.nets.lpips}", "data.held_out=p-00", *SIZES]
    command += ["run.steps=2", "run.validate_every=0"]
    assert main([*command, "--max-minutes", "0"]) == 0
    assert "stopped at step 1 of 2; --resume goes on" in capsys.readouterr().err
    assert main(command) == 0
    weights = tmp_path / "w.safetensors"
    assert main(["export", str(run), "-o", str(weights)]) == 0
    assert "step-00000002" in capsys.readouterr().out
    assert main(["export", str(run), "-o", str(weights)]) == 1


def test_a_toy_needs_photos_alone(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_graphs: None
) -> None:
    monkeypatch.setattr("onedc.train.stages.stage1.START_IMAGES", 8)
    run, weights = tmp_path / "run", tmp_path / "toy.safetensors"
    settings = [*SIZES, "run.steps=2"]
    assert main(["train", "toy-stage1", "--data", str(shards), "--out", str(run), "--set", *settings]) == 0
    assert main(["export", str(run), "-o", str(weights)]) == 0
    codec, original = onedc.load(weights), np.asarray(Image.open(io.BytesIO(picture(3))))
    decoded = codec.decode(codec.encode(original, quality=100), output="numpy")
    assert np.square(decoded / 255 - original / 255).mean() < 0.015  # the bundled autoencoder is in it
