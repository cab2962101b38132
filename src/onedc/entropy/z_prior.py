"""How the codebook indices of z become digits of the payload.

A model whose weights hold integers for it has a learned prior, any other the uniform code. All arithmetic
is on integers; `docs/format.md` states it. Must not know the networks that make z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from onedc.config import FSQ_DIMS, FSQ_LEVELS
from onedc.entropy.coder import SymbolDecoder, SymbolEncoder
from onedc.entropy.tables import FREQUENCY_TOTAL
from onedc.errors import WeightsError

CODEBOOK_SIZE = FSQ_LEVELS**FSQ_DIMS
_SHIFTS = 2 * np.arange(FSQ_DIMS)

NEIGHBOURS = ((0, -2), (0, -1), (-1, -2), (-1, -1), (-1, 0), (-1, 1), (-2, 0))
"""Rows down and columns across to the positions that the learned prior sees."""
NONE = FSQ_LEVELS
"""What stands for the levels of a position outside the picture."""
UNIT_BITS = 12
"""The integers of the learned prior are in units of 2**-12, logits in units of 2**-8."""
LOGIT_BITS = 8
LEAST_FREQUENCY = 16
_WEIGHT_BITS = 12  # the largest weight is 2**(1 + LOGIT_BITS + _WEIGHT_BITS)
_MOST_HALVINGS = 20
_MARGIN = 2  # rows above and columns beside the picture that NEIGHBOURS reach
_MOST_HIDDEN = 1024

Integers = npt.NDArray[np.int64]
LevelCode = Callable[[Integers, Integers, int, Integers], npt.NDArray[Any]]
"""(rows [n], columns [n], dimension, frequencies [n, 4]) -> levels [n] of that dimension there."""


class UniformZPrior:
    """14 bits a position: row by row, seven digits of base 4, the least significant first."""

    least_position_millibits = 14000
    """No position costs less than this, in 1/1000 bits; the container refuses sizes beyond the payload."""

    def encode(self, encoder: SymbolEncoder, z_idx: npt.NDArray[np.integer]) -> None:
        """Append z_idx [H/64, W/64], integers from 0 to 16383.

        Raises:
            ValueError: an index outside the codebook.
        """
        encoder.encode_uniform(levels_of(z_idx).reshape(-1), FSQ_LEVELS)

    def decode(self, decoder: SymbolDecoder, height: int, width: int) -> Integers:
        """The next z_idx [height, width]; sizes in positions of 64x64 pixels.

        Raises:
            FormatError: damaged or short data.
        """
        digits = decoder.decode_uniform(height * width * FSQ_DIMS, FSQ_LEVELS)
        return _indices_of(digits.reshape(height, width, FSQ_DIMS))


class LearnedZPrior:
    """Each level by frequencies that a small network of integers gives it, from the levels coded before.

    Args:
        integers: the shapes are those of `shapes`, with any number of hidden units up to 1024; int16, the
            last int32.

    Raises:
        WeightsError: integers missing, left over, or of another type or shape.
    """

    least_position_millibits = 7
    """Seven symbols whose frequency is 65536 - 3 * LEAST_FREQUENCY; they take 0.0074 bits."""

    def __init__(self, integers: Mapping[str, npt.NDArray[np.integer]]) -> None:
        hidden = integers["bias"].size if "bias" in integers else 0
        expected = self.shapes(hidden)
        if set(integers) != set(expected) or not 0 < hidden <= _MOST_HIDDEN:
            raise WeightsError(
                f"z prior: tensors {sorted(integers)} of {hidden} hidden units are not those of a prior of z"
            )
        for name, shape in expected.items():
            dtype, found = ("int32" if name == "out_bias" else "int16"), integers[name]
            if found.shape != shape or found.dtype != dtype:
                raise WeightsError(
                    f"z prior: {name} is {found.dtype} {found.shape}, expected {dtype} {shape}"
                )
        wide = {name: value.astype(np.int64) for name, value in integers.items()}
        self._near, self._own, self._bias = wide["near"], wide["own"], wide["bias"]
        self._out, self._out_bias = wide["out"], wide["out_bias"]

    @staticmethod
    def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array of a prior of so many hidden units."""
        return {
            "near": (len(NEIGHBOURS), FSQ_DIMS, FSQ_LEVELS + 1, hidden),
            "own": (FSQ_DIMS - 1, FSQ_LEVELS, hidden),
            "bias": (hidden,),
            "out": (FSQ_DIMS, FSQ_LEVELS, hidden),
            "out_bias": (FSQ_DIMS, FSQ_LEVELS),
        }

    def encode(self, encoder: SymbolEncoder, z_idx: npt.NDArray[np.integer]) -> None:
        """See `UniformZPrior.encode`."""
        levels = levels_of(z_idx)

        def write(rows: Integers, cols: Integers, dim: int, freq: Integers) -> Integers:
            values: Integers = levels[rows, cols, dim]
            encoder.encode_each(values, freq)
            return values

        height, width = z_idx.shape
        self.walk(height, width, write)

    def decode(self, decoder: SymbolDecoder, height: int, width: int) -> Integers:
        """See `UniformZPrior.decode`."""
        return _indices_of(self.walk(height, width, lambda rows, cols, dim, freq: decoder.decode_each(freq)))

    def walk(self, height: int, width: int, code: LevelCode) -> Integers:
        """Visit all levels in coding order with their frequencies; `code` tells or reads what they are.

        Returns:
            all levels [height, width, 7].
        """
        padded = _padded(np.full((height, width, FSQ_DIMS), NONE))
        which, dims = np.arange(len(NEIGHBOURS))[:, None], np.arange(FSQ_DIMS)
        for rows, cols in _waves(height, width):
            near = _neighbours(padded, rows, cols)
            hidden = self._bias + self._near[which, dims, near].sum(axis=(1, 2))
            for dim in range(FSQ_DIMS):
                products = np.maximum(hidden, 0) @ self._out[dim].T + self._out_bias[dim]
                levels = code(rows, cols, dim, frequencies(_shifted(products)))
                padded[rows + _MARGIN, cols + _MARGIN, dim] = levels
                if dim < FSQ_DIMS - 1:
                    hidden += self._own[dim, levels]
        return padded[_MARGIN:, _MARGIN:-_MARGIN]


