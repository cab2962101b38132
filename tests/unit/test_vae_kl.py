"""The Stable Diffusion autoencoder's own parts; its outputs are compared in conformance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from onedc.model.vae_kl import SCALING, AutoencoderKL, Downsample, Upsample, WindowAttention


@pytest.fixture(scope="module")
def attention() -> WindowAttention:
    torch.manual_seed(0)
    return WindowAttention(64).eval().requires_grad_(False)


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (8, 24), (40, 8), (24, 40), (3, 17)])
def test_windows_in_one_batch_equal_windows_one_by_one(
    attention: WindowAttention, size: tuple[int, int]
) -> None:
    x = torch.randn(2, 64, *size)
    expected = torch.empty_like(x)
    for top in range(0, size[0], 16):
        for left in range(0, size[1], 16):
            window = x[..., top : top + 16, left : left + 16]
            expected[..., top : top + 16, left : left + 16] = attend(attention, window)
    assert torch.allclose(attention(x), expected, atol=1e-5)


def attend(attention: WindowAttention, x: Tensor) -> Tensor:
    """Single-head attention over all positions, written out."""
    tokens = attention.group_norm(x).flatten(2).transpose(1, 2)
    q, k, v = attention.to_q(tokens), attention.to_k(tokens), attention.to_v(tokens)
    weights = torch.softmax(q @ k.transpose(1, 2) / 8, dim=-1)
    return x + attention.to_out[0](weights @ v).transpose(1, 2).reshape(x.shape)


def test_nothing_passes_a_border_of_windows(attention: WindowAttention) -> None:
    x = torch.randn(1, 64, 24, 32)
    y = x.clone()
    y[..., :16, 16:] += 1
    changed = (attention(x) != attention(y)).any(dim=1)[0]
    assert changed[:16, 16:].all()
    assert not changed[16:].any()
    assert not changed[:, :16].any()


def test_downsampling_pads_below_and_to_the_right() -> None:
    layer = Downsample(1)
    torch.nn.init.constant_(layer.conv.weight, 0)
    torch.nn.init.constant_(layer.conv.bias, 0)
    with torch.no_grad():
        layer.conv.weight[0, 0, 2, 2] = 1
        x = torch.arange(16.0).view(1, 1, 4, 4)
        assert layer(x).flatten().tolist() == [10, 0, 0, 0]
        layer.conv.weight[0, 0] = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]])
        assert layer(x).flatten().tolist() == [0, 2, 8, 10]


@torch.no_grad()
@pytest.mark.parametrize("channels_last", [False, True])
def test_upsampling_is_repetition_and_convolution(channels_last: bool) -> None:
    layer, x = Upsample(8), torch.randn(2, 8, 5, 7)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    expected = layer.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    assert torch.allclose(layer(x), expected, atol=1e-6)
    assert layer(x).is_contiguous(memory_format=torch.channels_last) == channels_last


def test_shapes() -> None:
    with torch.device("meta"):
        vae = AutoencoderKL()
        latents = vae.encode(torch.empty(2, 3, 64, 192))
        assert latents.shape == (2, 4, 8, 24)
        assert vae.decode(latents).shape == (2, 3, 64, 192)


def test_a_sample_is_the_mean_and_noise_by_the_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        vae = AutoencoderKL()
    mean, logvar, noise = torch.randn(3, 1, 4, 8, 8)
    monkeypatch.setattr(vae, "encode_moments", lambda x: (mean, logvar))
    assert torch.allclose(vae.encode(mean), SCALING * mean)
    assert torch.allclose(vae.encode(mean, noise), SCALING * (mean + noise * logvar.exp().sqrt()))
