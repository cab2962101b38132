"""Crops from windows on the device, runs that end by time, and a discriminator beside stage I."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from onedc.errors import ConfigError, OneDCError
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.train.config import DataConfig, TrainConfig, apply_settings
from onedc.train.data import pool
from onedc.train.data.pool import Pool, cut_windows
from onedc.train.loop import Trainer
from onedc.train.losses import gan
from onedc.train.networks import discriminators
from onedc.train.networks.discriminators import Discriminator
from onedc.train.recipes import RECIPES
from onedc.train.stages.stage1 import Stage1

from .test_stage1 import batch_of

SIX_HUNDRED = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)


def test_windows_are_parts_of_the_photo() -> None:
    config = DataConfig(pool_windows=8)
    found = list(cut_windows(SIX_HUNDRED, config, np.random.default_rng(1)))
    assert [window.shape for window in found] == [(512, 512, 3)] * 8
    colours = {pixel.tobytes() for pixel in SIX_HUNDRED.reshape(-1, 3)}
    assert any(all(pixel.tobytes() in colours for pixel in window[:4].reshape(-1, 3)) for window in found)
    small = list(cut_windows(SIX_HUNDRED[:300, :400], config, np.random.default_rng(1)))
    assert [window.shape for window in small] == [(512, 512, 3)] * 8
    assert list(cut_windows(SIX_HUNDRED[:200], config, np.random.default_rng(1))) == []


class Photos(dict[int, np.ndarray]):
    """Photos by number."""


def test_a_crop_and_its_targets_are_of_one_place() -> None:
    config = DataConfig(pool_windows=2, view_px=256, crop_px=128, batch=6)
    photos = Photos({0: SIX_HUNDRED, 1: SIX_HUNDRED[::-1].copy()})

    def targets(x: Tensor) -> dict[str, Tensor]:
        means = {f"by{n}": torch.nn.functional.avg_pool2d(x, n) for n in (8, 64)}
        return {"vae_latents": means["by8"], "coarse": means["by64"]}

    made = Pool(photos, [0, 1], config, 1, targets, torch.device("cpu"))  # type: ignore[arg-type]
    assert made.x.shape == (4, 3, 256, 256) and made.grid_px == 64
    batch = made.batch()
    assert batch.x.shape == (6, 3, 128, 128) and batch.vae_latents is not None
    wanted = targets(batch.x)
    torch.testing.assert_close(batch.vae_latents, wanted["vae_latents"], atol=2e-3, rtol=0)
    torch.testing.assert_close(batch.targets["coarse"], wanted["coarse"], atol=2e-3, rtol=0)


def test_photos_that_are_all_too_small_are_refused() -> None:
    photos = Photos({0: SIX_HUNDRED[:100]})
    config = DataConfig(pool_windows=1, source="photos")
    with pytest.raises(OneDCError, match="photos: no photo of 250 px or more a side"):
        Pool(photos, [0], config, 1, lambda x: {}, torch.device("cpu"))  # type: ignore[arg-type]


def gradients(stage: Stage1, *, gan: bool) -> Tensor:
    """Of the codec's parameters, without or with what the discriminator says."""
    stage.zero_grad()
    torch.manual_seed(0)
    groups = {group.name: group for group in stage.optimizer_groups()}
    if stage.discriminator is not None:
        stage.discriminator.counts.fill_(float(gan))
        for p in groups["discriminator"].parameters.values():
            p.requires_grad_(False)
    loss, _ = stage.loss("codec", batch_of(2, 128), 0)
    loss.backward()
    if stage.discriminator is not None:
        stage.discriminator.requires_grad_(True)
    return torch.cat([p.grad.flatten() for p in groups["codec"].parameters.values() if p.grad is not None])


def test_a_discriminator_adds_its_share_to_the_gradients(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = tiny("objective.gan_share=0.5")
    stage = Stage1(OneDC(config.model), LPIPS(), config.objective, config.optim)
    assert stage.discriminator is not None
    kept, stage.discriminator = stage.discriminator, None
    alone = gradients(stage, gan=False)
    stage.discriminator = kept
    torch.testing.assert_close(gradients(stage, gan=False), alone, rtol=1e-4, atol=1e-7)
    monkeypatch.setattr(discriminators, "FOLLOW", 1.0)
    monkeypatch.setattr(gan, "LARGEST", 1e6)
    for _ in range(2):  # the weight is what the step before measured
        with_gan = gradients(stage, gan=True)
    assert 0.05 < (with_gan - alone).norm() / alone.norm() < 2
    loss, figures = stage.loss("discriminator", batch_of(2, 128), 0)
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in stage.discriminator.parameters() if p.ndim > 1)
    assert loss.item() == pytest.approx(2 * np.log(2), rel=0.3) and "gan_weight" in figures


