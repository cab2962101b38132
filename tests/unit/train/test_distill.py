"""The tokenizer and semantic distillation."""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from onedc.errors import ConfigError
from onedc.train.config import NetsConfig, TrainConfig
from onedc.train.loop import Trainer
from onedc.train.losses.distill import DistillHead, distillation
from onedc.train.networks.loading import load_tokenizer, start_tensors
from onedc.train.recipes import RECIPES
from onedc.train.stages.build import STAGES
from onedc.train.stages.tokenizer import CHANNELS, PixelTokenizer


def test_distillation_is_cross_entropy_and_expected_code_error() -> None:
    torch.manual_seed(0)
    logits, codebook = torch.randn(2, 5, 3, 4), torch.randn(5, 6)
    indices = torch.randint(5, (2, 3, 4))
    entropy, error, right = distillation(logits, codebook, indices)
    nats, squares, hits = [], [], []
    for b in range(2):
        for h in range(3):
            for w in range(4):
                weights = [math.exp(float(v)) for v in logits[b, :, h, w]]
                shares = [weight / sum(weights) for weight in weights]
                index = int(indices[b, h, w])
                nats.append(-math.log(shares[index]))
                mean = sum(s * c for s, c in zip(shares, codebook, strict=True))
                squares.append(float((mean - codebook[index]).square().mean()))
                hits.append(max(range(5), key=shares.__getitem__) == index)
    assert entropy.item() == pytest.approx(sum(nats) / 24, rel=1e-5)
    assert error.item() == pytest.approx(sum(squares) / 24, rel=1e-5)
    assert right.item() == pytest.approx(sum(hits) / 24)


def test_the_head_doubles_the_resolution() -> None:
    head = DistillHead(16, 40)
    assert head(torch.randn(2, 16, 3, 4)).shape == (2, 40, 6, 8)


def test_the_tokenizer_begins_with_even_components() -> None:
    torch.manual_seed(0)
    tokenizer = PixelTokenizer(8)
    pictures = [torch.rand(1, 3, 128, 128) * 2 - 1 for _ in range(6)]
    tokenizer.begin(pictures)
    points = torch.cat([tokenizer.project(x) for x in pictures]).flatten(0, 2)
    assert points.mean(dim=0).abs().max() < 1e-2
    codes, indices = tokenizer(pictures[0])
    assert codes.shape == (1, CHANNELS, 4, 4)
    assert torch.equal(codes[0, :, 1, 2], tokenizer.codebook[indices[0, 1, 2]])
    assert indices.unique().numel() > 1
    with pytest.raises(ConfigError, match="16 positions for 200 codes"):
        PixelTokenizer(200).begin(pictures[:1])


def test_a_trained_tokenizer_says_the_nearest_code(tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
    settings = ("run.steps=2", "run.validate_every=2")
    with pytest.raises(ConfigError, match=r"objective\.codes: 1 is no codebook"):
        tiny(*settings, "objective.codes=1", recipe="tiny-tokenizer")
    Trainer(tiny(*settings, recipe="tiny-tokenizer"), tmp_path, resume=False).run()
    teacher = load_tokenizer(NetsConfig(teacher=str(tmp_path)))
    x = torch.rand(1, 3, 64, 96) * 2 - 1
    _, indices = teacher(x)
    assert indices.shape == (1, 2, 3)
    means = x.reshape(3, 2, 4, 8, 3, 4, 8).mean(
        dim=(3, 6)
    )  # colour, row of cells, row, column of cells, column
    assert isinstance(teacher, PixelTokenizer)
    points = means.permute(1, 3, 0, 2, 4).reshape(2, 3, 48) - teacher.get_buffer("middle")
    nearest = torch.cdist(points.reshape(6, 48) @ teacher.get_buffer("axes"), teacher.codebook).argmin(dim=1)
    assert torch.equal(indices.flatten(), nearest)


def test_stage1_learns_from_a_trained_tokenizer(tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
    quick = ("run.steps=2", "run.validate_every=2")
    config = tiny(*quick, recipe="tiny-tokenizer")
    Trainer(config, tmp_path / "tokens", resume=False).run()
    config = tiny(*quick, "objective.distill.weight=0.1")
    with pytest.raises(ConfigError, match=r"nets\.teacher"):
        Trainer(config, tmp_path / "codec", resume=False)
    config = tiny(
        *quick,
        "objective.distill.weight=0.1",
        f"nets.teacher={tmp_path / 'tokens'}",
    )
    Trainer(config, tmp_path / "codec", resume=False).run()
    log = (tmp_path / "codec/log.jsonl").read_text()
    assert '"distill_ce"' in log
    assert '"val_distill_accuracy"' in log


def test_the_teacher_stage_runs(tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = tiny("run.steps=2", "run.validate_every=2", recipe="tiny-teacher")
    Trainer(config, tmp_path, resume=False).run()
    assert '"val_noise_mse_500"' in (tmp_path / "log.jsonl").read_text()


@pytest.fixture
def probe() -> Iterator[dict[str, Any]]:
    """What `experiments/probe.py` holds; its stage and recipes are known in one test alone."""
    with patch.dict(RECIPES), patch.dict(STAGES):
        yield runpy.run_path(str(Path(__file__).parents[3] / "experiments/probe.py"))


def test_a_probe_learns_what_z_knows_and_leaves_the_codec_alone(
    tiny: Callable[..., TrainConfig], tmp_path: Path, probe: dict[str, Any]
) -> None:
    quick = ("run.steps=2", "run.validate_every=2")
    config = tiny(*quick, recipe="tiny-tokenizer")
    Trainer(config, tmp_path / "tokens", resume=False).run()
    Trainer(tiny(*quick), tmp_path / "codec", resume=False).run()
    config = tiny(
        "run.steps=2", "run.validate_every=2",
        f"nets.start={tmp_path / 'codec'}", f"nets.teacher={tmp_path / 'tokens'}", recipe="tiny-probe",
    )  # fmt: skip
    trainer = Trainer(config, tmp_path / "probe", resume=False)
    before = {name: t.clone() for name, t in trainer.stage.head.state_dict().items()}
    trainer.run()
    assert any(not torch.equal(t, before[name]) for name, t in trainer.stage.head.state_dict().items())
    kept = start_tensors(tmp_path / "codec", config.model)
    assert all(torch.equal(t, kept[name]) for name, t in trainer.stage.model.state_dict().items())
    last = [json.loads(line) for line in (tmp_path / "probe" / "log.jsonl").read_text().splitlines()][-1]
    assert 0 <= last["val_distill_accuracy"] <= 1
    assert 0 < last["val_z_used"] <= 1


def test_a_probe_reads_each_level_apart(probe: dict[str, Any]) -> None:
    z_hat = torch.tensor([-1.0, -0.5, 0.0, 0.5, 0.5, -1.0, 0.0]).reshape(1, 7, 1, 1)
    where = probe["levels_apart"](z_hat).flatten().nonzero().flatten().tolist()
    assert where == [0, 5, 10, 15, 19, 20, 26]
