"""Each term of stage II against a formula of its own, and distribution matching where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from experiments.dmd_ring import ring_of_modes, sliced_distance, train_one_step
from torch import Tensor, nn

from onedc.config import TINY
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.model.synthesis import OneStepGenerator
from onedc.train.config import TrainConfig
from onedc.train.data.batches import Batch
from onedc.train.data.noise import Noise
from onedc.train.losses.dmd import (
    Diffusion,
    dmd_gradient,
    dmd_loss,
    guided,
)
from onedc.train.losses.gan import discriminator_gan_loss, generator_gan_loss
from onedc.train.networks.discriminators import FeatureHeads, GANHead
from onedc.train.networks.score import ScoreNetwork
from onedc.train.stages.stage2 import Stage2

CPU = torch.device("cpu")


def test_the_schedule_is_stable_diffusions() -> None:
    bars = Diffusion().alpha_bars
    beta_sum = 0.0
    for k in range(1000):
        beta = (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * k / 999) ** 2
        beta_sum += math.log1p(-beta)
    assert float(bars[999]) == pytest.approx(math.exp(beta_sum), rel=1e-9)
    assert float(bars[999]) == pytest.approx(0.004660095, rel=1e-4)
    assert float(bars[0]) == pytest.approx(1 - 0.00085)


def test_clean_latents_come_back_from_their_noise() -> None:
    diffusion = Diffusion()
    clean, noise = torch.randn(3, 4, 5, 5), torch.randn(3, 4, 5, 5)
    timesteps = torch.tensor([0, 500, 999])
    noisy = diffusion.add_noise(clean, noise, timesteps)
    bar = float(diffusion.alpha_bars[500])
    torch.testing.assert_close(noisy[1], bar**0.5 * clean[1] + (1 - bar) ** 0.5 * noise[1])
    found = diffusion.clean(noisy, noise, timesteps)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), clean, atol=1e-5, rtol=0)


def test_the_generator_amplifies_as_the_spec_says() -> None:
    """x0 = 14.648819 noisy - 14.614647 noise at the paper's timestep."""
    config = replace(TINY, alpha_bar=0.004660095, timestep=999)
    noise, noisy = torch.randn(2, 32, 4, 4), torch.randn(2, 32, 4, 4)
    found = OneStepGenerator(config).clean(noise, noisy)
    assert found.dtype == torch.float32
    expected = 14.648819 * noisy.double() - 14.614647 * noise.double()
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=2e-6)


def test_the_dmd_gradient_is_normalised_for_each_sample() -> None:
    latents, real, fake = (torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(3))
    found = dmd_gradient(latents, real, fake)
    for n in range(2):
        scale = sum(abs(float(v)) for v in (latents[n] - real[n]).flatten()) / 48
        torch.testing.assert_close(found[n], (fake[n] - real[n]) / scale)
    torch.testing.assert_close(dmd_gradient(real, real, real), torch.zeros_like(real))  # 0 / 0 counts as 0


def test_the_dmd_loss_pulls_along_the_gradient() -> None:
    latents = torch.randn(2, 3, requires_grad=True)
    gradient = torch.randn(2, 3)
    dmd_loss(latents, gradient).backward()
    assert latents.grad is not None
    torch.testing.assert_close(latents.grad, gradient / 6)


def test_adversarial_terms_are_cross_entropies() -> None:
    real, fake = (
        torch.tensor([1.5, -0.3])[:, None, None, None],
        torch.tensor([0.2, -2.0])[:, None, None, None],
    )
    expected = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
    torch.testing.assert_close(generator_gan_loss(fake).mean(), expected)
    expected = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    expected = expected + F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    torch.testing.assert_close(discriminator_gan_loss(real, fake).mean(), expected)


def test_guidance_weight_1_is_the_conditional_prediction() -> None:
    a, b = torch.randn(3), torch.randn(3)
    torch.testing.assert_close(guided(a, b, 1.0), a)
    torch.testing.assert_close(guided(a, b, 1.75), b + 1.75 * (a - b))


def test_the_head_judges_each_8x8_of_middle_features() -> None:
    assert GANHead(32)(torch.randn(2, 32, 8, 8)).shape == (2, 1, 1, 1)
    assert GANHead(32)(torch.randn(1, 32, 16, 24)).shape == (1, 1, 2, 3)
    assert GANHead(32)(torch.randn(1, 32, 4, 8)).shape == (1, 1, 1, 1)  # a crop of 256x512 px through sd15


def make_stage(config: TrainConfig) -> Stage2:
    torch.manual_seed(0)
    real = ScoreNetwork(config.objective.score, config.model)
    for p in real.parameters():  # else a fresh network's prediction hardly depends on its input
        nn.init.normal_(p, std=0.05)
    stage = Stage2(
        OneDC(config.model), LPIPS(), real, config.objective, config.optim, config.discriminator_optim
    )
    for p in stage.fake_score.parameters():
        p.data += 0.02 * torch.randn_like(p)
    return stage


