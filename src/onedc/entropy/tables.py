"""The frozen integer tables that y is coded with.

They are data, checked by hash and never rebuilt: a float that rounds otherwise would change the format.
Must not know the coder.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from onedc.errors import WeightsError

CDF_SHA256 = "681191522681e23feb2d9a5f05c3bd0c17d225e377aa7e681a6f73e6b35fbf3d"
SCALE_SHA256 = "1199c324eebf63b5d07e86322461618cc1c16d91324d267caac6391bdc471a6d"
FREQUENCY_TOTAL = 65536


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """256 tables, one for each standard deviation of the grid. Arrays are read-only.

    Table i has `length[i] - 1` bins: one for each symbol from `offset[i]` to `-offset[i]`, then the escape.
    """

    cdf: npt.NDArray[np.int32]  # [256, 103], 0 to 65536 in each row; entries behind `length` are 0
    length: npt.NDArray[np.int32]  # [256], entries of `cdf` in use
    offset: npt.NDArray[np.int32]  # [256], smallest symbol with a bin of its own
    scale: npt.NDArray[np.float64]  # [256], standard deviation in units of one quantisation step
    freq: tuple[npt.NDArray[np.int32], ...]  # of each table's bins; all positive, they add up to 65536
    sha256: str  # of `cdf`, little-endian int32 in C order; part of the seam's fingerprint


@cache
def load_tables() -> Tables:
    """The tables that come with the package.

    Raises:
        WeightsError: the installed file is not the one this format is defined by.
    """
    packed = files(__package__).joinpath("tables.npz").read_bytes()
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        cdf, scale = arrays["cdf"].astype("<i4"), arrays["scale"].astype("<f8")
    for array, expected in ((cdf, CDF_SHA256), (scale, SCALE_SHA256)):
        if hashlib.sha256(array.tobytes()).hexdigest() != expected:
            raise WeightsError("onedc/entropy/tables.npz is damaged: reinstall onedc")
    length = ((cdf == FREQUENCY_TOTAL).argmax(axis=1) + 1).astype(np.int32)
    offset = -((length - 3) // 2)
    cdf = cdf.astype(np.int32)
    for frozen in (cdf, length, offset, scale):
        frozen.setflags(write=False)
    freq = tuple(np.diff(row[:used]) for row, used in zip(cdf, length, strict=True))
    return Tables(cdf=cdf, length=length, offset=offset, scale=scale, freq=freq, sha256=CDF_SHA256)
