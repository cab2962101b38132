"""Shapes of every network, and one numeric fact for each that the shapes do not show."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from onedc.config import PARTS, SD15, SMALL, TINY, ModelConfig
from onedc.engine.device import prepare_compiler
from onedc.entropy.z_prior import levels_of
from onedc.errors import ConfigError
from onedc.model.blocks import (
    ConvFFN,
    DepthConvBlock,
    QualityBias,
    QualityGain,
    ResnetBlock,
    with_lower_knots,
)
from onedc.model.hyperprior import FSQ
from onedc.model.onedc import OneDC
from onedc.model.parts import collapse, expand
from onedc.model.synthesis import NOISE_SIDE, NOISE_START, NoiseInjection
from onedc.model.taef2 import FULL, TAEF2
from onedc.model.tile_layout import WHOLE_PX, tiles
from onedc.model.tiling import TINY_AUTOENCODER
from onedc.model.windows import Masks, windowed
from onedc.weights import BUNDLED
from onedc.weights.file import load_weights


@pytest.fixture(scope="module")
def tiny() -> OneDC:
    torch.manual_seed(0)
    return OneDC(TINY).eval()


@torch.inference_mode()
def test_every_network_has_the_documented_shape(tiny: OneDC) -> None:
    x, quality = torch.rand(2, 3, 128, 192) * 2 - 1, torch.tensor([0, 200])
    vae_latents = tiny.vae.encode(x)
    assert vae_latents.shape == (2, 32, 16, 24)
    y, z_hat = tiny.analyse(x, vae_latents)
    assert y.shape == (2, TINY.y_channels, 8, 12)
    assert z_hat.shape == (2, 7, 2, 3)
    hyper, z_semantic = tiny.h_s(z_hat)
    assert hyper.shape == (2, TINY.hyper_channels, 8, 12)
    assert z_semantic.shape == (2, TINY.hyper_channels, 2, 3)
    y_hat = tiny.prior.scan(hyper, quality, lambda part, scale, mean: mean)
    assert y_hat.shape == y.shape
    decoded = tiny.synthesise(y_hat, z_semantic, quality)
    assert decoded.shape == vae_latents.shape and decoded.dtype == torch.float32
    assert tiny.vae.decode(decoded).shape == x.shape


def test_parameter_counts_of_the_paper_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = OneDC(SD15)
    millions = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert millions["g_a"] == pytest.approx(299.130e6, abs=500)
    assert millions["h_a"] == pytest.approx(14.781e6, abs=500)
    assert millions["h_s"] == pytest.approx(0.960e6, abs=500)
    assert millions["prior"] == pytest.approx((1.007 + 3.205) * 1e6, abs=1000)
    assert millions["semantic"] == pytest.approx(39.186e6, abs=500)
    assert millions["g_s"] == pytest.approx(35.879e6, abs=500)
    assert millions["generator"] == pytest.approx(861.367e6, abs=500)
    assert millions["vae"] == 83_653_863


def test_small_fits_its_budget() -> None:
    assert BUNDLED.stat().st_size <= 16e6
    assert load_weights(BUNDLED).config == SMALL


def test_fsq_follows_the_reference_formula() -> None:
    z = torch.linspace(-4, 4, 7 * 90).reshape(1, 7, 9, 10)
    half, shift = 3 * 1.001 / 2, math.atanh(0.5 / (3 * 1.001 / 2))
    wanted = torch.round(torch.tanh(z + shift) * half - 0.5) / 2
    torch.testing.assert_close(FSQ()(z), wanted)
    assert set(FSQ()(z).unique().tolist()) == {-1.0, -0.5, 0.0, 0.5}


def test_fsq_indices_put_dimension_zero_lowest() -> None:
    indices = torch.arange(4**7).reshape(1, 128, 128)
    z_hat = torch.from_numpy(levels_of(indices.numpy())).movedim(-1, 1) / 2 - 1
    assert torch.equal(FSQ.to_indices(z_hat), indices)
    assert z_hat[0, :, 0, 1].tolist() == [-0.5, -1, -1, -1, -1, -1, -1]


def test_fsq_gradient_passes_straight_through() -> None:
    z = torch.zeros(1, 7, 1, 1, requires_grad=True)
    FSQ()(z).sum().backward()
    assert z.grad is not None and (z.grad > 0.5).all()


def test_four_parts_tile_every_latent_once() -> None:
    t = torch.randn(1, 16, 8, 4)
    parts = [expand(collapse(t, part), part) for part in range(PARTS)]
    assert torch.equal(torch.stack(parts).sum(dim=0), t)
    assert torch.equal(torch.stack([p != 0 for p in parts]).sum(dim=0), torch.ones_like(t, dtype=torch.long))


def test_collapse_takes_the_groups_of_the_table() -> None:
    channel = torch.arange(4.0).reshape(1, 4, 1, 1).expand(1, 4, 2, 2)
    got = [collapse(channel, part)[0, 0].flatten().int().tolist() for part in range(PARTS)]
    # For each parity class (even/even, even/odd, odd/even, odd/odd): the group that is coded there.
    assert got == [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2]]


def test_scan_shows_each_part_what_came_before(tiny: OneDC) -> None:
    hyper, quality = torch.randn(1, TINY.hyper_channels, 4, 4), torch.tensor([9])

    def means(first: float) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []

        def visit(part: int, scale: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
            seen.append(mean)
            return mean + first * (part == 0)

        tiny.prior.scan(hyper, quality, visit)
        return seen

    plain, changed = means(0.0), means(3.0)
    assert torch.equal(plain[0], changed[0])
    assert all(not torch.equal(a, b) for a, b in zip(plain[1:], changed[1:], strict=True))


def test_feed_forward_adds_its_halves() -> None:
    ffn = ConvFFN(2)
    x = torch.randn(1, 2, 3, 3)
    first, second = ffn.conv(x).chunk(2, dim=1)
    leaky = nn.functional.leaky_relu
    torch.testing.assert_close(ffn(x), x + ffn.conv_out(leaky(first, 0.1) + leaky(second, 0.01)))


def test_resnet_block_drops_its_input_where_the_width_changes() -> None:
    block = ResnetBlock(32, 64)
    nn.init.zeros_(block.conv2.weight)
    assert block(torch.randn(1, 32, 4, 4)).abs().max() == 0
    same = ResnetBlock(32)
    nn.init.zeros_(same.conv2.weight)
    x = torch.randn(1, 32, 4, 4)
    assert torch.equal(same(x), x)


def test_seam_blocks_hold_only_what_integers_can_do(tiny: OneDC) -> None:
    allowed = (nn.Conv2d, nn.LeakyReLU, nn.PixelShuffle, nn.Identity, QualityBias, QualityGain)
    for seam in (tiny.h_s, tiny.prior):
        leaves = [m for m in seam.modules() if not list(m.children())]
        assert all(isinstance(leaf, allowed) for leaf in leaves)


def test_quality_vectors_run_through_the_knots() -> None:
    gain = QualityGain(3, 1)
    with torch.no_grad():
        gain.knots.copy_(torch.tensor([[0.0], [1.0], [3.0]]))
    values = gain.vectors(torch.tensor([0, 1, 128, 255])).flatten().tolist()
    assert values == pytest.approx([0, 0, 1, 3])
    x = torch.randn(4, 1, 2, 2)
    quality = torch.tensor([1, 64, 200, 255])
    torch.testing.assert_close(gain.inverse(gain(x, quality), quality), x)


@torch.inference_mode()
def test_noise_is_added_as_its_quality_says_and_lies_where_tiles_have_it() -> None:
    torch.manual_seed(0)
    noise = NoiseInjection(channels=3, latents=5, knots=2)
    assert noise.quality is not None
    noise.quality.zero.zero_()
    added = noise(torch.zeros(2, 5, 40, 70), torch.tensor([0, 255]))
    assert not added[0].any()
    assert added[1].std() == pytest.approx(NOISE_START, rel=0.5)
    assert torch.equal(added[..., :8, :38], added[..., NOISE_SIDE:, NOISE_SIDE:])
    start_px = {span.start for side in (5000, 7001) for span in TINY_AUTOENCODER.spans(side)}
    assert len(start_px) > 4 and all(start % (8 * NOISE_SIDE) == 0 for start in start_px)


def test_lower_knots_go_on_from_the_lowest() -> None:
    tables = {
        "prior.gain.zero": torch.zeros(2),
        "prior.gain.knots": torch.tensor([[-2.0, -1.0], [-1.5, 0.5]]),
        "g_s.quality_bias.zero": torch.tensor([4.0]),
        "g_s.quality_bias.knots": torch.tensor([[1.0], [0.0]]),
        "g_s.other": torch.ones(3),
    }
    longer = with_lower_knots(tables, 5)
    assert longer["prior.gain.knots"].tolist() == [
        [-5.0, -4.0], [-4.0, -3.0], [-3.0, -2.0], [-2.0, -1.0], [-1.5, 0.5],
    ]  # fmt: skip
    assert longer["g_s.quality_bias.knots"].flatten().tolist() == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert longer["g_s.other"] is tables["g_s.other"]
    assert torch.equal(with_lower_knots(tables, 2)["prior.gain.knots"], tables["prior.gain.knots"])


def test_windows_cover_the_map_and_their_tokens() -> None:
    x, tokens = torch.randn(1, 2, 12, 20), torch.randn(1, 2, 3, 5)

    def show(part: torch.Tensor, seen: torch.Tensor | None, masks: Masks) -> torch.Tensor:
        assert seen is not None
        assert (part.shape[-2], part.shape[-1]) == (4 * seen.shape[-2], 4 * seen.shape[-1])
        return part + nn.functional.interpolate(seen, scale_factor=4.0)

    whole = windowed(show, x, tokens, limit=1000, window=8)
    assert torch.equal(windowed(show, x, tokens, limit=10, window=8), whole)


def test_tiles_cover_the_map_once_and_reach_the_receptive_field() -> None:
    assert len(list(tiles(64, WHOLE_PX // 64 // 64, step_px=8, side=FULL.side, halo=FULL.halo))) == 1
    many = list(tiles(150, 200, step_px=8, side=FULL.side, halo=FULL.halo))
    covered = torch.zeros(150, 200)
    for rows, columns in many:
        covered[rows.wanted(1), columns.wanted(1)] += 1
        assert rows.start - rows.first in (0, FULL.halo) and rows.last - rows.stop <= FULL.halo
    assert (covered == 1).all() and len(many) == math.ceil(150 / FULL.side) * math.ceil(200 / FULL.side)
    assert 8 * FULL.halo >= 72


@torch.inference_mode()
@pytest.mark.parametrize("reduced", [False, True])
def test_tiling_is_exact_but_for_rounding(reduced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    vae = TAEF2(reduced=reduced).eval()
    x = torch.rand(1, 3, 192, 256) * 2 - 1
    latents = vae.encode(x)
    picture = vae.decode(latents)
    monkeypatch.setattr("onedc.model.tile_layout.WHOLE_PX", 0)
    vae.tiles_in, vae.tiles_out = (tiling._replace(side=8) for tiling in (vae.tiles_in, vae.tiles_out))
    torch.testing.assert_close(vae.encode(x), latents, rtol=0, atol=1e-5)
    torch.testing.assert_close(vae.decode(latents), picture, rtol=0, atol=1e-5)


def test_configuration_round_trip_and_refusals() -> None:
    for config in (SMALL, SD15, TINY):
        assert ModelConfig.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="unknown field 'colour'"):
        ModelConfig.from_json('{"colour": 1}')
    with pytest.raises(ConfigError, match="unknown field 'gone'"):
        ModelConfig.from_json(TINY.to_json()[:-1] + ',"gone":null}')
    with pytest.raises(ConfigError, match="not JSON"):
        ModelConfig.from_json("{")
    with pytest.raises(ConfigError, match="y_channels"):
        ModelConfig.from_json(TINY.to_json().replace('"y_channels":16', '"y_channels":15'))
    with pytest.raises(ConfigError, match="reduced"):
        replace(SD15, reduced=True)
    with pytest.raises(ConfigError, match="vae: 'light' is neither 'sd' nor 'taef2'"):
        replace(SD15, vae="light")


def test_depth_conv_block_keeps_size_and_changes_width() -> None:
    assert DepthConvBlock(8, 12)(torch.randn(1, 8, 3, 5)).shape == (1, 12, 3, 5)


@torch.inference_mode()
def test_compilation_reaches_every_float_network() -> None:
    torch.manual_seed(0)
    model = OneDC(TINY).eval()
    called: set[nn.Module] = set()
    parts = {model.get_submodule(name) for name in model.compiled_parts()}
    for part in parts:
        part.register_forward_pre_hook(lambda module, inputs: called.add(module))
    x, quality = torch.rand(1, 3, 64, 64), torch.tensor([9])
    y, z_hat = model.analyse(x, model.vae.encode(x))
    model.vae.decode(model.synthesise(y, model.h_s(z_hat)[1], quality))
    assert called == parts
    networks = (model.g_a, model.h_a, model.semantic, model.g_s, model.generator)
    assert {type(part).__name__ for part in called} == {type(n).__name__ for n in networks} | {"Block"}


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match="C\\+\\+ compiler"):
        prepare_compiler(torch.device("cpu"))


def _multiplications(model: OneDC, side: int, decode: bool) -> float:
    """Multiply-adds of the convolutions and linear layers for each pixel, in thousands."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor], out: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d | nn.Linear):
            total += out.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.ConvTranspose2d):
            total += inputs[0].numel() * layer.weight[0].numel()

    handles = [layer.register_forward_hook(count) for layer in model.modules()]
    z_hat, quality = torch.zeros(1, 7, side // 64, side // 64), torch.tensor([100])
    if not decode:
        model.encode(torch.zeros(1, 3, side, side))
    hyper, z_semantic = model.h_s(z_hat)
    y_hat = model.prior.scan(hyper, quality, lambda part, scale, mean: mean)
    if decode:
        model.decode(y_hat, z_semantic, quality)
    for handle in handles:
        handle.remove()
    return total / side**2 / 1000


@torch.inference_mode()
def test_the_work_of_the_bundled_model() -> None:
    model = OneDC(SMALL).eval()
    assert 57 < _multiplications(model, 256, decode=True) < 59
    assert 55 < _multiplications(model, 256, decode=False) < 57
