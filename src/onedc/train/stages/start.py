"""A head start for stage I: the networks begin as a linear transform code of the VAE latents.

Principal components of 2x2 blocks of vae_latents become y, and their inverse the decoder's linear path;
every residual branch starts at zero. Training then refines a working codec instead of finding one.
Layers are reached by their place in a network, which torch cannot type: hence the Any.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.errors import ConfigError
from onedc.model.blocks import AttentionBlock, ConvFFN, DepthConv, QualityGain, ResnetBlock
from onedc.model.hyperprior import CENTRE, SPREAD
from onedc.model.onedc import OneDC
from onedc.model.unet import TimeResnet, Transformer2d

GAIN_LOW, GAIN_HIGH = 0.023, 1.2  # first gains at quality bytes 1 and 255


def principal_components(vae_latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The leading components of 2x2 blocks: basis [count, C, 2, 2] (orthonormal rows), mean [C]."""
    b, c, h, w = vae_latents.shape
    cells = vae_latents.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    mean = vae_latents.double().mean(dim=(0, 2, 3))
    blocks = cells.reshape(-1, 4 * c).double() - mean.repeat_interleave(4)
    _, vectors = torch.linalg.eigh(blocks.T @ blocks / len(blocks))
    basis = vectors.flip(1)[:, :count].T
    return basis.reshape(count, c, 2, 2).float(), mean.float()


@torch.no_grad()
def linear_start(model: OneDC, vae_latents: Tensor) -> None:
    """Set `model` to the linear code of a sample of vae_latents [B,C,h,w], in place.

    Raises:
        ConfigError: the model has no linear path from vae_latents to y.
    """
    config = model.config
    if model.g_a.skip is None or model.prior.gain is None:
        raise ConfigError(f"preset {config.name}: linear start needs analysis_skip and quality_knots")
    basis, mean = principal_components(vae_latents, config.y_channels)
    for part in (model.g_a, model.semantic, model.g_s, model.generator):
        for module in part.modules():
            _silence(module)
    g_a: Any = model.g_a
    g_a.skip.weight.copy_(basis)
    g_a.skip.bias.copy_(-basis.sum(dim=(2, 3)) @ mean)
    nn.init.zeros_(g_a.trans_coding[-1].depth.adaptor.weight)
    nn.init.zeros_(g_a.trans_coding[-1].depth.adaptor.bias)
    _linear_decoder(model, basis, mean)
    _plain_prior(model.prior)
    _spread(model.prior.gain, config)


@torch.no_grad()
def spread_start(model: OneDC, x: Tensor, vae_latents: Tensor) -> None:
    """Set the last layer of h_a, in place, so that z of these crops [B,3,H,W] uses all its values alike.

    An h_a behind trained networks else begins far outside of the quantiser's range.
    """
    last: Any = model.h_a.fusion[-1]
    z = model.analyse_unquantised(x, vae_latents)[1].transpose(0, 1).flatten(1).double()
    values, vectors = torch.linalg.eigh(z.cov())
    whitening = SPREAD * (vectors / (values + 1e-6 * values.max()).sqrt()).T
    weight, bias = last.weight.double(), last.bias.double()
    last.weight.copy_(torch.einsum("ij,jchw->ichw", whitening, weight))
    last.bias.copy_(whitening @ (bias - z.mean(dim=1)) + CENTRE)


def linear_path(config: ModelConfig) -> tuple[str, ...]:
    """What the names of the layers begin with that the linear code runs through."""
    middle = f"g_s.blocks.{config.synthesis_blocks[0]}."
    ends = ("g_s.trans_coding.0.depth.adaptor.", "g_s.conv_out.depth.adaptor.")
    return ("g_a.skip.", *ends, middle, "generator.vae_reduction.skip.")


def _silence(module: nn.Module) -> None:
    """Zero the last layer of a residual branch."""
    if isinstance(module, DepthConv | ResnetBlock | TimeResnet):
        last: nn.Module = module.conv2
    elif isinstance(module, ConvFFN):
        last = module.conv_out
    elif isinstance(module, AttentionBlock | Transformer2d):
        last = module.proj_out
    else:
        return
    for parameter in last.parameters():
        nn.init.zeros_(parameter)


def _linear_decoder(model: Any, basis: Tensor, mean: Tensor) -> None:
    """Make g_s and the generator's skip the inverse of the basis, in the first channels of each layer."""
    config = model.config
    n, c = basis.shape[:2]
    _identity(model.g_s.trans_coding[0].depth.adaptor, n)
    up = model.g_s.blocks[config.synthesis_blocks[0]]
    if config.reduced:
        up.weight[:, :c] = 0
        up.weight[:n, :c, 1:3, 1:3] = basis  # the taps of an input's own four outputs
        up.bias[:c] = mean
    else:
        up.expand.weight[: 4 * c] = 0  # rows in pixel-shuffle order: channel, row, column
        up.expand.weight[: 4 * c, :n] = basis.permute(1, 2, 3, 0).reshape(4 * c, n, 1, 1)
        up.expand.bias[: 4 * c] = mean.repeat_interleave(4)
        _identity(up.conv, c)
    _identity(model.g_s.conv_out.depth.adaptor, c)
    skip = model.generator.vae_reduction.skip
    _identity(skip, c, gain=config.alpha_bar**0.5)
    for layer in (model.generator.vae_reduction.conv2, model.generator.unet.conv_out):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def _plain_prior(prior: Any) -> None:
    """Every latent starts with scale 1 and mean 0, whatever came before it."""
    n = prior.y_channels
    nn.init.zeros_(prior.reduction.weight)
    nn.init.zeros_(prior.reduction.bias)
    for module in prior.modules():
        _silence(module)
    for block in [prior.fusion[-1], *prior.adaptors]:
        _cancel(block.ffn, n)
        block.ffn.conv_out.bias[:n] = 1.0


def _cancel(ffn: Any, count: int) -> None:
    """The first `count` channels come out as zero: the branch becomes minus the skip."""
    ones = range(count)
    half = ffn.conv.out_channels // 2
    for start in (0, count, half, half + count):
        ffn.conv.weight[start : start + count] = 0
        ffn.conv.bias[start : start + count] = 0
    ffn.conv.weight[ones, ones] = 1
    ffn.conv.weight[range(count, 2 * count), ones] = -1
    slope = 1 / (1 + ffn.activation1.negative_slope)  # leaky(x) - leaky(-x) = (1 + slope) x
    ffn.conv_out.weight[ones, ones] = -slope
    ffn.conv_out.weight[ones, range(count, 2 * count)] = slope


def _identity(layer: Any, count: int, gain: float = 1.0) -> None:
    """The first `count` outputs of a convolution become `gain` times its first inputs."""
    middle = layer.kernel_size[0] // 2
    layer.weight[:count] = 0
    layer.weight[range(count), range(count), middle, middle] = gain
    layer.bias[:count] = 0


def _spread(gain: QualityGain, config: ModelConfig) -> None:
    """Log-spaced gains over the knots, the same for all channels."""
    steps = torch.linspace(0, 1, config.quality_knots)[:, None]
    first, last = torch.tensor(GAIN_LOW).log(), torch.tensor(GAIN_HIGH).log()
    gain.knots.copy_((first + steps * (last - first)).expand_as(gain.knots))
