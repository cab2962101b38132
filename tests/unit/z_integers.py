"""Random integers of a learned prior of z, for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onedc.entropy.z_prior import LearnedZPrior

Integers = dict[str, NDArray[np.integer]]


def z_integers(seed: int, hidden: int = 8) -> Integers:
    """A prior of `hidden` units that depends on the seed alone; its levels are far from equally likely."""
    rng = np.random.default_rng(seed)
    integers: Integers = {
        name: rng.integers(-3000, 3000, shape).astype(np.int16)
        for name, shape in LearnedZPrior.shapes(hidden).items()
    }
    integers["out_bias"] = rng.integers(-(2**24), 2**24, integers["out_bias"].shape).astype(np.int32)
    return integers
