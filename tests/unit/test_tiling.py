"""Tiles that overlap: their layout, their weights, and what comes of a network that only looks nearby."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from onedc.model.tiling import ALIGN_PX, OVERLAP_PX, SIDE_PX, spans, tiled


@pytest.mark.parametrize("length", [64, 1024, 1088, 1152, 1920, 2048, 4096, 16320])
def test_a_side_is_covered_by_stretches_that_share_the_overlap(length: int) -> None:
    stretches = spans(length)
    assert stretches[0].start == 0
    assert stretches[-1].stop == length
    for before, after in pairwise(stretches):
        assert before.stop - after.start == OVERLAP_PX
        assert after.start % ALIGN_PX == 0
    assert all(OVERLAP_PX < len(stretch) <= SIDE_PX for stretch in stretches) or len(stretches) == 1


def test_what_every_tile_agrees_on_comes_back_at_every_resolution() -> None:
    maps = [torch.rand(2, 3, 1088 // scale, 2176 // scale) for scale in (8, 16, 64)]
    seen: list[tuple[int, ...]] = []

    def same(*parts: Tensor) -> tuple[Tensor, ...]:
        seen.append(tuple(parts[0].shape))
        return parts

    for before, after in zip(maps, tiled(same, maps, 1088, 2176), strict=True):
        torch.testing.assert_close(after, before)
    assert len(seen) == 6
    assert all(8 * max(shape[-2:]) <= SIDE_PX for shape in seen)


def test_a_picture_of_a_megapixel_is_one_tile() -> None:
    x = torch.rand(1, 1, 64, 256)
    assert tiled(lambda part: [part], [x], 512, 2048)[0] is x


def test_a_border_between_tiles_shows_no_step() -> None:
    """Tiles that disagree by a constant fade into each other over the overlap."""
    levels, x = iter([0.0, 1.0]), torch.zeros(1, 1, 1024, 1088)
    [out] = tiled(lambda part: [torch.full_like(part, next(levels))], [x], 1024, 1088)
    assert out.diff(dim=-1).abs().max() < 1.01 / OVERLAP_PX
    assert out.min() == 0
    assert out.max() == 1


def test_blended_tiles_equal_the_whole_where_the_network_looks_less_far_than_the_overlap() -> None:
    kernel = torch.rand(1, 1, 9, 9) / 81

    def blur(part: Tensor) -> list[Tensor]:
        return [F.conv2d(F.pad(part, (4, 4, 4, 4), mode="replicate"), kernel)]

    x = torch.rand(1, 1, 1088, 1088)
    difference = (tiled(blur, [x], 1088, 1088)[0] - blur(x)[0]).abs()
    assert difference.max() < 0.05  # tiles see a replicated edge, but with next to no weight there
    assert difference.mean() < 1e-4
