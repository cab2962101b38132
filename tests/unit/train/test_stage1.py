"""Each term of stage I against a formula of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.conformance.fixture_model import FIXTURE
from torch import Tensor

from onedc.config import PARTS, TINY
from onedc.errors import ConfigError
from onedc.model.hyperprior import CENTRE, SPREAD
from onedc.model.likelihood import gaussian_bits
from onedc.model.lpips import LPIPS
from onedc.model.onedc import OneDC
from onedc.model.parts import collapse, expand
from onedc.train.config import NetsConfig, TrainConfig
from onedc.train.data.batches import Batch
from onedc.train.data.noise import Noise
from onedc.train.losses.pixels import (
    PixelTerms,
    ms_ssim,
    pixel_terms,
    repetition,
    window_corners,
    window_coverage,
    windows,
)
from onedc.train.losses.rate import rate_weight
from onedc.train.networks.loading import load_model
from onedc.train.stages.build import build_stage
from onedc.train.stages.coding import Analysed, TrainingVisitor, spread_lack, used_share
from onedc.train.stages.stage1 import Coded, Stage1
from onedc.train.stages.start import linear_start, principal_components, spread_start
from onedc.weights.file import load_weights

CPU = torch.device("cpu")


@pytest.fixture
def stage(tiny: Callable[..., TrainConfig]) -> Stage1:
    torch.manual_seed(0)
    config = tiny("objective.ramp_steps=4000")
    return Stage1(OneDC(config.model), LPIPS(), config.objective, config.optim)


def batch_of(count: int, side: int = 64) -> Batch:
    x = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(x, None, Noise(3, range(count), CPU), ["x"] * count, [""] * count, 0)


def test_the_visitor_codes_every_latent_once() -> None:
    y = torch.randn(2, 8, 4, 6, generator=torch.Generator().manual_seed(0)) * 3
    quality = torch.tensor([200, 0])
    visitor = TrainingVisitor(y, quality)
    y_hat = torch.zeros_like(y)
    for part in range(PARTS):
        like = collapse(y, part)
        y_hat = y_hat + expand(visitor(part, torch.full_like(like, 2.0), torch.full_like(like, 0.25)), part)
    expected = torch.where(quality[:, None, None, None] > 0, (y - 0.25).round() + 0.25, torch.tensor(0.25))
    torch.testing.assert_close(y_hat, expected)
    own = gaussian_bits((y[0] - 0.25).round(), torch.full_like(y[0], 2.0)).sum()
    torch.testing.assert_close(visitor.bits.sum(dim=(1, 2)), torch.stack([own, torch.tensor(0.0)]))


def test_noise_moves_the_rate_and_not_the_values() -> None:
    y = torch.randn(1, 8, 4, 4)
    like = collapse(y, 0)
    results = []
    for seed in (1, 2):
        visitor = TrainingVisitor(y, torch.tensor([9]), Noise(seed, [0], CPU))
        decoded = visitor(0, torch.ones_like(like), torch.zeros_like(like))
        noisy = like + Noise(seed, [0], CPU).uniform("y0", *like.shape[1:]) - 0.5
        own = gaussian_bits(noisy, torch.ones_like(like)).sum(dim=1)
        torch.testing.assert_close(visitor.bits, own)
        results.append(decoded)
    assert torch.equal(results[0], results[1])


def test_low_qualities_count_the_bits_of_rounded_values() -> None:
    y = torch.randn(2, 8, 4, 4)
    like = collapse(y, 0)
    visitor = TrainingVisitor(y, torch.tensor([9, 10]), Noise(1, [0, 1], CPU), rounded_below=10)
    visitor(0, torch.ones_like(like), torch.zeros_like(like))
    exact = gaussian_bits(like.round(), torch.ones_like(like)).sum(dim=1)
    torch.testing.assert_close(visitor.bits[0], exact[0])
    assert not torch.allclose(visitor.bits[1], exact[1])


def test_rounding_passes_the_gradient_straight_through() -> None:
    y = torch.randn(1, 8, 4, 4, requires_grad=True)
    visitor = TrainingVisitor(y, torch.tensor([9]))
    like = collapse(y, 0).detach()
    visitor(0, torch.ones_like(like), torch.zeros_like(like)).sum().backward()
    assert y.grad is not None
    torch.testing.assert_close(y.grad, expand(torch.ones_like(like), 0))


def test_rate_weight_is_log_linear_in_the_byte() -> None:
    found = rate_weight(torch.tensor([0, 1, 128, 255]), 8.0, 0.5)
    assert found.tolist() == pytest.approx([0.0, 8.0, 2.0, 0.5])


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (2000, 0.25), (4000, 1.0), (8000, 1.0)])
def test_the_rate_ramps_up_from_step_0(stage: Stage1, step: int, share: float) -> None:
    quality = torch.tensor([0, 1, 255])
    weights = stage.config.weights
    full = rate_weight(quality, weights.rate_low, weights.rate_high)
    expected = [0.0, *(1e-4 + (float(w) - 1e-4) * share for w in full[1:])]
    assert stage.rate_weights(quality, step).tolist() == pytest.approx(expected)


def test_qualities_cover_the_bytes_and_drop_y_at_times(stage: Stage1) -> None:
    quality = stage.qualities(Noise(1, range(3000), CPU))
    assert 0.08 < float((quality == 0).float().mean()) < 0.12
    assert (int(quality[quality > 0].min()), int(quality.max())) == (1, 255)
    assert 120 < float(quality[quality > 0].float().median()) < 136


def test_high_qualities_may_come_more_often(stage: Stage1) -> None:
    stage.config = replace(stage.config, drop_y=0.0, quality_power=0.5)
    quality = stage.qualities(Noise(1, range(3000), CPU))
    assert (int(quality.min()) < 16, int(quality.max())) == (True, 255)
    assert 0.5**0.5 * 255 - 6 < float(quality.float().median()) < 0.5**0.5 * 255 + 6


def test_latents_without_weight_are_never_made(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny("objective.weights.latent=0")
    model = OneDC(config.model)
    stage = Stage1(model, LPIPS(), config.objective, config.optim, autoencoder=OneDC(config.model).vae)
    batch = batch_of(1)
    assert stage.targets(batch.x) == {} and stage.coded(batch).target is None
    _, figures = stage.loss("codec", batch, 0)
    assert "latent_l1" not in figures
    weighed = replace(config.objective.weights, latent=0.5)
    stage.config = replace(config.objective, weights=weighed)
    torch.testing.assert_close(stage.coded(batch).target, stage.targets(batch.x)["vae_latents"])


def test_windows_are_cut_per_picture() -> None:
    t = torch.arange(2 * 1 * 6 * 6).reshape(2, 1, 6, 6)
    cut = windows(t, torch.tensor([[0, 1], [3, 2]]), 3)
    assert torch.equal(cut[0], t[0, :, 0:3, 1:4])
    assert torch.equal(cut[1], t[1, :, 3:6, 2:5])


def test_pixel_terms_leave_out_the_border(stage: Stage1) -> None:
    batch = batch_of(2)
    decoded = torch.randn(2, 32, 8, 8)
    lpips, l1, coarse, *_ = pixel_terms(
        stage.model.vae.decode, stage.lpips, batch.x, decoded, torch.tensor([[3, 13], [8, 8]])
    )
    whole = stage.model.vae.decode(decoded)
    for n, (rows, columns) in enumerate([(slice(3, 51), slice(13, 61)), (slice(8, 56), slice(8, 56))]):
        picture, wanted = whole[n : n + 1, :, rows, columns], batch.x[n : n + 1, :, rows, columns]
        torch.testing.assert_close(l1[n], (picture - wanted).abs().mean())
        torch.testing.assert_close(lpips[n : n + 1], stage.lpips(picture, wanted))
        means = [
            (picture - wanted)[0, :, top : top + 16, left : left + 16].mean(dim=(1, 2))
            for top in (0, 16, 32)
            for left in (0, 16, 32)
        ]
        torch.testing.assert_close(coarse[n], torch.stack(means).abs().mean())


@pytest.mark.parametrize(("side", "size"), [(40, 22), (40, 39), (16, 14), (16, 8)])
def test_how_often_windows_show_a_position_is_known(side: int, size: int) -> None:
    drawn = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0))
    corners = window_corners(drawn, side - size)
    assert int(corners.min()) == 0 and int(corners.max()) == side - size
    after = torch.arange(side) - corners[..., None]
    inside = ((after >= 0) & (after < size)).float()
    shown = torch.einsum("nh,nw->hw", inside[:, 0], inside[:, 1]).reshape(side // 2, 2, side // 2, 2)
    shown = shown.mean(dim=(1, 3))
    coverage = window_coverage(side, size, CPU)
    torch.testing.assert_close(coverage, shown / shown.mean(), atol=0.02, rtol=0.02)
    torch.testing.assert_close(coverage.mean(), torch.tensor(1.0))


def test_bits_weigh_as_often_as_windows_show_where_they_lie(stage: Stage1) -> None:
    stage.config = replace(stage.config, window_px=64)

    def cost(row: int, column: int, count: float) -> float:
        bits, empty = torch.zeros(1, 8, 8), torch.zeros(1)
        bits[0, row, column] = count
        sent = Analysed(empty, empty, bits, torch.zeros(1, 7, 2, 2))
        total, figures = stage.cost(batch_of(1, side=128), Coded(sent, empty, None, torch.tensor([200])), 0)
        assert figures["bpp"] == pytest.approx(count / 128**2)
        return float(total)

    corner, middle = (cost(*place, 1000) - cost(*place, 0) for place in ((0, 0), (3, 4)))
    coverage = window_coverage(16, 8, CPU)
    assert coverage[0, 0] < 0.5 < 1.5 < coverage[3, 4]
    assert corner / middle == pytest.approx(float(coverage[0, 0] / coverage[3, 4]), rel=1e-3)


def test_the_part_that_is_compared_moves_against_the_grid(
    stage: Stage1, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def record(vae: object, lpips: object, x: Tensor, decoded: Tensor, inset: Tensor) -> PixelTerms:
        seen.append(inset)
        return PixelTerms(*x.new_zeros(3, len(x)), [], [], x, x)

    monkeypatch.setattr("onedc.train.stages.stage1.pixel_terms", record)
    batch = batch_of(2)
    for position in range(40):
        batch.noise = Noise(1, range(2 * position, 2 * position + 2), CPU)
        stage.pixel_terms(batch, torch.zeros(2, 32, 8, 8))
    insets = torch.cat(seen)
    assert set(insets.flatten().tolist()) == set(range(3, 14))


def test_windows_at_the_edge_of_a_crop_are_compared_up_to_that_edge(
    stage: Stage1, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def record(vae: object, lpips: object, x: Tensor, decoded: Tensor, inset: Tensor) -> PixelTerms:
        seen.append((decoded[:, 0, 0, 0], inset))
        return PixelTerms(*x.new_zeros(3, len(x)), [], [], x, x)

    monkeypatch.setattr("onedc.train.stages.stage1.pixel_terms", record)
    monkeypatch.setattr(stage, "config", replace(stage.config, window_px=64))
    batch = batch_of(2, side=128)
    rows = torch.arange(16.0).view(1, 1, 16, 1).expand(2, 32, 16, 16)
    for position in range(60):
        batch.noise = Noise(1, range(2 * position, 2 * position + 2), CPU)
        stage.pixel_terms(batch, rows)
    top, inset = torch.cat([t for t, _ in seen]), torch.cat([i for _, i in seen])[:, 0]
    for edge in (0, 8):
        assert 0.2 < (top == edge).float().mean() < 0.4
    assert set(top[(top > 0) & (top < 8)].tolist()) == set(range(1, 8))
    assert set(inset[top == 0].tolist()) == {0}
    assert set(inset[top == 8].tolist()) == {16}
    assert int(inset[(top > 0) & (top < 8)].min()) >= 3 and int(inset[(top > 0) & (top < 8)].max()) <= 13


def test_the_loss_is_the_weighted_sum_of_its_figures(stage: Stage1) -> None:
    one: list[Tensor] = []
    for position in range(3):
        batch = batch_of(3)
        alone = Batch(
            batch.x[position : position + 1].repeat(2, 1, 1, 1),
            None,
            Noise(3, [position] * 2, CPU),
            [],
            [],
            0,
        )
        total, figures = stage.loss("codec", alone, 2000)
        quality = stage.qualities(alone.noise)
        weights = stage.config.weights
        expected = weights.lpips * figures["lpips"] + weights.pixel * figures["l1"]
        expected = expected + weights.latent * figures["latent_l1"]
        expected = expected + stage.rate_weights(quality, 2000)[0] * figures["bpp"]
        torch.testing.assert_close(total, expected)
        one.append(total.detach())
    whole, _ = stage.loss("codec", batch_of(3), 2000)
    torch.testing.assert_close(whole.detach(), torch.stack(one).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("drop_y", [0.0, 1.0])
def test_pictures_from_z_alone_may_be_held_less_to_their_detail(stage: Stage1, drop_y: float) -> None:
    stage.config = replace(stage.config, drop_y=drop_y)
    alike, figures = stage.loss("codec", batch_of(2), 0)
    weights = replace(stage.config.weights, zonly=0.25)
    stage.config = replace(stage.config, weights=weights)
    relaxed, _ = stage.loss("codec", batch_of(2), 0)
    detail = weights.pixel * figures["l1"] + weights.latent * figures["latent_l1"]
    torch.testing.assert_close(alike - relaxed, 0.75 * drop_y * detail)


def test_z_lacks_nothing_where_all_values_are_used_alike() -> None:
    z = SPREAD * torch.randn(4, 7, 40, 40, generator=torch.Generator().manual_seed(0)) + CENTRE
    assert spread_lack(z).item() == pytest.approx(0, abs=2e-3)
    assert spread_lack(10 * (z - CENTRE) + CENTRE).item() == pytest.approx(math.log(10) ** 2, rel=0.05)
    assert spread_lack(z + SPREAD).item() == pytest.approx(math.log(2), rel=0.05)
    one_for_all = z[:, :1].expand_as(z)
    assert spread_lack(one_for_all).item() == pytest.approx(21 / 49, rel=0.05)  # 21 pairs of 49


def test_a_saturated_z_is_pulled_back(stage: Stage1) -> None:
    """The quantiser itself passes no gradient there: the weight of `spread` is what moves h_a."""
    last = stage.model.h_a.fusion[-1]
    with torch.no_grad():
        last.weight.mul_(1e4)
    for weight, moves in ((0.0, False), (0.1, True)):
        weights = replace(stage.config.weights, spread=weight)
        stage.config = replace(stage.config, weights=weights)
        last.weight.grad = None
        stage.loss("codec", batch_of(3, side=128), 0)[0].backward()
        assert last.weight.grad is not None
        assert (last.weight.grad.norm().item() > 1e-6) is moves


def test_h_a_can_begin_with_a_z_that_uses_all_its_values(stage: Stage1) -> None:
    model, x = stage.model, batch_of(6, side=128).x
    with torch.no_grad():
        model.h_a.fusion[-1].weight.mul_(1e3)
    latents = model.vae.encode(x)  # type: ignore[operator]
    spread_start(model, x, latents)
    z = model.analyse_unquantised(x, latents)[1]
    assert spread_lack(z).item() < 1e-2


def test_used_share_counts_distinct_values() -> None:
    assert used_share(torch.tensor([[[5, 5], [7, 9]]])).item() == 0.75


@pytest.mark.parametrize("reduced", [False, True])
def test_a_linear_start_is_the_code_of_principal_components(reduced: bool) -> None:
    torch.manual_seed(0)
    model, x = OneDC(replace(TINY, reduced=reduced)), batch_of(6, side=128).x
    latents = model.vae.encode(x)  # type: ignore[operator]
    linear_start(model, latents)
    basis, mean = principal_components(latents, model.config.y_channels)
    kernel = F.conv2d(latents, basis, stride=2)
    with torch.no_grad():
        y, _ = model.analyse(x, latents)
        torch.testing.assert_close(y, kernel - (basis.sum(dim=(2, 3)) @ mean)[:, None, None])
        back = F.conv_transpose2d(y, basis, stride=2) + mean[:, None, None]
        z_semantic = torch.zeros(6, model.config.hyper_channels, 2, 2)
        decoded = model.synthesise(y, z_semantic, torch.full((6,), 255))
    torch.testing.assert_close(decoded, back, rtol=1e-4, atol=1e-4)


def test_ms_ssim_follows_the_one_with_gaussian_windows() -> None:
    reference = pytest.importorskip("torchmetrics.functional.image")
    generator = torch.Generator().manual_seed(0)
    x = F.interpolate(torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1, scale_factor=8, mode="bicubic")
    for noise in (0.1, 0.3, 0.6):
        y = x + noise * torch.randn(x.shape, generator=generator)
        wanted = reference.multiscale_structural_similarity_index_measure(
            x, y, data_range=2.0, reduction="none"
        )
        torch.testing.assert_close(ms_ssim(x, y), wanted, atol=0.03, rtol=0)
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(2))


def test_what_comes_again_is_told_from_noise() -> None:
    torch.manual_seed(0)
    noise = torch.rand(2, 3, 150, 280) - 0.5
    stripes = noise[..., :8, :8].tile(1, 1, 19, 35)[..., :150, :] + noise / 10
    for period_px in (8, 16):
        assert repetition(noise, period_px).shape == (2, 2)  # squares of 128 px
        assert repetition(noise, period_px).mean() == pytest.approx(1, abs=0.3)
        assert (repetition(stripes, period_px) > 0.8 * (128 / period_px) ** 2).all()
    assert (repetition(torch.zeros(1, 3, 128, 128), 8) == 0).all()
    terms = PixelTerms(*([noise] * 3), [], [], picture=stripes, target=noise)
    assert (terms.grid > 10).all() and (terms._replace(picture=noise).grid < 0.1).all()


def test_the_term_of_the_grid_needs_room(tiny: Callable[..., TrainConfig]) -> None:
    with pytest.raises(ConfigError, match=r"objective\.weights\.grid: needs .* at least 144 px"):
        build_stage(tiny("objective.weights.grid=1", "objective.window_px=128"))


def test_a_start_may_lack_noise() -> None:
    config, started = load_weights(FIXTURE).config, NetsConfig(start=str(FIXTURE))
    model = load_model(replace(config, noise_channels=2), started)
    plain = load_model(config, started)
    assert model.generator.noise is not None and plain.generator.noise is None
    own = model.state_dict()
    assert {name for name in own if "generator.noise." in name} == own.keys() - plain.state_dict().keys()
    assert all(torch.equal(own[name], value) for name, value in plain.state_dict().items())


def test_the_decoder_moves_slowly_where_it_may(stage: Stage1) -> None:
    assert not any("vae." in name for name in stage.optimizer_groups()[0].parameters)
    config = replace(stage.config, train_decoder=True, slow_share=0.3)
    (group,) = Stage1(stage.model, stage.lpips, config, stage.optim).optimizer_groups()
    moving = {name for name in group.parameters if name.startswith("model.vae.")}
    assert moving == group.slow
    assert moving == {f"model.vae.decoder.{name}" for name, _ in stage.model.vae.decoder.named_parameters()}  # type: ignore[operator,union-attr]
    assert group.slow_share == 0.3


def test_structure_weighs_what_it_says(stage: Stage1) -> None:
    batch = batch_of(2)
    without, figures = stage.loss("codec", batch, 0)
    assert "structure" not in figures
    stage.config = replace(stage.config, weights=replace(stage.config.weights, structure=0.5))
    total, figures = stage.loss("codec", batch, 0)
    assert 0 < figures["structure"].item() < 1
    torch.testing.assert_close(total, without + 0.5 * figures["structure"])


def test_only_the_named_parts_learn(tiny: Callable[..., TrainConfig]) -> None:
    config, vector = tiny("objective.drop_y=1.0"), "generator.quality.zero"
    model = OneDC(config.model)
    stage = Stage1(model, LPIPS(), replace(config.objective, only=(vector,)), config.optim)
    assert set(stage.optimizer_groups()[0].parameters) == {f"model.{vector}"}
    loss, _ = stage.loss("codec", batch_of(2), step=0)
    loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {vector}
    for part in ("nowhere", "g"):
        with pytest.raises(ConfigError, match=f"objective.only.*'{part}'"):
            Stage1(model, LPIPS(), replace(config.objective, only=("g_s", part)), config.optim)
    frozen = replace(config.objective, only=("vae", "g_s"), train_decoder=False)
    (group,) = Stage1(OneDC(config.model), LPIPS(), frozen, config.optim).optimizer_groups()
    assert {name.split(".")[1] for name in group.parameters} == {"g_s"}


def test_pixel_terms_may_see_whole_pictures(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny("objective.inset=false")
    stage = Stage1(OneDC(config.model), LPIPS(), config.objective, config.optim)
    batch, decoded = batch_of(2), torch.randn(2, 32, 8, 8)
    terms = stage.pixel_terms(batch, decoded)
    picture = stage.model.vae.decode(decoded)
    assert terms.picture.shape == batch.x.shape
    torch.testing.assert_close(terms.l1, (picture - batch.x).abs().mean(dim=(1, 2, 3)))
    with pytest.raises(ConfigError, match=r"inset: false needs objective\.window_px=0"):
        tiny("objective.inset=false", "objective.window_px=64")


def test_the_decoder_may_stay_in_fp32(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny("objective.inset=false", "objective.decoder_fp32=true")
    stage = Stage1(OneDC(config.model), LPIPS(), config.objective, config.optim)
    batch, decoded = batch_of(1), torch.randn(1, 32, 8, 8)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        picture = stage.pixel_terms(batch, decoded).picture
        halved = stage.model.vae.decode(decoded)
    assert picture.dtype == torch.float32
    assert torch.equal(picture, stage.model.vae.decode(decoded))
    assert not torch.equal(picture, halved.float())
