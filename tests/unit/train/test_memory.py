"""Recomputing changes no gradient; halved networks keep their vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from onedc.config import TINY
from onedc.errors import ConfigError
from onedc.model.onedc import OneDC
from onedc.model.vae_kl import AutoencoderKL
from onedc.train.config import TrainConfig
from onedc.train.loop import Trainer
from onedc.train.stages.build import build_stage, recompute
from onedc.train.stages.coding import reconstruct
from onedc.train.stages.stage2 import halve


def kept_bytes(loss: Callable[[], Tensor]) -> int:
    """Bytes that the backward pass keeps of the forward pass."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.data_ptr()] = t.nbytes
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss()
    return sum(kept.values())


def test_recomputing_keeps_less_and_changes_no_gradient() -> None:
    torch.manual_seed(0)
    model, quality = OneDC(TINY), torch.tensor([100])
    x, latents = torch.randn(1, 3, 128, 128), torch.randn(1, 32, 16, 16)

    def loss() -> Tensor:
        torch.manual_seed(1)
        decoded, bpp = reconstruct(model, x, latents, quality)
        return decoded.square().mean() + bpp.mean()

    grads = []
    sizes = []
    for again in (False, True):
        if again:
            recompute(model)
        sizes.append(kept_bytes(loss))
        model.zero_grad()
        loss().backward()
        grads.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, msg=name)
    assert sizes[1] < 0.6 * sizes[0]


def test_the_autoencoder_recomputes_too() -> None:
    vae = AutoencoderKL().requires_grad_(False)
    latents = torch.randn(1, 4, 8, 8, requires_grad=True)
    before = kept_bytes(lambda: vae.decode(latents).sum())
    recompute(vae)
    assert kept_bytes(lambda: vae.decode(latents).sum()) < 0.5 * before


def test_halved_networks_keep_their_vectors() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    halve(net.parameters())
    assert [p.dtype for p in net.parameters()] == [torch.bfloat16] + 3 * [torch.float32]


def test_stage2_with_halved_networks(tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
    settings = ("objective.storage=bf16", "run.steps=3", "run.checkpoint_every=1", "run.recompute=true")
    with pytest.raises(ConfigError, match=r"objective\.storage"):
        build_stage(tiny(*settings, recipe="tiny-stage2"))
    config = tiny(*settings, "run.precision=bf16", "discriminator_optim.kind=sgd", recipe="tiny-stage2")
    trainer = Trainer(config, tmp_path, resume=False)
    trainer.clock.over = lambda: trainer.step >= 2  # type: ignore[method-assign]
    trainer.run()
    kinds = {n: p.dtype for n, p in trainer.stage.named_parameters() if p.ndim > 1}
    whole = {n.split(".")[0] for n, dtype in kinds.items() if dtype == torch.float32}
    assert whole == {"model", "lpips", "gan_head"}
    halves = {".".join(n.split(".")[:2]) for n, dtype in kinds.items() if dtype == torch.bfloat16}
    assert "model.g_a" in halves
    assert "model.generator" not in halves
    assert Trainer(config, tmp_path, resume=True).run().finished
