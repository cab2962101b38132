"""The integer seam: h_s and the prior in fixed point, in numpy or, by the same code, in torch on any device.

All that the two sides of the entropy coder must agree on, bit by bit, is computed here. Which layers there
are is read off the names of the integers. Maps are [B,C,h,w] integers in float64, activations in units of
2**-FRACTION_BITS; every sum stays below 2**53, so that none depends on its order. What a layer takes and what
it gives is clamped to +-LIMIT, so that a port may store activations, skips added, as int32. Knows no bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onedc.config import PARTS
from onedc.entropy.z_prior import levels_of
from onedc.errors import WeightsError
from onedc.model.parts import array_namespace, collapse, expand, zeros
from onedc.seam.slices import NUMPY, Layer, Library, Map, in_slices, one_thread_a_product
from onedc.seam.units import EXACT, GAIN_BITS, LIMIT, SLOPE_BITS, TABLES, UNITS

Code: TypeAlias = Callable[[int, NDArray[np.uint8], NDArray[np.float64]], NDArray[np.int32]]
"""(part, table_idx, mean) -> symbols; all [B,N/4,h/16,w/16]."""


class Hyper(NamedTuple):
    """What h_s makes of z."""

    features: NDArray[np.float64]  # integers, [B,C,h/16,w/16]
    z_semantic: NDArray[np.float32]  # [B,C,h/64,w/64]


class Integers:
    """The integers of a seam by name, taken out one by one so that none is left over."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], library: Library) -> None:
        self._left, self.library = dict(arrays), library

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> NDArray[Any]:
        """Remove and return one array. Raises WeightsError: it is missing, or of another type."""
        if name not in self._left:
            raise WeightsError(f"seam: tensor {name!r} is missing")
        array = self._left.pop(name)
        if not np.issubdtype(array.dtype, np.integer):
            raise WeightsError(f"seam: tensor {name!r} is {array.dtype}, expected integers")
        return array

    def finish(self) -> None:
        """Raise WeightsError if some are left over."""
        if self._left:
            raise WeightsError(f"seam: unexpected tensor {min(self._left)!r}")


