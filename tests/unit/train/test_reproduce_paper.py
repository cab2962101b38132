"""runs/reproduce_paper.sh: its commands are those of the page, and run to their end at tiny width."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import save_file
from tests.architecture.test_documented_commands import lines_of
from tests.unit.datasets.test_hub import parquet
from tests.unit.train.conftest import picture, write_clip
from tests.unit.train.test_data import write_coco
from tests.unit.train.test_maskgit import small_tokenizer

from onedc.cli.main import build_parser, main
from onedc.config import TINY
from onedc.loading import load
from onedc.train.config import RANDOM, NetsConfig, TrainConfig, apply_settings
from onedc.train.recipes import RECIPES, Recipe

pytest.importorskip("transformers")

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "runs" / "reproduce_paper.sh"
NARROW = replace(TINY, quality_knots=0, analysis_unet=replace(TINY.analysis_unet, time_channels=64))
QUICK = (
    "run.precision=no", "run.validate_every=0", "run.adapter_rank=4", "data.workers=0", "data.batch=1",
    "data.crop_px=64", "data.min_side_px=128", "data.validation_px=64", "data.validation_images=1",
    "data.resize_share=0.5", "data.large_share=0",
    "optim.lr=1e-3", "optim.warmup_steps=0", "optim.decay_steps=0",
)  # fmt: skip
SHORT = dict.fromkeys(("STAGE1", "DECAY", "STAGE2", "OTHER", "OTHER_STAGE2"), "1") | {"RATES": "12.2"}


def printed(**environment: str) -> list[list[str]]:
    """The script's commands."""
    done = subprocess.run(
        [SCRIPT, "--print"], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return [shlex.split(line) for line in done.stdout.splitlines()]


def own(command: list[str]) -> list[str] | None:
    """The arguments of `onedc` in a command, whoever launches it; None for the commands of others."""
    if "-m" in command and command[command.index("-m") + 1] == "onedc":
        return command[command.index("-m") + 2 :]
    return command[1:] if command[0] == "onedc" else None


def test_every_command_parses_and_stands_on_the_page() -> None:
    page = {_any_rate(line) for line in lines_of(ROOT / "docs" / "training.md")}
    commands = printed()
    assert len(commands) > 20
    for command in commands:
        assert _any_rate(" ".join(command)) in page
        arguments = own(command)
        if arguments is not None:
            build_parser().parse_args(arguments)


def _any_rate(command: str) -> str:
    """A command of one of the other rates as that of any of them; spaces are of no importance."""
    return " ".join(re.sub(r"\brate-(12\.2|7\.4|2\.9|1\.8|1\.1|0\.6)\b", "rate-L", command).split())


def narrow(name: str, recipe: Recipe, nets: NetsConfig) -> TrainConfig:
    """A recipe of the paper's at tiny width, with networks of the test."""
    config = recipe()
    settings = [*QUICK, f"run.validate_every={int(name == 'sd15-stage1')}"]
    if name == "sd15-stage2":
        settings += ["objective.score.unet.widths=32", "objective.score.unet.attention=true"]
        settings += ["objective.score.unet.layers=1", "objective.generator_every=1"]
    else:
        settings += ["objective.distill.window=2"]
    model = replace(NARROW, z_only=config.model.z_only)
    return apply_settings(replace(config, model=model, nets=nets), settings)


@pytest.fixture
def places(tmp_path: Path, lpips_file: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Data and networks where the script looks for them, and its recipes at tiny width."""
    monkeypatch.setattr("onedc.train.networks.loading.MaskGITTokenizer", small_tokenizer)
    monkeypatch.setattr("onedc.datasets.rows.tables_folder", lambda name: tmp_path / "unpacked")
    save_file(small_tokenizer().state_dict(), tmp_path / "maskgit.safetensors")
    (tmp_path / "nets").mkdir()
    (tmp_path / "text").mkdir()
    nets = NetsConfig(
        lpips=str(lpips_file),
        teacher=str(tmp_path / "maskgit.safetensors"),
        text=str(write_clip(tmp_path / "text")),
        **dict.fromkeys(("vae", "generator", "score"), RANDOM),
    )
    for name, recipe in list(RECIPES.items()):
        if name.startswith("sd15-"):
            monkeypatch.setitem(RECIPES, name, partial(narrow, name, recipe, nets))
    write_catalog(tmp_path / "catalog")
    write_coco(tmp_path / "coco")
    (tmp_path / "kodak").mkdir()
    (tmp_path / "kodak" / "kodim01.png").write_bytes(picture(1, 96, 64))
    names = ("nets", "catalog", "coco", "kodak")
    return {name.upper(): str(tmp_path / name) for name in names} | {"OUT": str(tmp_path / "out")}


def write_catalog(folder: Path) -> None:
    folder.mkdir()
    (folder / "part-0.parquet").write_bytes(parquet(0, 4))


def test_it_runs_to_its_end_at_tiny_width(places: dict[str, str], tmp_path: Path) -> None:
    ran = []
    for command in printed(**places, **SHORT):
        arguments = own(command)
        if arguments is None or arguments[0] in ("nets", "data"):  # what fetches
            continue
        ran.append(arguments[0])
        assert main(["cpu" if word == "cuda" else word for word in arguments]) == 0, command
    assert ran == ["train"] * 7 + ["convert", "eval"]
    family = load(tmp_path / "out" / "family.safetensors")
    assert list(family.models.quality_bytes) == [0, 128, 255]
    assert (tmp_path / "out" / "kodak" / "summary.json").is_file()


def test_the_plan_names_what_is_missing_and_starts_nothing(tmp_path: Path) -> None:
    places = {name: str(tmp_path / name) for name in ("NETS", "CATALOG", "COCO", "KODAK", "OUT")}
    write_catalog(tmp_path / "CATALOG")
    done = subprocess.run([SCRIPT, "--plan"], env=os.environ | places, capture_output=True, text=True)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert f"missing  network sd-vae in {tmp_path / 'NETS'}" in lines
    assert f"there    CommonCatalog's Parquet files in {tmp_path / 'CATALOG'}" in lines
    assert f"missing  COCO val2017 with its captions in {tmp_path / 'COCO'}" in lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CATALOG"]
