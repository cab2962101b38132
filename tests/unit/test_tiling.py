"""Tiles that overlap: their layout, their weights, and what comes of a network that only looks nearby."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from onedc.model.blocks import in_blended_tiles
from onedc.model.tiling import STABLE_DIFFUSION, TINY_AUTOENCODER, Overlap, blended

SD = STABLE_DIFFUSION


def tiled(
    net: Callable[..., Sequence[Tensor]], maps: Sequence[Tensor], height: int, width: int
) -> Sequence[Tensor]:
    return in_blended_tiles(net, maps, height, width, SD)


@pytest.mark.parametrize("overlap", [STABLE_DIFFUSION, TINY_AUTOENCODER])
@pytest.mark.parametrize("length", [64, 1024, 1088, 1152, 1920, 2048, 4096, 16320])
def test_a_side_is_covered_by_stretches_that_share_the_overlap(length: int, overlap: Overlap) -> None:
    stretches = overlap.spans(length)
    assert stretches[0].start == 0
    assert stretches[-1].stop == length
    for before, after in pairwise(stretches):
        assert before.stop - after.start == overlap.shared_px
        assert after.start % overlap.shared_px == 0
    one = len(stretches) == 1
    assert one or all(overlap.shared_px < len(stretch) <= overlap.side_px for stretch in stretches)


def test_what_every_tile_agrees_on_comes_back_at_every_resolution() -> None:
    maps = [torch.rand(2, 3, 1088 // scale, 2176 // scale) for scale in (8, 16, 64)]
    seen: list[tuple[int, ...]] = []

    def same(*parts: Tensor) -> tuple[Tensor, ...]:
        seen.append(tuple(parts[0].shape))
        return parts

    for before, after in zip(maps, tiled(same, maps, 1088, 2176), strict=True):
        torch.testing.assert_close(after, before)
    assert len(seen) == 6
    assert all(8 * max(shape[-2:]) <= SD.side_px for shape in seen)


def test_tensors_keep_their_type() -> None:
    maps = [torch.rand(1, 1, 68, 136).bfloat16()]
    low, high = tiled(lambda part: [part, part.float()], maps, 1088, 2176)
    assert (low.dtype, high.dtype) == (torch.bfloat16, torch.float32)


def test_arrays_of_numpy_give_what_tensors_give() -> None:
    x = np.random.default_rng(0).random((1, 2, 68, 136), np.float32)
    found = blended(lambda part: [part.cumsum(-1)], [x], 1088, 2176, overlap=SD, put=np.asarray)[0]
    wanted = tiled(lambda part: [part.cumsum(-1)], [torch.from_numpy(x)], 1088, 2176)[0]
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5)


def test_a_picture_of_a_megapixel_is_one_tile() -> None:
    x, seen = torch.rand(1, 1, 64, 256), []
    tiled(lambda part: [seen.append(part.shape) or part], [x], 512, 2048)
    assert seen == [x.shape]


def test_a_border_between_tiles_shows_no_step() -> None:
    """Tiles that disagree by a constant fade into each other over the overlap."""
    levels, x = iter([0.0, 1.0]), torch.zeros(1, 1, 1024, 1088)
    [out] = tiled(lambda part: [torch.full_like(part, next(levels))], [x], 1024, 1088)
    assert out.diff(dim=-1).abs().max() < 1.01 / SD.shared_px
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
