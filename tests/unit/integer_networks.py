"""What the seam must give, computed another way: the networks' own code with leaves of 64-bit integers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from onedc.entropy.z_prior import levels_of
from onedc.model.blocks import QualityBias, QualityGain
from onedc.model.onedc import OneDC
from onedc.seam.fixed_point import Code, Hyper
from onedc.seam.units import LIMIT, UNITS

MOST = int(LIMIT)


def shifted_right(x: Tensor, bits: int) -> Tensor:
    """floor(x / 2**bits + 1/2), clamped."""
    return ((x + 2 ** (bits - 1)) >> bits).clamp(-MOST, MOST)


class IntegerConv2d(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.weight, self.bias, self.shift = weight.long(), bias.long(), int(shift)

    def forward(self, x: Tensor) -> Tensor:
        groups = x.shape[1] // self.weight.shape[1]
        x = x.clamp(-MOST, MOST)
        sums = F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2, groups=groups)
        return shifted_right(sums, self.shift)


class IntegerLeakyReLU(nn.Module):
    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.slope = int(slope)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clamp(-MOST, MOST)
        return torch.maximum(x, shifted_right(x * self.slope, 16))


class IntegerGain(nn.Module):
    def __init__(self, gain: Tensor, inverse: Tensor) -> None:
        super().__init__()
        self.gain, self.opposite = gain.long(), inverse.long()

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        return shifted_right(x.clamp(-MOST, MOST) * self.gain[quality][:, :, None, None], 16)

    def inverse(self, x: Tensor, quality: Tensor) -> Tensor:
        return shifted_right(x.clamp(-MOST, MOST) * self.opposite[quality][:, :, None, None], 16)


class IntegerBias(nn.Module):
    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = bias.long()

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        return (x + self.bias[quality][:, :, None, None]).clamp(-MOST, MOST)


LEAVES: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: IntegerConv2d,
    nn.LeakyReLU: IntegerLeakyReLU,
    QualityGain: IntegerGain,
    QualityBias: IntegerBias,
}


class IntegerNetworks:
    """h_s and the prior of a model, which they change, with the methods of `Seam`."""

    def __init__(self, model: OneDC, integers: Mapping[str, Tensor]) -> None:
        self.h_s, self.prior, self.thresholds = model.h_s, model.prior, integers["thresholds"]
        for name, leaf in list(model.named_modules()):
            if name.startswith(("h_s.", "prior.")) and type(leaf) in LEAVES:
                own = {n.rpartition(".")[2]: v for n, v in integers.items() if n.rpartition(".")[0] == name}
                model.set_submodule(name, LEAVES[type(leaf)](**own))

    def hyper(self, z_idx: NDArray[np.int64]) -> Hyper:
        z_hat = (torch.from_numpy(levels_of(z_idx)).movedim(-1, 1) - 2) * int(UNITS / 2)
        features, z_semantic = self.h_s(z_hat)
        return Hyper(features.double().numpy(), (z_semantic.double() / UNITS).float().numpy())

    def gained(self, y: NDArray[np.float32], quality: int) -> NDArray[np.float64]:
        units = (torch.from_numpy(y).double() * UNITS).round().long()
        return self.prior.gained(units, torch.full((len(y),), quality)).double().numpy() / UNITS

    def scan(
        self, features: NDArray[np.float64], qualities: NDArray[np.int64], code: Code
    ) -> NDArray[np.float32]:
        def visit(part: int, scale: Tensor, mean: Tensor) -> Tensor:
            table_idx = torch.bucketize(scale, self.thresholds, right=True).to(torch.uint8)
            symbols = code(part, table_idx.numpy(), mean.double().numpy() / UNITS)
            return torch.from_numpy(symbols).long() * int(UNITS) + mean

        y_hat = self.prior.scan(torch.from_numpy(features).long(), torch.from_numpy(qualities), visit)
        return (y_hat.double() / UNITS).float().numpy()