class Seam:
    """h_s and the prior; B is the batch, h and w the padded sides in pixels. Threads may share one.

    Args:
        arrays: the integers of a weights file, by name.
        library: what they are computed in.

    Raises:
        WeightsError: integers missing, left over, of shapes that do not fit, or outside the exact range.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], library: Library = NUMPY) -> None:
        integers = Integers(arrays, library)
        self._put, self._get = library.put, library.get
        thresholds = integers.take("thresholds").astype(np.float64)
        if thresholds.shape != (TABLES - 1,):
            raise WeightsError(f"seam: {thresholds.size} thresholds, expected {TABLES - 1}")
        self._thresholds = library.put(thresholds)
        self._feat_in = _sequence(integers, "h_s.feat_in")
        self._to_entropy = _sequence(integers, "h_s.to_entropy")
        self._fusion = _sequence(integers, "prior.fusion")
        self._reduction = Convolution(integers, "prior.reduction")
        self._adaptors = [_block(integers, f"prior.adaptors.{part}") for part in range(PARTS - 1)]
        self._trunk = _sequence(integers, "prior.trunk")
        self._hyper_bias = _table(integers, "prior.hyper_bias.bias", EXACT)
        self._context_bias = _table(integers, "prior.context_bias.bias", EXACT)
        self._gain = _table(integers, "prior.gain.gain", EXACT / LIMIT - 1)
        self._inverse_gain = _table(integers, "prior.gain.inverse", EXACT / LIMIT - 1)
        integers.finish()

    @one_thread_a_product
    def hyper(self, z_idx: NDArray[np.int64]) -> Hyper:
        """What h_s makes of codebook indices [B,h/64,w/64]."""
        levels = np.moveaxis(levels_of(z_idx), -1, 1)
        z_semantic = self._feat_in(self._put((levels - 2).astype(np.float64) * (UNITS / 2)))
        features = self._get(self._to_entropy(z_semantic))
        return Hyper(features, self._get(z_semantic / UNITS).astype(np.float32))

    def gained(self, y: NDArray[np.float32], quality: int) -> NDArray[np.float64]:
        """y [B,N,h/16,w/16] times the gain of a quality byte."""
        units = self._put(np.rint(y.astype(np.float64, order="C") * UNITS))
        return self._get(scaled(units, self._gain, self._put(np.full(len(y), quality))) / UNITS)

    @one_thread_a_product
    def scan(
        self, features: NDArray[np.float64], qualities: NDArray[np.int64], code: Code
    ) -> NDArray[np.float32]:
        """The four-step walk over y.

        Args:
            features: from `hyper`.
            qualities: quality bytes [B].
            code: called for parts 0 to 3 with table indices and means in the gained domain; writes or reads
                the symbols of the part and returns them.

        Returns:
            y_hat [B,N,h/16,w/16].
        """
        rates = self._put(qualities)
        params = self._fusion(shifted(self._put(features), self._hyper_bias, rates))
        library, channels = array_namespace(params), len(self._reduction.offset)
        seen = zeros(params, len(params), 2 * channels, *params.shape[2:])
        seen[:, channels:] = shifted(self._reduction(params), self._context_bias, rates)
        y_hat = seen[:, :channels]
        for part in range(PARTS):
            if part:
                del params  # as large as all else
                params = self._trunk(self._adaptors[part - 1](seen))
            scale, mean = (
                collapse(scaled(half, self._gain, rates), part)
                for half in (params[:, :channels], params[:, channels:])
            )
            table_idx = self._get(library.searchsorted(self._thresholds, scale, side="right"))
            symbols = code(part, table_idx.astype(np.uint8), self._get(mean / UNITS))
            decoded = self._put(symbols.astype(np.float64)) * UNITS + mean
            y_hat += scaled(expand(decoded, part), self._inverse_gain, rates)
        return self._get(y_hat / UNITS).astype(np.float32)


class Convolution:
    """clamp(floor((sum(weight * clamp(x)) + bias + 2**(shift - 1)) / 2**shift)), zeros round x.

    Args:
        integers: "weight", [out,in,k,k] with k 1 or 3, or depthwise [channels,1,3,3]; "bias" [out]; "shift"
            1 to 40; each behind `name` and a dot.

    Raises:
        WeightsError: another shape or shift, or sums that could leave the exact range.
    """

    def __init__(self, integers: Integers, name: str) -> None:
        weight, bias = integers.take(f"{name}.weight"), integers.take(f"{name}.bias")
        shift = int(integers.take(f"{name}.shift"))
        if not 1 <= shift <= 40 or weight.ndim != 4 or weight.shape[2:] not in ((1, 1), (3, 3)):
            raise WeightsError(f"seam: {name}: a convolution with shift {shift} and weight {weight.shape}")
        taps = np.ascontiguousarray(np.moveaxis(weight.astype(np.float64), (2, 3), (0, 1)))
        offset = bias.astype(np.float64) + 2.0 ** (shift - 1)
        worst = LIMIT * np.abs(taps).sum(axis=(0, 1, 3)) + np.abs(offset)
        if bias.shape != weight.shape[:1] or not (worst < EXACT).all():
            raise WeightsError(f"seam: {name}: a convolution whose sums can leave the exact range")
        self.weight = integers.library.put(taps)  # [k,k,out,in]
        self.offset = integers.library.put(offset[:, None, None])
        self.step = 2.0**-shift
        self.depthwise = weight.shape[1:] == (1, 3, 3)

    def __call__(self, x: Map) -> Map:
        """[B,in,h,w] -> [B,out,h,w]."""
        sums, library = self.sums(x.clip(-LIMIT, LIMIT)), array_namespace(x)
        library.round(sums, out=sums)  # products of matrices that are a little off land on the exact sum
        sums += self.offset
        sums *= self.step
        library.floor(sums, out=sums)
        return library.clip(sums, -LIMIT, LIMIT, out=sums)

    def sums(self, x: Map) -> Map:
        """Weights times x, summed."""
        if len(self.weight) == 1:
            return _pointwise(self.weight[0, 0], x)
        batch, channels, height, width = x.shape
        padded = zeros(x, batch, channels, height + 2, width + 2)
        padded[..., 1:-1, 1:-1] = x
        sums = zeros(x, batch, self.weight.shape[2], height, width)
        for tap in range(9):
            row, column = divmod(tap, 3)
            window = padded[..., row : row + height, column : column + width]
            weight = self.weight[row, column]
            sums += weight[:, :, None] * window if self.depthwise else _pointwise(weight, window)
        return sums


class LeakyReLU:
    """max(x, floor((x * slope + 2**15) / 2**16)) of what a convolution gives, which is clamped.

    Raises:
        WeightsError: a slope that is not 0 to 2**15.
    """

    def __init__(self, integers: Integers, name: str) -> None:
        slope = int(integers.take(f"{name}.slope"))
        if not 0 <= slope <= 2 ** (SLOPE_BITS - 1):
            raise WeightsError(f"seam: {name}: a LeakyReLU with slope {slope}/65536")
        self.slope = slope * 2.0**-SLOPE_BITS

    def __call__(self, x: Map) -> Map:
        """Of any shape."""
        negative, library = x * self.slope, array_namespace(x)
        negative += 0.5
        library.floor(negative, out=negative)
        return library.maximum(x, negative, out=negative)


def _table(integers: Integers, name: str, limit: float) -> Map | None:
    """A table [256,C] over the quality byte; None in a model of a single rate."""
    if name not in integers:
        return None
    table = integers.take(name).astype(np.float64)
    if not np.abs(table).max() < limit:
        raise WeightsError(f"seam: {name} is beyond the exact range")
    return integers.library.put(table)


def _sequence(integers: Integers, name: str) -> Layer:
    """The layers name.0, name.1, ... one after the other; none is the identity."""
    layers: list[Layer] = []
    while (layer := _found(integers, f"{name}.{len(layers)}")) is not None:
        layers.append(layer)

    def run(x: Map) -> Map:
        for layer in layers:
            x = layer(x)
        return x

    return run


def _found(integers: Integers, name: str) -> Layer | None:
    """The layer of a name, of the kind that its integers are of; None where there are none."""
    kinds: dict[str, Callable[[Integers, str], Layer]] = {
        "weight": Convolution,
        "slope": LeakyReLU,
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
    conv1, depth_conv, conv2 = (
        Convolution(integers, f"{depth}.{key}") for key in ("conv1", "depth_conv", "conv2")
    )
    skip, activation = _found(integers, f"{depth}.adaptor"), LeakyReLU(integers, f"{depth}.activation")
    widen, narrow = (Convolution(integers, f"{ffn}.{key}") for key in ("conv", "conv_out"))
    first, second = (LeakyReLU(integers, f"{ffn}.activation{index}") for index in (1, 2))

    def run(x: Map) -> Map:
        y = conv2(depth_conv(activation(conv1(x))))
        y += x if skip is None else skip(x)
        hidden = widen(y)
        half = hidden.shape[1] // 2
        mixed = first(hidden[:, :half])
        mixed += second(hidden[:, half:])
        y += narrow(mixed)
        return y

    library, widest, channels = integers.library, len(widen.offset), len(narrow.offset)
    return partial(in_slices, run, library=library, widest=widest, channels=channels)


def _upsampling(integers: Integers, name: str) -> Layer:
    """`blocks.ResidualBlockUpsample`."""
    subpel, upsample, conv = (
        Convolution(integers, f"{name}.{key}") for key in ("subpel_conv", "upsample", "conv")
    )
    first, second = (LeakyReLU(integers, f"{name}.activation{index}") for index in (1, 2))

    def run(x: Map) -> Map:
        y = second(conv(first(_shuffled(subpel(x)))))
        y += _shuffled(upsample(x))
        return y

    library, widest, channels = integers.library, len(subpel.offset), len(conv.offset)
    return partial(in_slices, run, library=library, widest=widest, channels=channels, up=2)


def _pointwise(weight: Map, x: Map) -> Map:
    """[out,in] times [B,in,h,w] -> [B,out,h,w]."""
    batch, channels, height, width = x.shape
    return (weight @ x.reshape(batch, channels, height * width)).reshape(batch, -1, height, width)


def _shuffled(x: Map) -> Map:
    """[B,4C,h,w] -> [B,C,2h,2w]: pixel shuffle."""
    batch, channels, height, width = x.shape
    cells = x.reshape(batch, channels // 4, 2, 2, height, width)
    cells = array_namespace(x).moveaxis(cells, (4, 5), (2, 4))
    return cells.reshape(batch, channels // 4, 2 * height, 2 * width)


def scaled(x: Map, table: Map | None, qualities: Any) -> Map:
    """clamp(floor((clamp(x) * gain + 2**15) / 2**16)) with the gains [C] of each picture's quality byte."""
    if table is None:
        return x
    product, library = x.clip(-LIMIT, LIMIT), array_namespace(x)
    product *= (table[qualities] * 2.0**-GAIN_BITS)[:, :, None, None]
    product += 0.5
    library.floor(product, out=product)
    return library.clip(product, -LIMIT, LIMIT, out=product)


def shifted(x: Map, table: Map | None, qualities: Any) -> Map:
    """clamp(x + bias) with the biases [C] of each picture's quality byte."""
    return x if table is None else (x + table[qualities][:, :, None, None]).clip(-LIMIT, LIMIT)
