"""Sections 4.3 and 4.5 to 4.8 of the page: the tables, the weights file and its integer networks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from tests.conformance.from_the_page.payload import Integers, ReadPart
from tests.conformance.from_the_page.refusal import require

QUARTERS = (0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2)
"""Section 4.4: 2 * (row mod 2) + (column mod 2) where quarter g belongs to part k."""
LIMIT = 2**27
TABLES_SHA256 = "681191522681e23feb2d9a5f05c3bd0c17d225e377aa7e681a6f73e6b35fbf3d"
CONSTANTS = b"('onedc-weights-1', 14, 16, 16, 134217728)\n"
TYPES = {"I16": "<i2", "I32": "<i4", "I64": "<i8"}


def load_cdf(path: Path) -> Integers:
    """The cumulative frequencies [256,103] of the tables file.

    Raises:
        RefusedError: they are not those of the format.
    """
    with np.load(path) as arrays:
        cdf = arrays["cdf"]
    require(hashlib.sha256(cdf.astype("<i4").tobytes()).hexdigest() == TABLES_SHA256, "other tables")
    return cdf.astype(np.int64)


class Networks:
    """The integers of a weights file.

    Raises:
        RefusedError: they are not those that the file states, or their sums could leave 53 bits.
    """

    def __init__(self, path: Path) -> None:
        stored, metadata = _safetensors(path.read_bytes())
        digest = hashlib.sha256(CONSTANTS)
        for name, value in sorted(stored.items(), key=lambda item: item[0].encode()):
            digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode() + value.tobytes())
        require(digest.hexdigest() == metadata["seam_sha256"], "other integers than the weights file states")
        self.model_id = int(metadata["model_id"])
        self.fingerprint = hashlib.sha256(bytes.fromhex(TABLES_SHA256) + digest.digest()).digest()
        self._tensors = {name: value.astype(np.int64) for name, value in stored.items()}
        self.z_prior = {
            name.removeprefix("z_prior."): value
            for name, value in self._tensors.items()
            if name.startswith("z_prior.")
        }
        self._check_sums()

    def y_hat(self, levels: Integers, quality: int, read: ReadPart) -> Integers:
        """y_hat [N,4h,4w] in units of 2^-14 from levels [7,h,w]; section 4.7."""
        hyper = self._hyper((levels - 2) << 13)
        params = self._blocks("prior.fusion", self._bias("prior.hyper_bias", hyper, quality))
        context = self._bias("prior.context_bias", self._convolution("prior.reduction", params), quality)
        channels = len(params) // 2
        y_hat = np.zeros((channels, *params.shape[1:]), np.int64)
        for k in range(4):
            if k:
                params = self._block(f"prior.adaptors.{k - 1}", np.concatenate([y_hat, context]))
                params = self._blocks("prior.trunk", params)
            scale = self._gain("gain", params[:channels], quality)
            mean = self._gain("gain", params[channels:], quality)
            tables = np.searchsorted(self._tensors["thresholds"], _gather(scale, k), side="right")
            values = np.zeros_like(y_hat)
            _scatter(values, k, read(tables) * 2**14 + _gather(mean, k))
            y_hat = y_hat + self._gain("inverse", values, quality)
        return y_hat

    def _hyper(self, z_hat: Integers) -> Integers:
        """[hyper channels,4h,4w] from z_hat [7,h,w]."""
        x = self._leaky("h_s.feat_in.1", self._convolution("h_s.feat_in.0", z_hat))
        for i, layer in enumerate((self._block, self._up, self._block, self._up, self._block)):
            x = layer(f"h_s.to_entropy.{i}", x)
        return x

    def _blocks(self, name: str, x: Integers) -> Integers:
        i = 0
        while f"{name}.{i}.ffn.conv.weight" in self._tensors:
            x = self._block(f"{name}.{i}", x)
            i += 1
        return x

    def _block(self, name: str, x: Integers) -> Integers:
        depth, ffn = f"{name}.depth", f"{name}.ffn"
        inner = self._leaky(f"{depth}.activation", self._convolution(f"{depth}.conv1", x))
        inner = self._convolution(f"{depth}.conv2", self._convolution(f"{depth}.depth_conv", inner))
        if f"{depth}.adaptor.weight" in self._tensors:
            x = self._convolution(f"{depth}.adaptor", x)
        x = inner + x
        first, second = np.split(self._convolution(f"{ffn}.conv", x), 2)
        halves = self._leaky(f"{ffn}.activation1", first) + self._leaky(f"{ffn}.activation2", second)
        return x + self._convolution(f"{ffn}.conv_out", halves)

    def _up(self, name: str, x: Integers) -> Integers:
        inner = _shuffle(self._convolution(f"{name}.subpel_conv", x))
        inner = self._convolution(f"{name}.conv", self._leaky(f"{name}.activation1", inner))
        return self._leaky(f"{name}.activation2", inner) + _shuffle(self._convolution(f"{name}.upsample", x))

    def _convolution(self, name: str, x: Integers) -> Integers:
        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        shift = int(self._tensors[f"{name}.shift"])
        side, (rows, columns) = weight.shape[-1], x.shape[1:]
        x = np.pad(_clamp(x), ((0, 0), (side // 2,) * 2, (side // 2,) * 2))
        total = np.zeros((len(weight), rows, columns))  # exact: no sum reaches 2^53
        for i, j in np.ndindex(side, side):
            seen, taps = x[:, i : i + rows, j : j + columns], weight[:, :, i, j].astype(float)
            if side == 3 and weight.shape[1] == 1:
                total += taps[:, :, None] * seen
            else:
                total += np.tensordot(taps, seen.astype(float), 1)
        return _clamp((total.astype(np.int64) + bias[:, None, None] + (1 << shift - 1)) >> shift)

    def _leaky(self, name: str, x: Integers) -> Integers:
        x = _clamp(x)
        return np.maximum(x, (x * self._tensors[f"{name}.slope"] + 2**15) >> 16)

    def _gain(self, name: str, x: Integers, quality: int) -> Integers:
        gain = self._tensors.get(f"prior.gain.{name}")
        return x if gain is None else _clamp((_clamp(x) * gain[quality][:, None, None] + 2**15) >> 16)

    def _bias(self, name: str, x: Integers, quality: int) -> Integers:
        bias = self._tensors.get(f"{name}.bias")
        return x if bias is None else _clamp(x + bias[quality][:, None, None])

    def _check_sums(self) -> None:
        for key, shift in self._tensors.items():
            if key.endswith(".shift"):
                name = key.removesuffix(".shift")
                weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
                most = LIMIT * abs(weight).sum(axis=(1, 2, 3)) + abs(bias) + (1 << shift - 1)
                require(most.max() < 2**53, f"the sums of {name} could leave 53 bits")


def _safetensors(data: bytes) -> tuple[dict[str, Integers], dict[str, str]]:
    """The integer tensors by the names that the fingerprint gives them, and the metadata."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__")
    tensors = {}
    for key, entry in header.items():
        if key.startswith(("seam.", "z_prior.")):
            begin, end = (start + offset for offset in entry["data_offsets"])
            value = np.frombuffer(data[begin:end], TYPES[entry["dtype"]])
            tensors[key.removeprefix("seam.")] = value.reshape(entry["shape"])
    return tensors, metadata


