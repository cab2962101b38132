"""Attention in windows on large maps: one by one or, in graphs of free height and width, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor


class Masks(NamedTuple):
    """Which positions and which tokens there are at all, true or false, [n,1,1,L] each; None: all."""

    positions: Tensor | None = None
    tokens: Tensor | None = None


Attend: TypeAlias = Callable[[Tensor, Any, Masks], Tensor]
"""Maps [n,C,h,w] and the tokens [n,D,th,tw] they see, or None -> [n,C',h,w]: attention over each of the n."""


def windowed(attend: Attend, x: Tensor, tokens: Tensor | None, limit: int, window: int) -> Tensor:
    """`attend` on the whole map [B,C,h,w], or window by window where it has more than `limit` positions.

    Windows are `window` positions a side, laid from the top left; a window sees the tokens that cover
    the same pixels. `tokens` is a coarser map whose sides divide those of `x`, or None.
    """
    if torch.onnx.is_in_onnx_export():
        return _at_once(attend, x, tokens, limit, window)
    height, width = x.shape[-2:]
    if height * width <= limit:
        return attend(x, tokens, Masks())
    rows = []
    for top in range(0, height, window):
        row = []
        for left in range(0, width, window):
            part = x[..., top : top + window, left : left + window]
            seen = None
            if tokens is not None:
                ratio = height // tokens.shape[-2]
                span = -(-window // ratio)
                seen = tokens[..., top // ratio : top // ratio + span, left // ratio : left // ratio + span]
            row.append(attend(part, seen, Masks()))
        rows.append(torch.cat(row, dim=-1))
    return torch.cat(rows, dim=-2)


class _Grid(NamedTuple):
    """The windows over maps of one size, in numbers that a graph computes of it."""

    height: Tensor
    width: Tensor
    down: Tensor  # positions of a window
    across: Tensor
    rows: Tensor  # of windows
    columns: Tensor

    @classmethod
    def over(cls, height: Tensor, width: Tensor, down: Tensor, across: Tensor) -> _Grid:
        """A graph's division rounds towards zero."""
        rows, columns = (height + down - 1) // down, (width + across - 1) // across
        return cls(height, width, down, across, rows, columns)

    def cut(self, x: Tensor) -> Tensor:
        """[1,C,h,w] -> [n,C,down,across], with zeros beyond the edge."""
        right, below = self.columns * self.across - self.width, self.rows * self.down - self.height
        x = F.pad(x, (0, right, 0, below))  # type: ignore[arg-type]
        channels = int(x.shape[1])
        cells = _reshaped(x, channels, self.rows, self.down, self.columns, self.across)
        cells = cells.permute(1, 3, 0, 2, 4)
        return _reshaped(cells, self.rows * self.columns, channels, self.down, self.across)

    def joined(self, parts: Tensor) -> Tensor:
        """The opposite of `cut`."""
        channels = int(parts.shape[1])
        cells = _reshaped(parts, self.rows, self.columns, channels, self.down, self.across)
        whole = (1, channels, self.rows * self.down, self.columns * self.across)
        return _reshaped(cells.permute(2, 0, 3, 1, 4), *whole)[..., : self.height, : self.width]

    def mask(self, x: Tensor) -> Tensor:
        """Which positions of the windows over `x` are its own [n,1,1,L]."""
        return self.cut(torch.ones_like(x[:, :1])).flatten(2).unsqueeze(1) > 0


class _Cut(NamedTuple):
    """Windows over a map and over the tokens, and their masks."""

    positions: _Grid
    tokens: _Grid | None
    masks: Masks


_shared: list[dict[tuple[int, ...], _Cut]] = []


@contextmanager
def shared_grids() -> Iterator[None]:
    """Within it, graphs compute what follows from the size of a map once for all maps of that size."""
    _shared.append({})
    try:
        yield
    finally:
        _shared.pop()


def _windows(x: Tensor, tokens: Tensor | None, limit: int, window: int) -> _Cut:
    height, width = _sides(x)
    whole = height * width <= limit
    grid = _Grid.over(height, width, torch.where(whole, height, window), torch.where(whole, width, window))
    if tokens is None:
        return _Cut(grid, None, Masks(grid.mask(x)))
    coarse = _sides(tokens)
    ratio = height // coarse[0]
    seen = _Grid.over(*coarse, grid.down // ratio, grid.across // ratio)
    return _Cut(grid, seen, Masks(grid.mask(x), seen.mask(tokens)))


def _at_once(attend: Attend, x: Tensor, tokens: Tensor | None, limit: int, window: int) -> Tensor:
    """What `windowed` gives for one picture, without a loop or a branch, which a graph would freeze.

    The map is extended to whole windows, which become a batch; what was added is masked.
    """
    known = _shared[-1] if _shared else {}
    sides = (int(side) for t in (x, tokens) if t is not None for side in t.shape[-2:])
    key = (*sides, limit, window)
    if key not in known:
        known[key] = _windows(x, tokens, limit, window)
    cut = known[key]
    seen = None if tokens is None or cut.tokens is None else cut.tokens.cut(tokens)
    return cut.positions.joined(attend(cut.positions.cut(x), seen, cut.masks))


def _sides(x: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width as tensors, which the tracer of graphs follows."""
    shape = torch._shape_as_tensor(x)
    return shape[2], shape[3]


def _reshaped(x: Tensor, *shape: Any) -> Tensor:
    """To a shape of numbers and tensors; the annotations of torch know numbers alone."""
    return x.reshape(shape)
