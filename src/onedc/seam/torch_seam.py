"""The seam in torch: h_s and the prior in fixed point, and their conversion from trained floats.

All that the two sides of the entropy coder must agree on is computed here, in integers. Knows no bytes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onedc.errors import WeightsError
from onedc.model.blocks import ConvFFN
from onedc.model.hyperprior import FSQ, HyperSynthesis, SpatialPrior
from onedc.seam.fixed_point import FIXED, SlicedRows
from onedc.seam.protocol import Code, Hyper
from onedc.seam.units import TABLES, UNITS

NEUTRAL = (nn.PixelShuffle, nn.Identity, nn.Sequential, nn.ModuleList)
"""Leaves that work on integers as they are, and empty containers."""

TensorCode = Callable[[int, Tensor, Tensor], Tensor]
"""(part, table_idx, mean) -> symbols; all [B,N/4,H/16,W/16]."""


class FixedSeam(nn.Module):
    """h_s and the prior in fixed point: everything that both sides of the coder must agree on, bit by bit.

    Args:
        h_s, prior: the float networks; only their structure counts, so they may be on the meta device.
        integers: what `seam_integers` made of trained ones.
    Raises:
        WeightsError: integers missing, left over, or outside the exact range.
    """

    thresholds: Tensor

    def __init__(self, h_s: HyperSynthesis, prior: SpatialPrior, integers: Mapping[str, Tensor]) -> None:
        super().__init__()
        left = dict(integers)
        thresholds = _take(left, "thresholds", (TABLES - 1,))
        self.register_buffer("thresholds", thresholds.double(), persistent=False)
        self.h_s: HyperSynthesis = _fixed("h_s", h_s, left)
        self.prior: SpatialPrior = _fixed("prior", prior, left)
        if left:
            raise WeightsError(f"seam: unexpected tensor {min(left)!r}")

    @torch.inference_mode()
    def hyper(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """z_hat [B,7,h,w] -> hyper features (integers [B,Hc,4h,4w]) and z_semantic (float32 [B,Hs,h,w])."""
        with _plain(self.thresholds):
            hyper, z_semantic = self.h_s((z_hat.to(self.thresholds) * UNITS).round_())
        return hyper, (z_semantic / UNITS).float()

    def gained(self, y: Tensor, quality: Tensor) -> Tensor:
        """y [B,N,h,w] times the gain of each picture's quality, float64."""
        units = (y.to(self.thresholds) * UNITS).round_()
        return self.prior.gained(units, quality.to(units.device)) / UNITS

    @torch.inference_mode()
    def scan(self, hyper: Tensor, quality: Tensor, code: TensorCode) -> Tensor:
        """The four-step walk. `code(part, table_idx, mean)` writes or reads the symbols of one part.

        Args:
            hyper: from `hyper`.
            quality: int64 [B] quality bytes.
            code: called for parts 0 to 3 with table_idx (uint8) and mean (float64, gained units), both
                [B,N/4,H/16,W/16]; returns the symbols in the same shape.
        Returns:
            y_hat, float32 [B,N,H/16,W/16].
        """

        def visit(part: int, scale: Tensor, mean: Tensor) -> Tensor:
            table_idx = torch.bucketize(scale, self.thresholds, right=True).to(torch.uint8)
            return code(part, table_idx, mean / UNITS).to(mean) * UNITS + mean

        with _plain(self.thresholds):
            y_hat = self.prior.scan(hyper, quality.to(hyper.device), visit)
        return (y_hat / UNITS).float()


def seam_integers(
    h_s: HyperSynthesis, prior: SpatialPrior, scale_table: Sequence[float]
) -> dict[str, Tensor]:
    """All integers of the seam of a trained model, by name; what a weights file stores.

    Raises:
        WeightsError: a layer that has no fixed-point form.
    """
    integers = {"thresholds": scale_thresholds(scale_table)}
    for root, module in (("h_s", h_s), ("prior", prior)):
        for name, leaf in _leaves(root, module):
            for key, value in FIXED[type(leaf)].from_float(leaf).items():
                integers[f"{name}.{key}"] = value
    return integers