ZPrior: TypeAlias = UniformZPrior | LearnedZPrior
"""Codes z_idx [H/64, W/64], using nothing but what was coded before."""


def z_prior_of(integers: Mapping[str, npt.NDArray[np.integer]]) -> ZPrior:
    """The prior of a model whose weights hold these integers for it; none: the uniform code.

    Raises:
        WeightsError: integers that are no prior.
    """
    return LearnedZPrior(integers) if integers else UniformZPrior()


def levels_of(z_idx: npt.NDArray[np.integer]) -> Integers:
    """Levels [..., 7] from 0 to 3 of codebook indices [...].

    Raises:
        ValueError: an index outside the codebook.
    """
    if z_idx.size and not 0 <= int(z_idx.min()) <= int(z_idx.max()) < CODEBOOK_SIZE:
        raise ValueError(f"z_idx from {z_idx.min()} to {z_idx.max()} is outside 0..{CODEBOOK_SIZE - 1}")
    levels: Integers = z_idx.astype(np.int64)[..., None] >> _SHIFTS & (FSQ_LEVELS - 1)
    return levels


def near_levels(levels: Integers) -> Integers:
    """What the learned prior sees of its neighbours: levels [h, w, 7] -> [h * w, 7 neighbours, 7 dimensions].

    Levels are 0 to 3, 4 beyond the picture.
    """
    rows, cols = np.indices(levels.shape[:2]).reshape(2, -1)
    return _neighbours(_padded(levels), rows, cols)


def frequencies(logits: Integers) -> Integers:
    """Frequencies [n, k] that add up to 65536, none below 16, near 2**logits for logits [n, k] in 1/256.

    Between whole powers of two the exponential is a straight line.
    """
    below = np.minimum(logits.max(axis=1, keepdims=True) - logits, _MOST_HALVINGS << LOGIT_BITS)
    one = 1 << LOGIT_BITS
    weights = (2 * one - (below & one - 1) << _WEIGHT_BITS) >> (below >> LOGIT_BITS)
    share = FREQUENCY_TOTAL - LEAST_FREQUENCY * logits.shape[1]
    reached = np.cumsum(weights, axis=1)
    edges = share * reached // reached[:, -1:]
    freq: Integers = np.diff(edges, axis=1, prepend=0) + LEAST_FREQUENCY
    return freq


def _padded(levels: Integers) -> Integers:
    return np.pad(levels, ((_MARGIN, 0), (_MARGIN, _MARGIN), (0, 0)), constant_values=NONE)


def _neighbours(padded: Integers, rows: Integers, cols: Integers) -> Integers:
    """Levels [n, 7, 7] of the neighbours of n positions."""
    down, across = (_MARGIN + np.array(offsets) for offsets in zip(*NEIGHBOURS, strict=True))
    near: Integers = padded[rows[:, None] + down, cols[:, None] + across]
    return near


def _shifted(products: Integers) -> Integers:
    """Products of two factors in units of 2**-12, rounded to units of 2**-8."""
    shift = 2 * UNIT_BITS - LOGIT_BITS
    return products + (1 << shift - 1) >> shift


def _waves(height: int, width: int) -> Iterator[tuple[Integers, Integers]]:
    """Rows and columns of the positions with column + 2 * row = 0, 1, 2, ...

    None of NEIGHBOURS lies in the same wave or a later one.
    """
    for wave in range(width + 2 * (height - 1)):
        rows = np.arange(max(0, (wave - width + 2) // 2), min(height - 1, wave // 2) + 1)
        if rows.size:
            yield rows, wave - 2 * rows


def _indices_of(levels: npt.NDArray[np.integer]) -> Integers:
    """Codebook indices [...] of levels [..., 7]."""
    z_idx: Integers = (levels.astype(np.int64) << _SHIFTS).sum(axis=-1)
    return z_idx
