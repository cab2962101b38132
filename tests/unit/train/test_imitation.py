"""A lighter codec learns from another: what each part is compared with, and a run from start to codec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import onedc
from onedc.config import TINY, ModelConfig
from onedc.errors import ConfigError
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.model.taef2 import TAEF2
from onedc.train.checkpoint import find_checkpoint
from onedc.train.config import TrainConfig
from onedc.train.data.batches import Batch
from onedc.train.export import export_checkpoint
from onedc.train.loop import Trainer
from onedc.train.losses.pixels import PixelTerms
from onedc.train.recipes import find_recipe
from onedc.train.stages.build import build_stage
from onedc.train.stages.imitation import Imitation
from onedc.train.stages.stage1 import Stage1
from onedc.weights.file import save_weights

from .test_stage1 import batch_of

STUDENT = replace(
    TINY,
    reduced=True,
    fusion_channels=64,
    hyper_analysis_widths=(96, 96),
    seam_expansion=1,
    token_channels=96,
    generator_channels=64,
)
"""Unlike TINY in every part, in none of what a teacher must share."""


@pytest.fixture
def stage() -> Imitation:
    torch.manual_seed(0)
    config = find_recipe("small-reduced")
    return Imitation(OneDC(STUDENT), LPIPS(), config.objective, config.optim, OneDC(TINY))


def test_each_part_learns_and_the_teacher_does_not(stage: Imitation) -> None:
    stage.train()
    loss, figures = stage.loss("codec", batch_of(2, 128), 0)
    loss.backward()
    learned = {name.split(".")[0] for name, p in stage.model.named_parameters() if p.grad is not None}
    assert learned == {"vae", "g_a", "h_a", "h_s", "prior", "semantic", "g_s", "generator"}
    assert stage.model.prior.gain is not None and stage.model.prior.gain.knots.grad is None
    assert all(p.grad is None for p in stage.codec.parameters()) and not stage.codec.training
    assert {"y", "z", "bpp", "latent_l1", "lpips", "l1"} == set(figures)


def test_a_perfect_imitation_costs_nothing(stage: Imitation, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(2, 128)
    targets = stage.targets(batch.x)
    semantic = torch.zeros(2, STUDENT.analysis_unet.widths[-1], 2, 2)
    monkeypatch.setattr(stage.model.g_a, "forward", lambda x, latents: (targets["y"], semantic))
    monkeypatch.setattr(stage.model.h_a, "forward", lambda y, sem: targets["z"])
    _, figures = stage.loss("codec", batch, 0)
    assert figures["y"] == 0 and figures["z"] == 0


def test_parts_alike_are_the_teachers_and_stand_still() -> None:
    config = find_recipe("small-reduced")
    student = OneDC(replace(TINY, reduced=True))
    stage = Imitation(student, LPIPS(), config.objective, config.optim, OneDC(TINY))
    stage.begin([])
    loss, figures = stage.loss("codec", batch_of(2, 128), 0)
    loss.backward()
    learned = {n.split(".")[0] for n, p in student.named_parameters() if p.grad is not None}
    assert learned == {"vae", "g_s"} and {"y", "z", "lpips"} <= figures.keys()
    x, teacher = batch_of(1, 128).x, stage.codec
    for layer in ("encoder.9", "decoder.5"):  # that both forms have
        shared = (net.vae.get_submodule(layer).state_dict().values() for net in (student, teacher))
        assert all(torch.equal(a, b) for a, b in zip(*shared, strict=True))
    latents = teacher.vae.encode(x)
    ours, theirs = (net.analyse(x, latents) for net in (student, teacher))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(student.h_s(ours[1]), teacher.h_s(theirs[1]), strict=True))


def test_a_decoder_learns_the_pictures_of_the_teacher(stage: Imitation) -> None:
    batch, seen = batch_of(2, 128), {}

    def terms(batch: Batch, latents: torch.Tensor) -> PixelTerms:
        seen["wanted"], seen["latents"] = batch.x, latents
        return Stage1.pixel_terms(stage, batch, latents)

    stage.pixel_terms = terms  # type: ignore[method-assign]
    stage.loss("codec", batch, 0)
    picture = stage.codec.vae.decode(seen["latents"]).clamp(-1, 1)  # type: ignore[operator]
    assert torch.equal(picture, seen["wanted"])


def test_gains_are_the_teachers(stage: Imitation) -> None:
    ours, others = stage.model.prior.gain, stage.codec.prior.gain
    assert ours is not None and others is not None
    with torch.no_grad():
        others.knots.uniform_(-3, 1)
    stage.begin([])
    assert torch.equal(ours.knots, others.knots)


def test_a_teacher_that_cannot_teach_is_refused() -> None:
    config = find_recipe("small-reduced")
    for other in (replace(TINY, y_channels=32), replace(TINY, quality_knots=STUDENT.quality_knots + 1)):
        with pytest.raises(ConfigError, match="cannot teach"):
            Imitation(OneDC(STUDENT), LPIPS(), config.objective, config.optim, OneDC(other))


def test_imitation_then_stage_1_makes_a_codec(
    tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_export: None
) -> None:
    torch.manual_seed(0)
    teacher = tmp_path / "teacher.safetensors"
    save_weights(teacher, OneDC(TINY), model_id=200)
    small = ("run.steps=2", "run.validate_every=2")
    learning = ("optim.kind=adamw", "optim.decay_share=0")

    def student(*settings: str, recipe: str) -> TrainConfig:
        return replace(tiny(*small, *learning, *settings, recipe=recipe), model=STUDENT)

    settings = (f"nets.codec={teacher}", "objective.stage1.window_px=0")
    config = student(*settings, recipe="small-reduced")
    assert Trainer(config, tmp_path / "imitation", resume=False).run().finished

    def autoencoder(_config: ModelConfig, _nets: object) -> TAEF2:
        return TAEF2(32, 16)

    monkeypatch.setattr("onedc.train.stages.build.load_autoencoder", autoencoder)
    settings = (f"nets.start={tmp_path / 'imitation'}", "objective.window_px=0")
    config = student(*settings, "optim.decay_steps=0", recipe="small-decay")
    trainer = Trainer(config, tmp_path / "stage1", resume=False)
    assert isinstance(trainer.stage, Stage1) and trainer.stage.vae() is not trainer.stage.model.vae
    assert trainer.run().finished
    path = tmp_path / "little.safetensors"
    checkpoint = find_checkpoint(tmp_path / "stage1")
    export_checkpoint(checkpoint, path, model_id=200, storage="int8", force=False)
    codec = onedc.load(path)
    picture = (batch_of(1, 64).x[0].permute(1, 2, 0) * 127 + 128).byte().numpy()
    assert codec.decode(codec.encode(picture, quality=60), output="numpy").shape == picture.shape


def test_imitation_needs_somebody_to_imitate(tiny: Callable[..., TrainConfig]) -> None:
    with pytest.raises(ConfigError, match=r"nets.codec: not set"):
        build_stage(tiny(recipe="small-reduced"))
