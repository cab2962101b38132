"""The trainer for one large GPU, on a CPU: its parts against what they stand for, and a few steps."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conformance.published import SHARED
from torch import Tensor, nn

from onedc.train.config import OptimConfig
from onedc.train.muon import Muon
from onedc.train.nets import load_checkpoint, load_lpips, load_model
from onedc.train.stage import Player
from onedc.train.stage1 import Stage1
from onedc.weights import BUNDLED
from onedc.weights.file import trainable_tensors

ROOT = Path(__file__).parents[3]
NETS = SHARED / "nets"
needs_nets = pytest.mark.skipif(not NETS.exists(), reason="needs LPIPS-squeeze, which is in ../shared/nets")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("small_on_gpu", ROOT / "runs" / "small_on_gpu.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_matrices_move_as_by_muon(script: ModuleType) -> None:
    shapes = {"a": (64, 32, 3, 3), "b": (64, 32, 3, 3), "c": (48, 96), "d": (32,), "e": (8, 1, 3, 3)}
    generator = torch.Generator().manual_seed(0)
    start = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    ours, theirs = ({n: nn.Parameter(t.clone()) for n, t in start.items()} for _ in range(2))
    optim = OptimConfig(kind="muon", weight_decay=0.1, clip=1e9)
    mover = script.Mover(Player("codec", ours, optim, slow=frozenset("b"), slow_share=0.5))
    groups = [{"params": [theirs[n] for n in "ac"], "weight_decay": 0.1}]
    groups += [{"params": [theirs[n] for n in "de"], "weight_decay": 0.0}]
    groups += [{"params": [theirs["b"]], "weight_decay": 0.0, "lr": 5e-4}]
    muon = Muon(groups, lr=1e-3)
    for _ in range(4):
        for name, shape in shapes.items():
            ours[name].grad = torch.randn(shape, generator=generator)
            theirs[name].grad = ours[name].grad.clone()
        mover.step(1e-3)
        muon.step()
    for name in shapes:
        moved = (theirs[name] - start[name]).norm()
        assert (ours[name] - theirs[name]).norm() < 0.03 * moved, name


def test_views_are_windows_of_the_photo(script: ModuleType) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    found = list(script.views(pixels, np.random.default_rng(1)))
    assert [view.shape for view in found] == [(512, 512, 3)] * script.VIEWS
    colours = {pixel.tobytes() for pixel in pixels.reshape(-1, 3)}
    assert any(all(pixel.tobytes() in colours for pixel in view[:4].reshape(-1, 3)) for view in found)
    small = list(script.views(pixels[:300, :400], np.random.default_rng(1)))
    assert [view.shape for view in small] == [(512, 512, 3)] * script.VIEWS
    assert list(script.views(pixels[:200], np.random.default_rng(1))) == []


@pytest.fixture
def photos(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(script, "VIEWS", 1)
    monkeypatch.setattr(script, "VIEW_PX", 256)
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    for name in ("a", "b"):
        Image.fromarray(pixels).resize((400, 300), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@needs_nets
def test_a_critic_adds_its_share_to_the_gradients_of_stage_1(script: ModuleType, photos: Path) -> None:
    torch.manual_seed(0)
    arguments = ["--data", str(photos), "--nets", str(NETS), "--start", str(BUNDLED), "-o", "unused"]
    config = script.configured(script.parse([*arguments, "--batch", "2", "--crop-px", "128"]))
    model, device = load_model(config.model, config.nets), torch.device("cpu")
    stage = Stage1(model, load_lpips(config.nets), config.objective, config.optim)
    pool = script.Pool(config, model.vae, device)
    stage.vae().requires_grad_(False)
    (player,) = stage.players()
    mover, critic, batch = script.Mover(player), script.Critic(device), pool.batch(2, 128)

    def gradients(step: Any) -> Tensor:
        torch.manual_seed(0)  # noise is drawn while the terms are computed
        step._forget()
        step._gradients(batch)
        return torch.cat([p.grad.flatten() for p in player.parameters.values() if p.grad is not None])

    alone = gradients(script.Step(stage, pool, mover, config))
    unheard, heard = script.GANStep(stage, pool, mover, config, critic), critic.heard
    torch.testing.assert_close(gradients(unheard), alone, rtol=0.02, atol=1e-3)
    assert all(p.grad is not None and p.grad.any() for p in critic.heads.parameters() if p.ndim > 1)
    heard.fill_(1.0)
    added = (gradients(unheard) - alone).norm() / alone.norm()
    assert 0.01 < added < 1


@needs_nets
def test_a_few_steps_leave_a_run(
    script: ModuleType, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(script, "GAN_AFTER", 1)
    run = tmp_path / "run"
    command = ["--data", str(photos), "--nets", str(NETS), "--start", str(BUNDLED), "-o", str(run)]
    command += ["--seconds", "3", "--gan-seconds", "3", "--batch", "1", "--crop-px", "128"]
    assert script.main(command) == 0
    folder = Path(capsys.readouterr().out.strip())
    model = load_checkpoint(folder)
    assert model.config.name == "small"
    _, bundled = trainable_tensors(BUNDLED)
    moved = {name: t.ne(bundled[name]).any() for name, t in model.state_dict().items()}
    parts = {
        part
        for part in ("g_a", "generator", "vae.decoder", "vae.encoder")
        for name in moved
        if name.startswith(part) and moved[name]
    }
    assert parts == {"g_a", "generator", "vae.decoder"}
    assert script.main(command) == 1
    assert "holds a run already" in capsys.readouterr().err
    for wrong in (["--seconds", "nan"], ["--gan-seconds", "-1"], ["--gan-lr", "0"], ["--crop-px", "1024"]):
        assert script.main([*command, "-o", str(tmp_path / "other"), *wrong]) == 1
        assert not (tmp_path / "other").exists()
