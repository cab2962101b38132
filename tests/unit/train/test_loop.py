"""The loop: resuming to the bit, processes that agree, slices, and errors of one line."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from onedc.errors import ConfigError, OneDCError, OutputError, WeightsError
from onedc.pretrained.runs import read_state
from onedc.train.checkpoint import find_checkpoint, not_finite
from onedc.train.config import TrainConfig
from onedc.train.loop import Trainer
from onedc.train.report import RunLog

Tiny = Callable[..., TrainConfig]
QUICK = ("run.validate_every=0", "run.checkpoint_every=2", "run.keep=5")
SMOOTH = (
    "optim.kind=sgd", "optim.lr=1e-4", "optim.clip=1000",
    "discriminator_optim.kind=sgd", "discriminator_optim.lr=1e-4", "discriminator_optim.clip=1000",
)  # fmt: skip
"""Small plain steps: differences must not grow until a latent is rounded otherwise."""
RECIPES = ("tiny-stage1", "tiny-stage2")


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_close(first: list[dict[str, float]], second: list[dict[str, float]]) -> None:
    """Losses to 1e-4; what jumps where a latent is rounded otherwise more loosely, gradient norms most."""
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            rel = 5e-2 if "norm" in name else 1e-4 if "loss" in name else 1e-3
            assert b[name] == pytest.approx(a[name], rel=rel), name


def same_tensors(a: Path, b: Path) -> bool:
    first, second = load_file(a), load_file(b)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def train(config: TrainConfig, out: Path, *, resume: bool = False, max_minutes: float | None = None) -> int:
    return Trainer(config, out, resume=resume, max_minutes=max_minutes).run().step


@pytest.mark.parametrize(
    ("recipe", "kind"), [("tiny-stage1", "adamw"), ("tiny-stage1", "muon"), ("tiny-stage2", "adamw")]
)
def test_stop_and_resume_equals_an_uninterrupted_run(
    tiny: Tiny, tmp_path: Path, recipe: str, kind: str
) -> None:
    settings = (*QUICK, "data.workers=1", f"optim.kind={kind}")
    train(tiny(*settings, "run.steps=4", recipe=recipe), tmp_path / "whole")
    half = tiny(*settings, "run.steps=4", recipe=recipe)
    trainer = Trainer(half, tmp_path / "half", resume=False)
    trainer.clock.over = lambda: trainer.step >= 2  # type: ignore[method-assign]
    assert not trainer.run().finished
    torch.rand(7)  # another process would have another random state
    assert train(half, tmp_path / "half", resume=True) == 4
    last = "checkpoints/step-00000004"
    for file in ("model", "ema", "optim"):
        name = f"{last}/{file}.safetensors"
        assert same_tensors(tmp_path / "whole" / name, tmp_path / "half" / name), file
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "half")


PROGRAM = """
import sys
from pathlib import Path
import tests.unit.train.tiny_recipes
from accelerate.state import AcceleratorState
from onedc.train.config import apply_settings
from onedc.train.loop import Trainer
from onedc.train.recipes import find_recipe
out, recipes, *settings = sys.argv[1:]
for recipe in recipes.split(","):
    config = apply_settings(find_recipe(recipe), settings)
    Trainer(config, Path(out, recipe), resume=False).run()
    AcceleratorState._reset_state()
"""


def launch(world: int, *arguments: str | Path) -> None:
    """Run `world` processes that meet over gloo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    common |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for process in running:
        _, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors


@pytest.mark.parametrize("steps", [2, pytest.param(20, marks=pytest.mark.full)])
def test_two_processes_equal_one(tiny: Tiny, tmp_path: Path, steps: int) -> None:
    sizes = ("data.batch=2", "data.crop_px=128", "data.validation_px=128")
    changed = (f"run.steps={steps}", "run.validate_every=2", *sizes, *SMOOTH)
    places = tiny()
    settings = (
        f"data.source={places.data.source}", "data.held_out=p-00,p-11", f"nets.lpips={places.nets.lpips}"
    )  # fmt: skip
    launch(2, tmp_path / "two", ",".join(RECIPES), *settings, *changed)
    for recipe in RECIPES:
        train(tiny(*changed, recipe=recipe), tmp_path / "one" / recipe)
        two, one = log_of(tmp_path / "two" / recipe), log_of(tmp_path / "one" / recipe)
        assert len(one) == len(two) == steps + steps // 2
        assert_close(one, two)


def test_accumulation_equals_the_whole_batch(tiny: Tiny, tmp_path: Path) -> None:
    for parts in (1, 2):
        config = tiny(
            *QUICK, *SMOOTH, "data.batch=4", "data.crop_px=128", "run.steps=3", f"run.accumulation={parts}"
        )
        train(config, tmp_path / str(parts))
    one, two = log_of(tmp_path / "1"), log_of(tmp_path / "2")
    assert_close(one, two)


