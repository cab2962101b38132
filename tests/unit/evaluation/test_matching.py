"""Rate matching against brute force, its cache, and the baselines' ladders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.unit.evaluation.conftest import picture

from onedc.errors import ConfigError, MissingExtraError
from onedc.evaluation.baselines import BASELINES, load_codec
from onedc.evaluation.codecs import FileCodec, Original, Rule, SizeCache, match_rate
from onedc.image import RGBArray

FIXTURE = Path(__file__).parents[2] / "conformance" / "fixture.safetensors"


class Ladder(FileCodec):
    """A codec whose files have given sizes."""

    name, identity, suffix = "ladder", "ladder 1", ".bin"

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.ladder, self.calls = sizes, range(len(sizes)), 0

    def encode(self, picture: RGBArray, setting: float) -> bytes:
        self.calls += 1
        return bytes(self.sizes[int(setting)])

    def decode(self, data: bytes, height: int, width: int) -> RGBArray:
        return np.zeros((height, width, 3), np.uint8)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12).map(sorted), st.integers(0, 45))
def test_matches_equal_brute_force(sizes: list[int], target: int) -> None:
    codec = Ladder(sizes)
    below = [s for s in sizes if s <= target]
    match = match_rate(codec, target, Rule.AT_MOST, lambda s: sizes[int(s)])
    assert match.reached == bool(below)
    assert sizes[int(match.setting)] == (max(below) if below else sizes[0])
    above = [s for s in sizes if s >= target]
    match = match_rate(codec, target, Rule.AT_LEAST, lambda s: sizes[int(s)])
    assert match.reached == bool(above)
    assert sizes[int(match.setting)] == (min(above) if above else sizes[-1])


def test_cache_saves_encoding(tmp_path: Path) -> None:
    codec, original = Ladder([10, 20, 30, 40]), Original("p.png", picture(0), "hash")
    first = SizeCache(tmp_path, codec, original)
    assert match_rate(codec, 25, Rule.AT_MOST, first.size_of).setting == 1
    calls = codec.calls
    assert 0 < calls <= 3
    again = SizeCache(tmp_path, codec, original)
    assert match_rate(codec, 25, Rule.AT_MOST, again.size_of).setting == 1
    assert codec.calls == calls
    assert SizeCache(tmp_path, codec, replace(original, hash="other")).sizes == {}
    again.path.write_text("damaged")  # type: ignore[union-attr]
    assert SizeCache(tmp_path, codec, original).sizes == {}


def test_a_cache_that_cannot_be_written_costs_no_codec(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    codec = Ladder([10, 20, 30, 40])
    cache = SizeCache(tmp_path / "file" / "cache", codec, Original("p.png", picture(0), "hash"))
    assert match_rate(codec, 25, Rule.AT_MOST, cache.size_of).setting == 1


def test_white_lies_under_what_is_transparent(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 3), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (Original.read(tmp_path / "clear.png").pixels == 255).all()


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_code_odd_sizes_and_grow_along_their_ladder(name: str) -> None:
    try:
        codec = load_codec(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    pixels = picture(5, 63, 97)
    small, large = (codec.encode(pixels, codec.ladder[i]) for i in (len(codec.ladder) // 8, -1))
    assert len(small) < len(large)
    assert codec.encode(pixels, codec.ladder[-1]) == large
    decoded = codec.decode(large, 63, 97)
    assert decoded.shape == pixels.shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - pixels).mean() < 6


def test_the_codecs_own_search_finds_what_bisection_finds() -> None:
    codec, original = load_codec("onedc", weights=FIXTURE), Original("p.png", picture(0), "")
    assert len(codec.ladder) == 256 and codec.ladder[-1] == 100
    for target in (10, 300, 500, 10**6):
        size_of = SizeCache(None, codec, original).size_of
        expected = match_rate(codec, target, Rule.AT_MOST, size_of)
        assert codec.setting_within(original, target) == expected.setting
        assert (size_of(expected.setting or 0.0) <= target) == expected.reached
    assert load_codec("jpeg").setting_within(original, 300) is None


def test_settings_and_names() -> None:
    webp = load_codec("webp")
    assert webp.nearest_setting(10.04) == 10
    with pytest.raises(ConfigError, match=r"q 101 is not in 0\.\.100"):
        webp.nearest_setting(101)
    with pytest.raises(ConfigError, match="'bpg'"):
        load_codec("bpg")
