from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.train.autoencoder import Autoencoder, PatchDiscriminator
from onedc.train.config import TrainConfig
from onedc.train.data import Batch
from onedc.train.loop import Trainer
from onedc.train.noise import Noise

Tiny = Callable[..., TrainConfig]


def made(config: TrainConfig) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(OneDC(config.model), LPIPS(), config.objective, config.optim, config.critic_optim)


def some_batch() -> Batch:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(x, None, Noise(3, range(2), torch.device("cpu")), ["x"] * 2, [""] * 2, 0)


def test_the_terms_are_weighted_and_hinged(tiny: Tiny) -> None:
    stage, batch = made(tiny(recipe="tiny-autoencoder")).eval(), some_batch()
    assert stage.discriminator is not None
    total, _ = stage.loss("autoencoder", batch, 0)
    x_hat = stage._decoded(batch.x)
    expected = (x_hat - batch.x).abs().mean() + stage.lpips(x_hat, batch.x).mean()
    torch.testing.assert_close(total, expected - 0.05 * stage.discriminator(x_hat).mean())
    real, fake = stage.discriminator(batch.x), stage.discriminator(x_hat)
    hinge = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    torch.testing.assert_close(stage.loss("discriminator", batch, 0)[0], hinge)


@pytest.mark.parametrize("keep", ["true", "false"])
def test_the_encoder_stays_if_asked(tiny: Tiny, keep: str) -> None:
    stage = made(tiny(f"objective.keep_encoder={keep}", recipe="tiny-autoencoder"))
    names = stage.players()[0].parameters
    assert any(".encoder." in name for name in names) == (keep == "false")
    assert any(".decoder." in name for name in names)


def test_logits_judge_patches() -> None:
    assert PatchDiscriminator(8)(torch.randn(2, 3, 64, 96)).shape == (2, 1, 8, 12)


def test_the_stage_runs_and_resumes(tiny: Tiny, tmp_path: Path) -> None:
    settings = ("run.validate_every=1", "run.checkpoint_every=1", "data.batch=2", "data.crop_px=64")
    for steps in (1, 2):
        config = tiny(*settings, f"run.steps={steps}", recipe="tiny-autoencoder")
        assert Trainer(config, tmp_path, resume=steps == 2).run().step == steps
