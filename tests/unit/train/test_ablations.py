"""Each arm of the paper's ablations is a few settings: it trains for two tiny steps and does what it says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.train.conftest import write_clip
from tests.unit.train.test_maskgit import small_tokenizer

from onedc.train.config import TrainConfig
from onedc.train.loop import Trainer
from onedc.train.stages.stage1 import Stage1
from onedc.train.stages.stage2 import Stage2

Log = list[dict[str, float]]
SHORT = ("run.steps=2", "run.validate_every=0")
QUICK, STAGE2_QUICK = (*SHORT, "objective.drop_y=0"), (*SHORT, "objective.stage1.drop_y=0")


def train(config: TrainConfig, out: Path) -> tuple[Trainer, Log]:
    trainer = Trainer(config, out, resume=False)
    assert trainer.run().finished
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert all(math.isfinite(value) for line in log for value in line.values())
    return trainer, log


@pytest.mark.parametrize(
    ("domain", "settings"),
    [
        ("pixel", ("objective.weights.latent=0",)),
        ("latent", ("objective.weights.pixel=0", "objective.weights.lpips=0")),
        ("mixed", ()),
    ],
)
def test_pixel_latent_and_mixed_domain(
    tiny: Callable[..., TrainConfig], tmp_path: Path, domain: str, settings: tuple[str, ...]
) -> None:
    """With bits that cost nothing, the loss is the terms of the domain and no others."""
    free = ("objective.weights.rate_low=1e-12", "objective.weights.rate_high=1e-12")
    config = tiny(*QUICK, *free, *settings)
    _, log = train(config, tmp_path)
    weights = config.objective.weights
    for line in log:
        pixel = weights.lpips * line["lpips"] + weights.pixel * line["l1"]
        latent = weights.latent * line["latent_l1"]
        expected = {"pixel": pixel, "latent": latent, "mixed": pixel + latent}[domain]
        assert line["loss_codec"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_distillation_on_and_off(
    tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    monkeypatch.setattr("onedc.train.networks.loading.MaskGITTokenizer", small_tokenizer)
    save_file(small_tokenizer().state_dict(), tmp_path / "teacher.safetensors")
    settings = (
        f"objective.distill.weight={weight}",
        "objective.distill.head=swin",
        "objective.distill.window=2",
        f"nets.teacher={tmp_path / 'teacher.safetensors'}",
    )
    trainer, log = train(tiny(*QUICK, *settings), tmp_path / "run")
    assert all(("distill_ce" in line) == (weight > 0) for line in log)
    stage = trainer.stage
    assert isinstance(stage, Stage1)
    assert (stage.head is not None) == (weight > 0)
    if weight:
        batch = next(iter(validation(trainer)))
        whole, figures = stage.loss("codec", batch, 0)
        stage.teacher = None
        rest, _ = stage.loss("codec", batch, 0)
        term = figures["distill_ce"] + 0.01 * figures["distill_mse"]
        torch.testing.assert_close(whole - rest, weight * term, rtol=1e-3, atol=1e-5)


def validation(trainer: Trainer):  # type: ignore[no-untyped-def]
    from onedc.train.data.batches import validation_batches

    return validation_batches(trainer.photos, trainer.validation, trainer.config.data.validation_px)


@pytest.mark.parametrize("guidance", ["tokens", "text", "none"])
def test_scores_are_told_tokens_text_or_nothing(
    tiny: Callable[..., TrainConfig], tmp_path: Path, guidance: str
) -> None:
    settings = [f"objective.score.guidance={guidance}", "objective.generator_every=1"]
    if guidance == "text":
        pytest.importorskip("transformers")
        settings.append(f"nets.text={write_clip(tmp_path)}")
    trainer, log = train(tiny(*STAGE2_QUICK, *settings, recipe="tiny-stage2"), tmp_path / "run")
    assert all("dmd" in line and "fake_noise_mse" in line for line in log)
    stage = trainer.stage
    assert isinstance(stage, Stage2)
    batch = next(iter(validation(trainer)))
    _, told = stage._conditioned(batch)
    shape = {"tokens": (1, 64, 1, 1), "text": (1, 64, 1, 8), "none": None}[guidance]
    assert (None if told is None else tuple(told.shape)) == shape


@pytest.mark.parametrize(
    ("domain", "settings"),
    [
        ("pixel", ("objective.dmd=0", "objective.gan=0")),
        ("latent", tuple(f"objective.stage1.weights.{t}" for t in ("pixel=0", "lpips=0", "latent=0.5"))),
        (
            "mixed",
            (
                *(f"objective.stage1.weights.{t}" for t in ("pixel=1", "coarse=1.5")),
                "objective.dmd=0",
                "objective.gan=0",
            ),
        ),
    ],
)
def test_stage2_in_one_domain(
    tiny: Callable[..., TrainConfig], tmp_path: Path, domain: str, settings: tuple[str, ...]
) -> None:
    every = "objective.generator_every=1"
    _, log = train(tiny(*STAGE2_QUICK, every, *settings, recipe="tiny-stage2"), tmp_path)
    for line in log:
        expected = 0.625 * (line["lpips"] + line["l1"] / 2)
        if domain == "mixed":
            expected = 0.625 * line["lpips"] + line["l1"] + 1.5 * line["coarse_l1"]
        if domain == "latent":
            expected = line["dmd"] + 1e-3 * line["gan_generator"] + 0.5 * line["latent_l1"]
        assert line["loss_generator"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("guidance", ["tokens", "none"])
def test_guidance_of_the_generator(tiny: Callable[..., TrainConfig], tmp_path: Path, guidance: str) -> None:
    """Without guidance the generator draws the same whatever the tokens say."""
    trainer, _ = train(tiny(*QUICK, f"model.guidance={guidance}"), tmp_path)
    stage = trainer.stage
    assert isinstance(stage, Stage1)
    generator, quality = stage.model.generator.eval(), torch.tensor([128])
    x_hat = torch.randn(1, stage.model_config.generator_channels, 8, 8)
    one, other = (torch.randn(1, stage.model_config.token_channels, 1, 1) for _ in range(2))
    with torch.no_grad():
        equal = torch.equal(generator(x_hat, one, quality), generator(x_hat, other, quality))
    assert equal == (guidance == "none")