def _clamp(x: Integers) -> Integers:
    return np.clip(x, -LIMIT, LIMIT)


def _shuffle(x: Integers) -> Integers:
    """Pixel shuffle: [4c,h,w] to [c,2h,2w]."""
    channels, rows, columns = x.shape
    split = x.reshape(channels // 4, 2, 2, rows, columns).transpose(0, 3, 1, 4, 2)
    return split.reshape(channels // 4, 2 * rows, 2 * columns)


def _places(shape: tuple[int, ...], k: int, g: int) -> tuple[slice, slice, slice]:
    """Where quarter g of y's channels belongs to part k."""
    quarter, place = shape[0] // 4, QUARTERS[k][g]
    return slice(g * quarter, (g + 1) * quarter), slice(place // 2, None, 2), slice(place % 2, None, 2)


def _gather(x: Integers, k: int) -> Integers:
    """Part k [N/4,4h,4w] of a map [N,4h,4w]."""
    part = np.zeros((len(x) // 4, *x.shape[1:]), np.int64)
    for g in range(4):
        channels, rows, columns = _places(x.shape, k, g)
        part[:, rows, columns] = x[channels, rows, columns]
    return part


def _scatter(x: Integers, k: int, part: Integers) -> None:
    """Write part k [N/4,4h,4w] into a map [N,4h,4w]."""
    for g in range(4):
        channels, rows, columns = _places(x.shape, k, g)
        x[channels, rows, columns] = part[:, rows, columns]
