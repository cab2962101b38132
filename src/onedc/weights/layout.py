"""How a weights file is laid out: names, metadata, and the digest of its integers. Knows no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from onedc.config import ModelConfig
from onedc.entropy.tables import load_tables
from onedc.errors import ConfigError, WeightsError
from onedc.seam.units import FRACTION_BITS, GAIN_BITS, LIMIT, SLOPE_BITS

FORMAT = "onedc-weights-1"
SEAM = "seam."
"""Prefix of the seam's integer tensors."""
Z_PRIOR = "z_prior."
"""Prefix of the integers of a learned prior of z, where there is one."""
SCALE = ".int8_scale"
"""Suffix of the scales of a parameter in 8 bits: one for each output row."""
GRAPH = "graph."
"""Prefix of deflated ONNX graphs of the float networks, where there are some: bytes; see `engine.graphs`. All
other tensors are parameters of OneDC."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a weights file says about its model.

    Attributes:
        config: the configuration of the networks.
        model_id: what .1dc headers say; 0..255.
        seam_sha256: digest of the integers of the seam and of the prior of z.
    """

    config: ModelConfig
    model_id: int
    seam_sha256: bytes

    @classmethod
    def of(cls, metadata: Mapping[str, str], path: str | Path) -> Identity:
        """Read the metadata of a file. Raises WeightsError."""
        try:
            return cls(
                config=ModelConfig.from_json(metadata["config"]),
                model_id=int(metadata["model_id"]),
                seam_sha256=bytes.fromhex(metadata["seam_sha256"]),
            )
        except (KeyError, ValueError, ConfigError) as error:
            raise WeightsError(f"{path}: unusable metadata: {error}") from error


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """What goes wrong with a safetensors file inside the block becomes a WeightsError."""
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such weights file") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from error


@contextmanager
def opened(path: str | Path, framework: str) -> Iterator[Any]:
    """A safetensors file, open; what goes wrong with it inside the block becomes a WeightsError.

    Args:
        framework: what its tensors are read as: "pt" or "np".
    """
    with reading(path), safe_open(str(path), framework=framework) as file:
        yield file


def check_format(metadata: Mapping[str, str], path: str | Path) -> None:
    """Raise WeightsError for a file of another kind."""
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: not a onedc weights file (format {metadata.get('format')!r})")


def behind(prefix: str, tensors: Mapping[str, T]) -> dict[str, T]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def digested(tensors: Mapping[str, T]) -> dict[str, T]:
    """What the digest covers in a file: the seam by its names, the prior of z behind Z_PRIOR."""
    return behind(SEAM, tensors) | {name: t for name, t in tensors.items() if name.startswith(Z_PRIOR)}


def integers_sha256(integers: Mapping[str, NDArray[Any]]) -> bytes:
    """sha256 over the constants of the fixed-point arithmetic and every integer with its name."""
    constants = (FORMAT, FRACTION_BITS, SLOPE_BITS, GAIN_BITS, int(LIMIT))
    digest = hashlib.sha256(f"{constants}\n".encode())
    for name in sorted(integers):
        values = np.ascontiguousarray(integers[name]).reshape(integers[name].shape)
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little.dtype.str} {little.shape}\n".encode() + little.tobytes())
    return digest.digest()


def fingerprint(seam_sha256: bytes) -> bytes:
    """sha256 over all that a file's bits depend on: entropy tables, integer seam, learned prior of z."""
    return hashlib.sha256(bytes.fromhex(load_tables().sha256) + seam_sha256).digest()
