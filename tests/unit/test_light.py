"""The light model: what its networks cost, how far they see, and its way through the codec."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.unit.light_model import LITTLE, random_model
from torch import nn

import onedc
from onedc.config import LIGHT, ModelConfig
from onedc.errors import ConfigError
from onedc.model import tile_layout
from onedc.model.blocks import RMSNorm2d
from onedc.model.onedc import OneDC
from onedc.model.unet import TokenAttention
from onedc.weights.file import save_weights


@pytest.fixture(scope="module")
def little() -> OneDC:
    return random_model(LITTLE)


def _multiplications(model: OneDC, side: int, decode: bool) -> float:
    """Multiply-adds of the convolutions and linear layers for each pixel, in thousands."""
    total = 0

    def count(layer: nn.Module, _inputs: object, out: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            channels_first = isinstance(layer, nn.Conv2d)
            total += out.numel() * (layer.weight[0].numel() if channels_first else layer.in_features)

    handles = [layer.register_forward_hook(count) for layer in model.modules()]
    if decode:
        z_hat, quality = torch.zeros(1, 7, side // 64, side // 64), torch.tensor([100])
        hyper, z_semantic = model.h_s(z_hat)
        y_hat = model.prior.scan(hyper, quality, lambda part, scale, mean: mean)
        model.vae.decode(model.synthesise(y_hat, z_semantic, quality))  # type: ignore[operator]
    else:
        _, z_hat = model.analyse(torch.zeros(1, 3, side, side), None)
        hyper, _ = model.h_s(z_hat)
        model.prior.scan(hyper, torch.tensor([100]), lambda part, scale, mean: mean)
    for handle in handles:
        handle.remove()
    return total / side**2 / 1000


@torch.inference_mode()
def test_the_work_and_the_size_of_the_light_model() -> None:
    model = OneDC(LIGHT).eval()
    assert 54 < _multiplications(model, 256, decode=True) < 55
    assert 33 < _multiplications(model, 256, decode=False) < 34
    assert sum(p.numel() for p in model.parameters()) < 13e6  # bytes, at 8 bits each


@torch.inference_mode()
def test_shapes(little: OneDC) -> None:
    x, quality = torch.rand(2, 3, 128, 192) * 2 - 1, torch.tensor([0, 200])
    assert little.vae_latents(x) is None
    y, z_hat = little.analyse(x, None)
    assert y.shape == (2, 16, 8, 12) and z_hat.shape == (2, 7, 2, 3)
    hyper, z_semantic = little.h_s(z_hat)
    y_hat = little.prior.scan(hyper, quality, lambda part, scale, mean: mean)
    decoded = little.synthesise(y_hat, z_semantic, quality)
    assert decoded.shape == (2, 32, 16, 24) and decoded.dtype == torch.float32
    assert little.vae.decode(decoded).shape == x.shape


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1024, 256), (832, 320), (512, 384)])
def test_bands_give_what_the_whole_picture_gives(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # At the real widths: with a handful of channels other kernels sum in another order.
    torch.manual_seed(0)
    model, (height, width) = OneDC(LIGHT).eval().to(memory_format=torch.channels_last), size
    x, latents = torch.rand(1, height, width, 3) * 2 - 1, torch.randn(1, height // 8, width // 8, 32)
    x, latents = x.permute(0, 3, 1, 2), latents.permute(0, 3, 1, 2)
    whole = [*model.g_a(x), model.vae.decode(latents)]
    monkeypatch.setattr(tile_layout, "WHOLE_PX", 2**14)
    banded = [*model.g_a(x), model.vae.decode(latents)]
    assert all(torch.equal(a, b) for a, b in zip(whole, banded, strict=True))


@torch.inference_mode()
def test_no_operation_sees_the_whole_picture(little: OneDC) -> None:
    # A change in one corner leaves the far one as it was, to the bit, in both directions.
    x, quality = torch.rand(1, 3, 1024, 1024) * 2 - 1, torch.tensor([200])
    other = x.clone()
    other[..., :64, :64] = 0
    for a, b in zip(little.analyse(x, None), little.analyse(other, None), strict=True):
        assert not torch.equal(a, b)
        assert torch.equal(a[..., -1, -1], b[..., -1, -1])
    y_hat, z_semantic = torch.randn(1, 16, 64, 64), torch.randn(1, 32, 16, 16)
    decoded = little.synthesise(y_hat, z_semantic, quality)
    y_hat[..., :4, :4], z_semantic[..., 0, 0] = 0, 0
    changed = little.synthesise(y_hat, z_semantic, quality)
    assert not torch.equal(decoded, changed) and torch.equal(decoded[..., -1, -1], changed[..., -1, -1])


def test_rms_norm_makes_each_position_of_one_length() -> None:
    x = torch.randn(2, 8, 3, 5) * torch.arange(1, 6)
    assert RMSNorm2d(8)(x).square().mean(dim=1).detach() == pytest.approx(np.ones((2, 3, 5)), abs=1e-3)


@torch.inference_mode()
def test_token_attention_against_a_plain_formula() -> None:
    torch.manual_seed(1)
    layer, x, tokens = TokenAttention(8, 2, 6), torch.randn(1, 8, 8, 12), torch.randn(1, 6, 2, 3)
    out = layer(x, tokens)
    row, column = 5, 2  # in the cell of token (1, 0)
    query = layer.to_q(layer.norm(x))[0, :, row, column]
    kv = layer.to_kv(tokens)[0]
    keys, values = [], []
    for down in (0, 1, 2):
        for across in (-1, 0, 1):
            inside = down < 2 and across >= 0
            pair = kv[:, down, across] if inside else torch.zeros(16)
            keys.append(pair[:8])
            values.append(pair[8:])
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        logits = torch.stack([query[head] @ key[head] for key in keys]) / 2
        heads.append(logits.softmax(0) @ torch.stack([value[head] for value in values]))
    expected = x[0, :, row, column] + layer.proj_out(torch.cat(heads)[None, :, None, None])[0, :, 0, 0]
    assert out[0, :, row, column].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_photo_through_the_codec(little: OneDC, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("light") / "little.safetensors"
    save_weights(path, little, model_id=200, dtype=torch.int8)
    codec = onedc.load(path, precision="fp32")
    picture = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    sizes = []
    for quality in (0, 10, 90):
        data = codec.encode(picture, quality=quality)
        assert codec.decode(data, output="numpy").shape == picture.shape
        sizes.append(len(data))
    assert sizes == sorted(sizes)


def test_the_configuration_is_one_of_two_kinds() -> None:
    assert ModelConfig.from_json(LIGHT.to_json()) == LIGHT
    with pytest.raises(ConfigError, match=r"ModelConfig.light: LightConfig.* does not go with vae 'taef2'"):
        replace(LIGHT, vae="taef2")
    with pytest.raises(ConfigError, match=r"analysis_blocks: .* is not 3 integers from 0 on"):
        replace(LIGHT.light, analysis_blocks=(1, 1))  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="analysis_unet"):
        replace(LIGHT, analysis_unet=LIGHT.generator_unet)
