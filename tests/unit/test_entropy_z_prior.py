"""The uniform code of z: 14 bits a position, exact, refused outside the codebook."""

from __future__ import annotations

import numpy as np
import pytest

from onedc.entropy.coder import SymbolDecoder, SymbolEncoder
from onedc.entropy.z_prior import CODEBOOK_SIZE, UniformZPrior, ZPrior

PRIOR: ZPrior = UniformZPrior()


def encode(z_idx: np.ndarray) -> bytes:
    encoder = SymbolEncoder()
    PRIOR.encode(encoder, z_idx)
    return encoder.finish()


@pytest.mark.parametrize("shape", [(1, 1), (1, 62), (12, 12), (8, 12)])
def test_round_trip_at_14_bits(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        z_idx = rng.integers(0, CODEBOOK_SIZE, shape)
        data = encode(z_idx)
        assert len(data) <= -(-14 * z_idx.size // 8) + 1
        decoder = SymbolDecoder(data)
        assert np.array_equal(PRIOR.decode(decoder, *shape), z_idx)
        decoder.finish()


def test_a_z_only_picture_of_768x768_takes_253_bytes_at_most() -> None:
    rng = np.random.default_rng(2)
    assert max(len(encode(rng.integers(0, CODEBOOK_SIZE, (12, 12)))) for _ in range(200)) <= 253


def test_the_stated_minimum_is_sound() -> None:
    """All of one index, at either end of the interval, is no cheaper."""
    for value in (0, CODEBOOK_SIZE - 1):
        data = encode(np.full((40, 40), value))
        assert len(data) >= -(-1600 * PRIOR.least_position_bits // 8) - 1


def test_indices_outside_the_codebook_are_refused() -> None:
    for value in (-1, CODEBOOK_SIZE):
        with pytest.raises(ValueError, match="outside"):
            encode(np.full((1, 1), value))
