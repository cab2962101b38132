"""A budget of bytes is never exceeded and never left unused; on numbers and on the fixture model."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture

from onedc.codec import Codec
from onedc.container.packing import read_header
from onedc.errors import ConfigError
from onedc.loading import load
from onedc.target_size import GUESSES, TRIES, bytes_at, highest_within, refined_within

PICTURE = picture(90, 70)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=40),
    target=st.integers(0, 60),
    rising=st.booleans(),
)
def test_any_sizes(sizes: list[int], target: int, rising: bool) -> None:
    sizes = sorted(sizes) if rising else sizes
    tried = []

    def make_file(quality: int) -> bytes:
        tried.append(quality)
        return bytes(sizes[quality - 5])

    qualities = range(5, 5 + len(sizes))
    try:
        file = highest_within(make_file, qualities, target)
    except ConfigError:
        assert sizes[0] > target
        return
    assert len(file) <= target
    if rising:
        assert len(file) == max(size for size in sizes if size <= target)
    assert len(tried) == len(set(tried)) <= GUESSES + (len(sizes) - 1).bit_length()


@pytest.mark.parametrize("target", [29, 75, 157, 340, 1000, 4000])
@pytest.mark.parametrize("growth", [4, 6, 7])
def test_sizes_like_those_of_photos_take_few_tries(target: int, growth: float) -> None:
    sizes = [20] + [round(20 + 7 * math.exp(growth * place / 255)) for place in range(1, 256)]
    tried = []

    def make_file(quality: int) -> bytes:
        tried.append(quality)
        return bytes(sizes[quality])

    assert len(highest_within(make_file, range(256), target)) == max(n for n in sizes if n <= target)
    assert len(tried) <= 8


@pytest.mark.parametrize("target", [430, 608, 609, 1234])
def test_the_next_quality_would_not_fit(codec: Codec, target: int) -> None:
    data = codec.encode_to_size(PICTURE, target)
    chosen = read_header(data).quality
    assert data == codec.encode(PICTURE, quality=chosen / 2.55)
    assert len(data) <= target < len(codec.encode(PICTURE, quality=(chosen + 1) / 2.55))


def test_the_ends_of_the_range(codec: Codec) -> None:
    smallest = codec.encode(PICTURE, quality=0)
    assert codec.encode_to_size(PICTURE, 10**9) == codec.encode(PICTURE, quality=100)
    assert codec.encode_to_size(PICTURE, len(smallest), shrink=False) == smallest
    refusal = rf"{len(smallest) - 1} bytes.* has {len(smallest)}; shrunk to \d+x\d+ it would fit$"
    with pytest.raises(ConfigError, match=refusal):
        codec.encode_to_size(PICTURE, len(smallest) - 1, shrink=False)


def test_the_networks_run_once(codec: Codec) -> None:
    engine = codec.model.engine
    with (
        mock.patch.object(engine, "analyse", wraps=engine.analyse) as analyse,
        mock.patch.object(engine, "synthesise") as synthesise,
    ):
        codec.encode_to_size(PICTURE, 800)
    assert (analyse.call_count, synthesise.call_count) == (1, 0)


@pytest.mark.parametrize("target", [3000.0, float("nan"), "3000", None])
def test_targets_are_whole_numbers(codec: Codec, target: Any) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        codec.encode_to_size(PICTURE, target)


def test_bits_per_pixel_are_rounded_down() -> None:
    assert bytes_at(0.1, 768, 512) == 4915
    assert bytes_at(0.1, 3, 3) == 0


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    shares=st.lists(st.floats(0.5, 1.6), min_size=40, max_size=40),
    target=st.integers(1, 60),
)
def test_refining_never_exceeds_the_target(sizes: list[int], shares: list[float], target: int) -> None:
    sizes = sorted(sizes)
    refined = [bytes(int(size * share) + 1) for size, share in zip(sizes, shares, strict=False)]
    tried = []

    def refine(quality: int) -> bytes:
        tried.append(quality)
        return refined[quality]

    def search() -> bytes:
        return refined_within(lambda quality: bytes(sizes[quality]), refine, range(len(sizes)), target)

    if target < sizes[0]:
        with pytest.raises(ConfigError, match="cannot fit"):
            search()
        return
    found = search()
    assert len(found) <= target
    assert len(tried) == len(set(tried)) <= TRIES
    fitting = [quality for quality in tried if len(refined[quality]) <= target]
    if fitting:
        assert found is refined[max(fitting)]


@pytest.mark.parametrize("share", [0.7, 1.0, 1.3])
def test_refining_that_moves_all_sizes_alike_ends_near_the_target(share: float) -> None:
    def refine(quality: int) -> bytes:
        return bytes(int(share * 10 * quality))

    found = refined_within(lambda quality: bytes(10 * quality), refine, range(1, 256), 1000)
    assert 960 <= len(found) <= 1000


def test_a_target_that_cannot_fit_costs_no_networks(codec: Codec) -> None:
    engine, large = codec.model.engine, picture(640, 480)
    assert codec.model.z_prior.least_position_millibits == 14000  # 80 positions take 140 bytes
    with (
        mock.patch.object(engine, "analyse") as analyse,
        pytest.raises(ConfigError, match=r"at least 14\d; shrunk to \d+x\d+ it would fit$"),
    ):
        codec.encode_to_size(large, 100, shrink=False)
    assert not analyse.called


def test_a_target_that_z_alone_exceeds_costs_no_seam(codec: Codec) -> None:
    smallest = codec.encode(PICTURE, quality=0)
    with (
        mock.patch.object(codec.model.z_prior, "least_position_millibits", 7),
        mock.patch.object(codec.model.engine.seam, "hyper") as hyper,
        pytest.raises(ConfigError, match=rf" has {len(smallest)}; shrunk"),
    ):
        codec.encode_to_size(PICTURE, len(smallest) - 1, shrink=False)
    assert not hyper.called