def test_low_qualities_have_no_part_in_the_gan(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no picture judged, neither the codec nor the discriminator learns anything of it."""
    monkeypatch.setattr(discriminators, "ALONE", 0)
    torch.manual_seed(0)
    config = tiny("objective.gan_share=0.5", "objective.gan_from=255", "objective.highest_quality=200")
    stage = Stage1(OneDC(config.model), LPIPS(), config.objective, config.optim)
    assert stage.discriminator is not None
    for _ in range(2):
        figures = stage.loss("codec", batch_of(2, 128), 0)[1]
        assert figures["gan_generator"].item() == 0
        assert stage.loss("discriminator", batch_of(2, 128), 0)[0].item() == 0
        stage.discriminator.stepped()
    assert stage.discriminator.weight.item() == pytest.approx(discriminators.FIRST)
    stage.config = replace(stage.config, gan_from=0)
    assert stage.loss("codec", batch_of(2, 128), 0)[1]["gan_generator"].item() > 0.3


def test_a_discriminator_counts_after_its_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discriminators, "ALONE", 2)
    made, counted = Discriminator(0.5, (8, 16)), []
    for _ in range(3):
        counted.append(float(made.counts))
        made.stepped()
    assert counted == [0.0, 0.0, 1.0]


@pytest.fixture
def pooled(tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainConfig]:
    """The tests' pictures are small, and so are the windows."""
    monkeypatch.setattr(pool, "SMALLEST_PX", 60)

    def make(*settings: str) -> TrainConfig:
        own = ("data.pool_windows=1", "data.crop_px=64", "run.validate_every=0")
        return tiny(*own, *settings)

    return make


def test_a_run_from_a_pool_with_a_discriminator_can_be_resumed(
    pooled: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discriminators, "ALONE", 1)
    config = pooled("run.steps=3", "objective.gan_share=0.5")
    assert Trainer(config, tmp_path / "run", resume=False).run().finished
    more = apply_settings(config, ["run.steps=4"])
    trainer = Trainer(more, tmp_path / "run", resume=True)
    assert isinstance(trainer.stage, Stage1) and trainer.stage.discriminator is not None
    assert int(trainer.stage.discriminator.steps) == 3
    outcome = trainer.run()
    assert outcome.finished and outcome.step == 4


def test_a_run_ends_by_time_with_its_rate_fallen(
    pooled: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that moves a tenth of a second whenever it is looked at."""
    looks = itertools.count()
    monkeypatch.setattr("onedc.train.loop.time", SimpleNamespace(monotonic=lambda: 0.1 * next(looks)))
    config = pooled(
        *("run.steps=1000000", "run.minutes=0.05", "run.graph=true", "objective.ramp_steps=0"),
        *("optim.decay_steps=0", "optim.decay_share=0.5"),
    )
    trainer = Trainer(config, tmp_path / "run", resume=False)
    outcome = trainer.run()
    assert outcome.finished and 1 < outcome.step < 1000
    assert trainer.checkpoints.steps() == [outcome.step]
    assert trainer.optimizers[0].optimizer.param_groups[0]["lr"] < 0.5 * config.optim.lr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("data.pool_windows=1", "data.view_px=64", "data.crop_px=128"), "data.view_px"),
        (("data.pool_windows=1", "data.latent_cache=x"), "data.pool_windows"),
        (("run.graph=true", "run.accumulation=2"), "run.graph"),
        (("run.minutes=nan",), "run.minutes"),
        (("optim.decay_share=0.5",), "set one of them"),
    ],
)
def test_settings_that_do_not_go_together(
    tiny: Callable[..., TrainConfig], settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(*settings)


def test_a_graph_needs_a_pool(tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run.graph: needs data.pool_windows"):
        Trainer(tiny("run.graph=true"), tmp_path / "run", resume=False)


def test_the_recipes_for_a_gpu_end_by_time() -> None:
    for name in (name for name in RECIPES if "-gpu" in name):
        config = RECIPES[name]()
        assert config.run.graph and config.data.pool_windows and 0 < config.run.minutes < 9
    assert RECIPES["small-gpu-gan"]().objective.gan_share > 0