def seam_floats(
    h_s: HyperSynthesis, prior: SpatialPrior, integers: Mapping[str, Tensor], knots: int
) -> dict[str, Tensor]:
    """Parameters of h_s and prior, by full name, from what `seam_integers` made of them; equal to rounding.

    Args:
        h_s, prior: only their structure counts.
        knots: trained points of the continuous quality.
    """
    floats: dict[str, Tensor] = {}
    for root, module in (("h_s", h_s), ("prior", prior)):
        for name, leaf in _leaves(root, module):
            twin = FIXED[type(leaf)]
            own = {key: integers[f"{name}.{key}"] for key in twin.shapes(leaf)}
            floats |= {f"{name}.{key}": value for key, value in twin.to_float(own, knots).items()}
    return floats


def scale_thresholds(scale_table: Sequence[float]) -> Tensor:
    """int64 [255]: the smallest scale, in activation units, that reaches table index 1, 2, ... 255.

    The index of a scale s is trunc(ln(s / first) / step) with step = ln(last / first) / 255.
    """
    first, last = float(scale_table[0]), float(scale_table[-1])
    step = math.log(last / first) / (len(scale_table) - 1)
    exact = [first * math.exp(step * i) * UNITS for i in range(1, len(scale_table))]
    return torch.tensor([math.ceil(value) for value in exact], dtype=torch.int64)


def _leaves(root: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Full name and module of every leaf that has a fixed-point twin.

    Raises:
        WeightsError: a leaf that has none.
    """
    for name, leaf in module.named_modules(prefix=root):
        if type(leaf) in FIXED:
            yield name, leaf
        elif not isinstance(leaf, NEUTRAL) and not any(True for _ in leaf.children()):
            raise WeightsError(f"seam: {name} ({type(leaf).__name__}) has no fixed-point form")


def _fixed(root: str, module: nn.Module, integers: dict[str, Tensor]) -> Any:
    """A copy of `module` with its leaves replaced; takes what it uses out of `integers`."""
    holder = nn.Module()
    holder.add_module(root, copy.deepcopy(module))
    for name, leaf in list(_leaves(root, holder.get_submodule(root))):
        twin = FIXED[type(leaf)]
        holder.set_submodule(
            name, twin(**{k: _take(integers, f"{name}.{k}", shape) for k, shape in twin.shapes(leaf).items()})
        )
    for name, block in list(holder.named_modules()):
        if isinstance(block, ConvFFN):
            holder.set_submodule(name, SlicedRows(block, len(block.conv.weight)))
    return holder.get_submodule(root)


def _take(integers: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """Remove and return one tensor, checked."""
    value = integers.pop(name, None)
    if value is None:
        raise WeightsError(f"seam: tensor {name!r} is missing")
    if tuple(value.shape) != shape or value.is_floating_point():
        found = f"{value.dtype} {tuple(value.shape)}"
        raise WeightsError(f"seam: tensor {name!r} is {found}, expected integers {shape}")
    return value


def _plain(like: Tensor) -> torch.autocast:
    """Autocast off: the seam's arithmetic is not to be touched."""
    return torch.autocast(like.device.type, enabled=False)


class TorchSeam:
    """`FixedSeam` behind `protocol.Seam`.

    Args:
        module: on its device.
    """

    def __init__(self, module: FixedSeam) -> None:
        self.module = module

    def hyper(self, z_idx: NDArray[np.int64]) -> Hyper:
        """See `protocol.Seam`."""
        features, z_semantic = self.module.hyper(FSQ.from_indices(torch.from_numpy(z_idx)))
        return Hyper(features.cpu().numpy(), z_semantic.cpu().numpy())

    @torch.inference_mode()
    def gained(self, y: NDArray[np.float32], quality: int) -> NDArray[np.float64]:
        """See `protocol.Seam`."""
        gained: NDArray[np.float64] = (
            self.module.gained(torch.from_numpy(y), torch.full((len(y),), quality)).cpu().numpy()
        )
        return gained

    def scan(
        self, features: NDArray[np.float64], qualities: NDArray[np.int64], code: Code
    ) -> NDArray[np.float32]:
        """See `protocol.Seam`."""

        def visit(part: int, table_idx: Tensor, mean: Tensor) -> Tensor:
            return torch.from_numpy(code(part, table_idx.cpu().numpy(), mean.cpu().numpy()))

        device = self.module.thresholds.device
        y_hat = self.module.scan(torch.from_numpy(features).to(device), torch.from_numpy(qualities), visit)
        found: NDArray[np.float32] = y_hat.cpu().numpy()
        return found