@pytest.fixture
def stage(tiny: Callable[..., TrainConfig]) -> Stage2:
    return make_stage(tiny(recipe="tiny-stage2"))


def some_batch() -> Batch:
    x = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(x, None, Noise(3, range(2), CPU), ["x"] * 2, [""] * 2, 0)


def test_the_generator_loss_is_the_sum_of_its_terms(stage: Stage2) -> None:
    config, batch = stage.stage2, some_batch()
    total, figures = stage.loss("generator", batch, 0)
    pixel = figures["lpips"] + figures["l1"] / 2
    expected = figures["dmd"] + 1e-3 * figures["gan_generator"] + 0.625 * pixel
    torch.testing.assert_close(total, expected)
    coded, tokens = stage._conditioned(batch)
    decoded = coded.decoded
    timesteps = batch.noise.integers("dmd_timestep", 20, 641)
    noisy = stage.diffusion.add_noise(
        decoded.detach(), batch.noise.normal("dmd_noise", 32, 16, 16), timesteps
    )
    told, blind = stage.real_score(noisy, timesteps, tokens), stage.real_score(noisy, timesteps, None)
    real = blind + config.guidance_weight * (told - blind)
    fake = stage.fake_score(noisy, timesteps, tokens)
    bar = stage.diffusion.alpha_bars[timesteps].reshape(2, 1, 1, 1)
    difference = (fake - real) * ((1 - bar) / bar).sqrt()  # clean predictions differ by that, sign reversed
    clean = (noisy - (1 - bar).sqrt() * real) / bar.sqrt()
    gradient = -difference / (decoded.detach() - clean).abs().mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(figures["dmd"], 0.5 * gradient.square().mean(), rtol=1e-4, atol=1e-7)


def test_stage_1s_terms_are_weighed_and_named_as_there(tiny: Callable[..., TrainConfig]) -> None:
    settings = (
        "objective.dmd=0",
        "objective.gan=0",
        "objective.stage1.weights.latent=0.7",
        "objective.stage1.weights.zonly=0.2",
    )
    stage = make_stage(tiny(*settings, "objective.stage1.weights.structure=0.5", recipe="tiny-stage2")).eval()
    coded, _ = stage._conditioned(some_batch())
    expected, named = stage.distortion(stage.pixel_terms(some_batch(), coded.decoded), coded)
    total, figures = stage.loss("generator", some_batch(), 0)
    torch.testing.assert_close(total, expected)
    assert set(named) == set(figures) - {"gan_generator"}


def test_only_the_player_whose_turn_it_is_gets_gradients(stage: Stage2) -> None:
    generator, discriminator = stage.optimizer_groups()
    assert generator.every == 2
    assert all(name.startswith("model.generator.") for name in generator.parameters)
    assert {name.split(".")[0] for name in discriminator.parameters} == {"fake_score", "head"}
    for p in discriminator.parameters.values():
        p.requires_grad_(False)
    total, _ = stage.loss("generator", some_batch(), 0)
    total.backward()
    assert all(p.grad is None for p in discriminator.parameters.values())
    assert sum(p.grad is not None for p in generator.parameters.values()) > 10
    assert all(p.grad is None for p in stage.real_score.parameters())


def test_the_critic_learns_noise_and_tells_apart(stage: Stage2) -> None:
    total, figures = stage.loss("discriminator", some_batch(), 0)
    torch.testing.assert_close(total, figures["fake_noise_mse"] + 1e-2 * figures["gan_discriminator"])
    total.backward()
    assert all(p.grad is None for p in stage.model.parameters())
    assert isinstance(stage.gan_head, GANHead)
    assert stage.gan_head.out.weight.grad is not None


def test_feature_heads_tell_two_kinds_of_features_apart() -> None:
    torch.manual_seed(0)
    heads = FeatureHeads((8, 16), hidden=8)
    optimizer = torch.optim.Adam(heads.parameters(), lr=1e-2)

    def features(shift: float) -> list[Tensor]:
        return [F.normalize(torch.rand(4, c, s, s) + shift * (torch.arange(c) % 2)[:, None, None], dim=1)
                for c, s in ((8, 12), (16, 6))]  # fmt: skip

    for _ in range(60):
        pairs = zip(heads(features(0.0)), heads(features(0.5)), strict=True)
        loss = torch.stack([discriminator_gan_loss(real, fake) for real, fake in pairs]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * 2 * math.log(2)


def test_distribution_matching_brings_a_bad_start_to_the_data() -> None:
    """Eight modes on a ring, the real score exact: the distance to the data falls more than fivefold."""
    data = ring_of_modes(2000, seed=1)
    history: list[Tensor] = train_one_step(steps=200, seed=0)
    before, after = (sliced_distance(samples, data) for samples in (history[0], history[-1]))
    assert after < before / 5
    nearest = torch.cdist(ring_of_modes(8, seed=None), history[-1]).min(dim=1).values
    assert bool((nearest < 0.3).all())  # no mode is forgotten
