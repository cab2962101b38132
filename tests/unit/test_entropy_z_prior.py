"""The codes of z: round trips, the learned prior against plain Python, refusals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tests.unit.z_integers import Integers, z_integers

from onedc.entropy import native, pure
from onedc.entropy.coder import SymbolDecoder, SymbolEncoder
from onedc.entropy.z_prior import CODEBOOK_SIZE, NEIGHBOURS, LearnedZPrior, UniformZPrior, ZPrior, frequencies
from onedc.errors import WeightsError

UNIFORM: ZPrior = UniformZPrior()
LEARNED: ZPrior = LearnedZPrior(z_integers(1))


def encode(z_idx: np.ndarray, prior: ZPrior = UNIFORM) -> bytes:
    encoder = SymbolEncoder()
    prior.encode(encoder, z_idx)
    return encoder.finish()


@pytest.mark.parametrize("shape", [(1, 1), (1, 62), (12, 12), (8, 12)])
def test_the_uniform_code_takes_14_bits(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert len(encode(rng.integers(0, CODEBOOK_SIZE, shape))) <= -(-14 * np.prod(shape) // 8) + 1


@pytest.mark.parametrize("prior", [UNIFORM, LEARNED])
@pytest.mark.parametrize("shape", [(1, 1), (1, 62), (62, 1), (2, 3), (8, 12), (13, 7)])
def test_round_trip(prior: ZPrior, shape: tuple[int, int]) -> None:
    z_idx = np.random.default_rng(1).integers(0, CODEBOOK_SIZE, shape)
    decoder = SymbolDecoder(encode(z_idx, prior))
    assert np.array_equal(prior.decode(decoder, *shape), z_idx)
    decoder.finish()


def test_a_z_only_picture_of_768x768_takes_253_bytes_at_most() -> None:
    rng = np.random.default_rng(2)
    assert max(len(encode(rng.integers(0, CODEBOOK_SIZE, (12, 12)))) for _ in range(200)) <= 253


def test_the_stated_minimum_of_the_uniform_code_is_sound() -> None:
    """All of one index, at either end of the interval, is no cheaper."""
    for value in (0, CODEBOOK_SIZE - 1):
        data = encode(np.full((40, 40), value))
        assert len(data) >= -(-1600 * UNIFORM.least_position_millibits // 8000) - 1


def test_the_stated_minimum_of_the_learned_prior_is_sound_and_near() -> None:
    """A prior that is sure of level 2 meets nothing else."""
    sure = {name: np.zeros_like(value) for name, value in z_integers(1).items()}
    sure["out_bias"][:, 2] = 2**31 - 1
    prior, z_idx = LearnedZPrior(sure), np.full((128, 128), sum(2 << 2 * dim for dim in range(7)))
    assert 0 <= 8 * len(encode(z_idx, prior)) - prior.least_position_millibits * z_idx.size / 1000 < 20


@pytest.mark.parametrize("prior", [UNIFORM, LEARNED])
def test_indices_outside_the_codebook_are_refused(prior: ZPrior) -> None:
    for value in (-1, CODEBOOK_SIZE):
        with pytest.raises(ValueError, match="outside"):
            encode(np.full((1, 1), value), prior)


def plain_waves(height: int, width: int) -> list[list[tuple[int, int]]]:
    """Positions in the order of the format, wave by wave."""
    positions = [(row, col) for row in range(height) for col in range(width)]
    waves = sorted({col + 2 * row for row, col in positions})
    return [[p for p in positions if p[1] + 2 * p[0] == wave] for wave in waves]


def plain_frequencies(logits: list[int]) -> list[int]:
    """Frequencies of the format, number by number."""
    weights = []
    for logit in logits:
        below = min(max(logits) - logit, 20 * 256)
        weights.append((512 - below % 256) * 4096 // 2 ** (below // 256))
    cum = [16 * i + (65536 - 64) * sum(weights[:i]) // sum(weights) for i in range(5)]
    return [cum[i + 1] - cum[i] for i in range(4)]


def plain_walk(z_idx: np.ndarray, integers: Integers) -> Iterator[tuple[int, list[int]]]:
    """Level and frequencies of every symbol, by the page of the format alone."""
    numbers = {name: value.tolist() for name, value in integers.items()}
    hidden_units = range(len(numbers["bias"]))
    height, width = z_idx.shape
    level = {(r, c): [int(z_idx[r, c]) >> 2 * d & 3 for d in range(7)] for r, c in np.ndindex(height, width)}
    none = [4] * 7
    for wave in plain_waves(height, width):
        for dim in range(7):
            for row, col in wave:
                hidden = list(numbers["bias"])
                for i, (down, across) in enumerate(NEIGHBOURS):
                    near = level.get((row + down, col + across), none)
                    for d in range(7):
                        hidden = [hidden[u] + numbers["near"][i][d][near[d]][u] for u in hidden_units]
                for d in range(dim):
                    own = numbers["own"][d][level[row, col][d]]
                    hidden = [hidden[u] + own[u] for u in hidden_units]
                logits = []
                for out, bias in zip(numbers["out"][dim], numbers["out_bias"][dim], strict=True):
                    total = bias + sum(out[u] * max(hidden[u], 0) for u in hidden_units)
                    logits.append((total + 32768) // 65536)
                yield level[row, col][dim], plain_frequencies(logits)


@pytest.mark.parametrize(("seed", "shape"), [(1, (5, 4)), (2, (1, 6)), (3, (6, 1))])
def test_the_learned_prior_is_that_of_the_format(seed: int, shape: tuple[int, int]) -> None:
    integers = z_integers(seed)
    z_idx = np.random.default_rng(seed).integers(0, CODEBOOK_SIZE, shape)
    plain = SymbolEncoder(pure)
    for value, freq in plain_walk(z_idx, integers):
        plain.encode_each(np.array([value]), np.array([freq]))
    for coder in (native, pure):
        encoder = SymbolEncoder(coder)
        LearnedZPrior(integers).encode(encoder, z_idx)
        assert encoder.finish() == plain.finish()


def test_frequencies_of_extreme_logits() -> None:
    rng = np.random.default_rng(4)
    logits = np.concatenate([rng.integers(-spread, spread, (300, 4)) for spread in (1, 300, 9000, 2**40)])
    freq = frequencies(logits)
    assert (freq.sum(axis=1) == 65536).all()
    assert freq.min() >= 16
    assert freq.tolist() == [plain_frequencies(row) for row in logits.tolist()]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("near", None, "are not those of a prior of z"),
        ("bias", np.zeros(0, np.int16), "0 hidden units"),
        ("own", np.zeros((6, 4, 3), np.int16), r"own is int16 \(6, 4, 3\)"),
        ("out", np.zeros((7, 4, 8), np.int64), "out is int64"),
        ("more", np.zeros(1, np.int16), "are not those of a prior of z"),
    ],
)
def test_integers_that_make_no_prior_are_refused(name: str, value: np.ndarray | None, message: str) -> None:
    integers = z_integers(1)
    integers.pop(name, None)
    if value is not None:
        integers[name] = value
    with pytest.raises(WeightsError, match=message):
        LearnedZPrior(integers)
