"""The seam in numpy: the same integers as `torch_seam`, without torch.

Which layers there are is read off the names of the integers. Maps are [B,C,h,w] integers in float64, whose
products with weights in units of 2**-shift are exact, so that no sum depends on its order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onedc.config import PARTS
from onedc.entropy.z_prior import levels_of
from onedc.errors import WeightsError
from onedc.seam.parts import collapse, expand
from onedc.seam.protocol import Code, Hyper
from onedc.seam.units import EXACT, GAIN_BITS, LIMIT, SLOPE_BITS, TABLES, UNITS

SLICE_ELEMENTS = 2**20
"""Values of the widest map within a block: more positions run in slices."""
HALO = 1
"""Rows above and below that a block sees: it has one 3x3 kernel."""

Map: TypeAlias = NDArray[np.float64]
Layer: TypeAlias = Callable[[Map], Map]


class Integers:
    """The integers of a seam by name, taken out one by one so that none is left over.

    Raises:
        WeightsError: from `take`, integers missing or of another type; from `finish`, some left over.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._left = dict(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> NDArray[Any]:
        """Remove and return one array."""
        if name not in self._left:
            raise WeightsError(f"seam: tensor {name!r} is missing")
        array = self._left.pop(name)
        if not np.issubdtype(array.dtype, np.integer):
            raise WeightsError(f"seam: tensor {name!r} is {array.dtype}, expected integers")
        return array

    def finish(self) -> None:
        """Check that nothing is left."""
        if self._left:
            raise WeightsError(f"seam: unexpected tensor {min(self._left)!r}")


class NumpySeam:
    """See `protocol.Seam`. Threads may share one.

    Args:
        arrays: the integers of a weights file, by name.

    Raises:
        WeightsError: integers missing, left over, of shapes that do not fit, or outside the exact range.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        integers = Integers(arrays)
        self._thresholds = integers.take("thresholds").astype(np.float64)
        if self._thresholds.shape != (TABLES - 1,):
            raise WeightsError(f"seam: {self._thresholds.size} thresholds, expected {TABLES - 1}")
        self._feat_in = _sequence(integers, "h_s.feat_in")
        self._to_entropy = _sequence(integers, "h_s.to_entropy")
        self._fusion = _sequence(integers, "prior.fusion")
        self._reduction = _convolution(integers, "prior.reduction")
        self._adaptors = [_block(integers, f"prior.adaptors.{part}") for part in range(PARTS - 1)]
        self._trunk = _sequence(integers, "prior.trunk")
        self._hyper_bias = _table(integers, "prior.hyper_bias.bias", EXACT)
        self._context_bias = _table(integers, "prior.context_bias.bias", EXACT)
        self._gain = _table(integers, "prior.gain.gain", EXACT / LIMIT - 1)
        self._inverse_gain = _table(integers, "prior.gain.inverse", EXACT / LIMIT - 1)
        integers.finish()

    def hyper(self, z_idx: NDArray[np.int64]) -> Hyper:
        """See `protocol.Seam`."""
        levels = np.moveaxis(levels_of(z_idx), -1, 1)
        z_semantic = self._feat_in((levels - 2).astype(np.float64) * (UNITS / 2))
        return Hyper(self._to_entropy(z_semantic), (z_semantic / UNITS).astype(np.float32))

    def gained(self, y: NDArray[np.float32], quality: int) -> NDArray[np.float64]:
        """See `protocol.Seam`."""
        units: Map = np.rint(y.astype(np.float64, order="C") * UNITS)
        return _scaled(units, self._gain, np.full(len(y), quality)) / UNITS

    def scan(
        self, features: NDArray[np.float64], qualities: NDArray[np.int64], code: Code
    ) -> NDArray[np.float32]:
        """See `protocol.Seam`."""
        params = self._fusion(_shifted(features, self._hyper_bias, qualities))
        context = _shifted(self._reduction(params), self._context_bias, qualities)
        y_hat = np.zeros_like(context)
        channels = context.shape[1]
        for part in range(PARTS):
            if part:
                del params  # as large as all else
                params = self._trunk(self._adaptors[part - 1](np.concatenate([y_hat, context], axis=1)))
            scale, mean = (
                collapse(_scaled(half, self._gain, qualities), part)
                for half in (params[:, :channels], params[:, channels:])
            )
            table_idx = np.searchsorted(self._thresholds, scale, side="right").astype(np.uint8)
            decoded = code(part, table_idx, mean / UNITS) * UNITS + mean
            y_hat += _scaled(expand(decoded, part), self._inverse_gain, qualities)
        return (y_hat / UNITS).astype(np.float32)


class _Convolution:
    """clamp(floor((conv(clamp(x), weight) + bias + 2**(shift - 1)) / 2**shift)), "same" zero padding."""

    def __init__(self, weight: NDArray[Any], bias: NDArray[Any], shift: int, name: str) -> None:
        if not 1 <= shift <= 40 or weight.ndim != 4 or weight.shape[2:] not in ((1, 1), (3, 3)):
            raise WeightsError(f"seam: {name}: a convolution with shift {shift} and weight {weight.shape}")
        offset = bias.astype(np.float64) + 2.0 ** (shift - 1)
        worst = LIMIT * np.abs(weight.astype(np.float64)).sum(axis=(1, 2, 3)) + np.abs(offset)
        if bias.shape != weight.shape[:1] or not (worst < EXACT).all():
            raise WeightsError(f"seam: {name}: a convolution whose sums can leave the exact range")
        step = 2.0**-shift
        self.weight = np.ascontiguousarray(np.moveaxis(weight * step, (2, 3), (0, 1)))  # [k,k,out,in]
        self.offset = (offset * step)[:, None, None]
        self.depthwise = weight.shape[1:] == (1, 3, 3)

    def __call__(self, x: Map) -> Map:
        x = np.clip(x, -LIMIT, LIMIT)
        sums = _pointwise(self.weight[0, 0], x) if len(self.weight) == 1 else self._of_nine(x)
        sums += self.offset
        return np.clip(np.floor(sums, out=sums), -LIMIT, LIMIT, out=sums)

    def _of_nine(self, x: Map) -> Map:
        """Sums over the nine taps of a 3x3 kernel."""
        batch, _, height, width = x.shape
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        sums = np.zeros((batch, self.weight.shape[2], height, width))
        for row, column in np.ndindex(3, 3):
            window = padded[..., row : row + height, column : column + width]
            weight = self.weight[row, column]
            sums += weight[:, :, None] * window if self.depthwise else _pointwise(weight, window)
        return sums


class _LeakyReLU:
    """max(x, floor((clamp(x) * slope + 2**15) / 2**16))."""

    def __init__(self, slope: int, name: str) -> None:
        if not 0 <= slope <= 2 ** (SLOPE_BITS - 1):
            raise WeightsError(f"seam: {name}: a LeakyReLU with slope {slope}/65536")
        self.slope = slope * 2.0**-SLOPE_BITS

    def __call__(self, x: Map) -> Map:
        x = np.clip(x, -LIMIT, LIMIT)
        negative = x * self.slope
        negative += 0.5
        return np.maximum(x, np.floor(negative, out=negative), out=negative)


def _table(integers: Integers, name: str, limit: float) -> Map | None:
    """A table [256,C] over the quality byte; None in a model of a single rate."""
    if name not in integers:
        return None
    table: Map = integers.take(name).astype(np.float64)
    if not np.abs(table).max() < limit:
        raise WeightsError(f"seam: {name} is beyond the exact range")
    return table


def _convolution(integers: Integers, name: str) -> _Convolution:
    weight, bias = integers.take(f"{name}.weight"), integers.take(f"{name}.bias")
    return _Convolution(weight, bias, int(integers.take(f"{name}.shift")), name)


def _leaky_relu(integers: Integers, name: str) -> _LeakyReLU:
    return _LeakyReLU(int(integers.take(f"{name}.slope")), name)


def _sequence(integers: Integers, name: str) -> Layer:
    """The layers name.0, name.1, ... one after the other; none is the identity."""
    layers: list[Layer] = []
    while (layer := _found(integers, f"{name}.{len(layers)}")) is not None:
        layers.append(layer)
    return _chain(layers)


def _chain(layers: list[Layer]) -> Layer:
    def run(x: Map) -> Map:
        for layer in layers:
            x = layer(x)
        return x

    return run


def _found(integers: Integers, name: str) -> Layer | None:
    """The layer of a name, of the kind that its integers are of; None where there are none."""
    kinds: dict[str, Callable[[Integers, str], Layer]] = {
        "weight": _convolution,
        "slope": _leaky_relu,
        "depth.conv1.weight": _block,
        "subpel_conv.weight": _upsampling,
    }
    for key, kind in kinds.items():
        if f"{name}.{key}" in integers:
            return kind(integers, name)
    return None


def _block(integers: Integers, name: str) -> Layer:
    """`blocks.DepthConvBlock`."""
    depth, ffn = f"{name}.depth", f"{name}.ffn"
    wide = _chain([_convolution(integers, f"{depth}.conv1"), _leaky_relu(integers, f"{depth}.activation")])
    main = _chain([_convolution(integers, f"{depth}.{key}") for key in ("depth_conv", "conv2")])
    skip = _found(integers, f"{depth}.adaptor")
    expand_to, narrow = (_convolution(integers, f"{ffn}.{key}") for key in ("conv", "conv_out"))
    first, second = (_leaky_relu(integers, f"{ffn}.activation{index}") for index in (1, 2))

    def feed_forward(x: Map) -> Map:
        hidden = expand_to(x)
        half = hidden.shape[1] // 2
        mixed = first(hidden[:, :half])
        mixed += second(hidden[:, half:])
        return x + narrow(mixed)

    def run(x: Map) -> Map:
        y = main(wide(x))
        y += x if skip is None else skip(x)
        return feed_forward(y)

    def in_slices(x: Map) -> Map:
        return _in_slices(run, x, expand_to.weight.shape[2], narrow.weight.shape[2])

    return in_slices


def _upsampling(integers: Integers, name: str) -> Layer:
    """`blocks.ResidualBlockUpsample`."""
    subpel, upsample, conv = (
        _convolution(integers, f"{name}.{key}") for key in ("subpel_conv", "upsample", "conv")
    )
    first, second = (_leaky_relu(integers, f"{name}.activation{index}") for index in (1, 2))

    def run(x: Map) -> Map:
        y = second(conv(first(_shuffled(subpel(x)))))
        y += _shuffled(upsample(x))
        return y

    return run


def _pointwise(weight: Map, x: Map) -> Map:
    """[out,in] times [B,in,h,w] -> [B,out,h,w]."""
    batch, _, height, width = x.shape
    return (weight @ x.reshape(batch, -1, height * width)).reshape(batch, -1, height, width)


def _in_slices(layer: Layer, x: Map, channels: int, out_channels: int) -> Map:
    """Layers that see one row above and below, `channels` wide inside, on a few rows at a time.

    Integers do not depend on how rows are cut, and the edges of the map are edges of a slice.
    """
    batch, _, height, width = x.shape
    rows = max(HALO, SLICE_ELEMENTS // (channels * batch * width))
    if rows >= height:
        return layer(x)
    out = np.empty((batch, out_channels, height, width))
    for top in range(0, height, rows):
        first = max(top - HALO, 0)
        found = layer(x[:, :, first : top + rows + HALO])
        out[:, :, top : top + rows] = found[:, :, top - first :][:, :, :rows]
    return out


def _shuffled(x: Map) -> Map:
    """[B,4C,h,w] -> [B,C,2h,2w]: pixel shuffle."""
    batch, channels, height, width = x.shape
    cells = x.reshape(batch, channels // 4, 2, 2, height, width).transpose(0, 1, 4, 2, 5, 3)
    return cells.reshape(batch, channels // 4, 2 * height, 2 * width)


def _scaled(x: Map, table: Map | None, qualities: NDArray[Any]) -> Map:
    """clamp(floor((clamp(x) * gain + 2**15) / 2**16)) with the gains [C] of each picture's quality byte."""
    if table is None:
        return x
    scaled = np.clip(x, -LIMIT, LIMIT)
    scaled *= (table[qualities] * 2.0**-GAIN_BITS)[:, :, None, None]
    scaled += 0.5
    return np.clip(np.floor(scaled, out=scaled), -LIMIT, LIMIT, out=scaled)


def _shifted(x: Map, table: Map | None, qualities: NDArray[Any]) -> Map:
    """clamp(x + bias) with the biases [C] of each picture's quality byte."""
    return x if table is None else np.clip(x + table[qualities][:, :, None, None], -LIMIT, LIMIT)
