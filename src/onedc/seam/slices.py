"""What the seam runs in, and layers over slices of a map, which threads share out among themselves."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ContextDecorator
from functools import cache
from itertools import product
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from onedc.model.parts import zeros

SLICE_ELEMENTS = 2**20
"""Values of the widest map within a block, of all threads of a processor: more positions run in slices."""
HALO = 1
"""Rows above and below that a block sees: it has one 3x3 kernel."""
LEAST_ROWS = 4
"""Fewer are not shared out: the rows above and below are computed twice."""

Map: TypeAlias = Any
"""[B,C,h,w] float64, an array of the library that the seam runs in."""
Layer: TypeAlias = Callable[[Map], Map]


class Library(NamedTuple):
    """What the seam runs in: numpy, or torch on one device."""

    put: Callable[[NDArray[Any]], Any]  # an array of numpy to one of the library
    get: Callable[[Any], NDArray[Any]]  # and back
    slice_elements: int = SLICE_ELEMENTS
    threads: int = 1


NUMPY = Library(np.asarray, np.asarray)


def in_slices(layer: Layer, x: Map, *, library: Library, widest: int, channels: int, up: int = 1) -> Map:
    """A layer that sees HALO rows above and below, to `channels` channels, `up` times as large.

    A large map, or any where there are threads, is cut into rows of single pictures; integers and edges of
    the map stay the same. `widest`: channels of the widest map within the layer.
    """
    batch, _, height, width = x.shape
    share = max(LEAST_ROWS, -(-batch * height // library.threads))
    rows = max(HALO, min(library.slice_elements // library.threads // widest // width, share))
    if batch * height <= rows:
        return layer(x)
    out = zeros(x, batch, channels, up * height, up * width)

    def run(picture: int, top: int) -> None:
        first = max(top - HALO, 0)
        found = layer(x[picture : picture + 1, :, first : top + rows + HALO])
        out[picture, :, up * top : up * (top + rows)] = found[0, :, up * (top - first) :][:, : up * rows]

    over = map if library.threads == 1 else _pool(library.threads, os.getpid()).map
    list(over(run, *zip(*product(range(batch), range(0, height, rows)), strict=True)))
    return out


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Kept, since new threads would ask for their memory anew; a forked process has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"onedc-seam-{process}")


class _OneThreadAProduct(ContextDecorator):
    """While any thread is within, numpy multiplies matrices in the calling thread alone."""

    def __init__(self) -> None:
        self._lock, self._within = Lock(), 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._limit = threadpool_limits(1, "blas")
            self._within += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._limit.restore_original_limits()


one_thread_a_product = _OneThreadAProduct()
"""Its matrices are small, and its slices have the threads: two at one product are slower than one."""