def test_a_run_leaves_its_records(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny("run.steps=4", "run.validate_every=2", "run.checkpoint_every=4")
    assert train(config, tmp_path) == 4
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["config"]["optim"]["lr"] == config.optim.lr
    assert record["config"]["stage"] == "Stage1Config"
    assert "torch" in record["versions"]
    assert record["sessions"][0]["processes"] == 1
    names = {name for line in log_of(tmp_path) for name in line}
    assert {"bpp", "lpips", "l1", "loss_codec", "lr", "val_loss", "val_bpp_64"} <= names
    assert list((tmp_path / "tensorboard").iterdir())
    best = read_state(find_checkpoint(tmp_path))
    losses = {line["step"]: line["val_loss"] for line in log_of(tmp_path) if "val_loss" in line}
    assert best["validation"] == losses[best["step"]] == min(losses.values())


def test_a_session_draws_other_numbers_for_a_pool(tiny: Tiny, tmp_path: Path) -> None:
    first = Trainer(tiny(*QUICK), tmp_path, resume=False, max_minutes=0.0)
    before = torch.initial_seed()
    first.run()
    Trainer(tiny(*QUICK), tmp_path, resume=True)
    assert torch.initial_seed() != before


def test_no_time_means_a_checkpoint_after_one_step(tiny: Tiny, tmp_path: Path) -> None:
    assert train(tiny(*QUICK), tmp_path, max_minutes=0.0) == 1
    assert (tmp_path / "checkpoints/step-00000001/state.json").exists()


def test_a_run_without_images_to_validate_on_says_so(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(*QUICK, "run.validate_every=1", "data.held_out="), tmp_path, max_minutes=0.0)
    assert "no validation: set data.validation_source" in capsys.readouterr().err


def test_a_run_is_not_overwritten_or_mixed(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny(*QUICK, "run.steps=1"), tmp_path)
    with pytest.raises(ConfigError, match="--resume"):
        train(tiny(*QUICK, "run.steps=2"), tmp_path)
    with pytest.raises(ConfigError, match=r"optim\.lr"):
        train(tiny(*QUICK, "run.steps=2", "optim.lr=0.5"), tmp_path, resume=True)
    with pytest.raises(WeightsError, match="does not fit"):
        train(tiny(*QUICK, "run.steps=2", "model.hyper_channels=64"), tmp_path, resume=True)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 1, "cut by a full d')
    assert train(tiny(*QUICK, "run.steps=2"), tmp_path, resume=True) == 2
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2]


def test_the_linear_start_takes_crops_of_one_size(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onedc.train.stages.stage1.START_IMAGES", 8)
    config = tiny(
        *QUICK, "objective.linear_start=true", "run.steps=1", "data.batch=4", "data.large_share=0.5"
    )
    assert train(config, tmp_path) == 1


DIVERGES = (*QUICK, "optim.lr=1e30", "optim.warmup_steps=1", "run.steps=6")


@pytest.fixture(scope="module")
def begun(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose first step is the last that leaves finite weights."""
    run = tmp_path_factory.mktemp("begun") / "run"
    train(tiny(*DIVERGES), run, max_minutes=0.0)
    return run


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (("run.log_every=1",), " is nan at step 2"),
        (("run.log_every=100", "run.checkpoint_every=1"), " is not finite at step 2"),
        (("run.log_every=100", "run.validate_every=2"), "val_loss is nan at step 2"),
        (("run.log_every=100", "run.steps=2"), " is nan at step 2"),
    ],
)
def test_a_run_that_diverges_keeps_what_was_finite(
    tiny: Tiny, begun: Path, tmp_path: Path, settings: tuple[str, ...], found: str
) -> None:
    run = shutil.copytree(begun, tmp_path / "run")
    with pytest.raises(OneDCError, match=found) as caught:
        train(tiny(*DIVERGES, *settings), run, resume=True)
    kept = run / "checkpoints/step-00000001"
    assert list((run / "checkpoints").iterdir()) == [kept]
    assert f"--resume goes on from {kept}" in str(caught.value)
    assert f"nets.start={kept}" in str(caught.value)
    for file in kept.glob("*.safetensors"):
        assert not_finite(load_file(file)) is None


def test_a_run_that_diverges_at_once_saves_nothing(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(OneDCError, match="begin again with a lower optim"):
        train(tiny(*DIVERGES, "run.log_every=100", "run.checkpoint_every=6"), tmp_path)
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_a_full_disk_is_one_line_and_loses_nothing(tiny: Tiny, tmp_path: Path) -> None:
    """No file may grow beyond a checkpoint's size: what is written then is refused as on a full disk."""
    train(tiny(*QUICK, "run.steps=1"), tmp_path)
    kept = load_file(tmp_path / "checkpoints/step-00000001/model.safetensors")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(
            OutputError, match=r"model\.safetensors: checkpoint not written.*earlier ones are kept"
        ):
            train(tiny(*QUICK, "run.steps=2"), tmp_path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    assert train(tiny(*QUICK, "run.steps=2"), tmp_path, resume=True) == 2
    assert kept.keys() == load_file(tmp_path / "checkpoints/step-00000001/model.safetensors").keys()


def test_a_log_that_cannot_be_written_is_named(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, *_: object, **__: object) -> None:
        raise OutputError(f"{file}: cannot be written: No space left on device")

    config = tiny(*QUICK)
    monkeypatch.setattr("onedc.train.report.write_whole", full)
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot be written: No space left on device$"):
        RunLog(tmp_path, step=0, steps=config.run.steps, images=1)


def test_bf16_runs(tiny: Tiny, tmp_path: Path) -> None:
    assert train(tiny(*QUICK, "run.steps=1", "run.precision=bf16"), tmp_path) == 1
    assert all(v == v for v in log_of(tmp_path)[0].values())


def test_cached_latents_are_filled_and_used(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(*QUICK, "run.steps=2", f"data.latent_cache={tmp_path / 'cache'}")
    assert train(config, tmp_path / "run") == 2
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 7  # the held-out pictures are not in it
