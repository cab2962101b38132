"""Attention in windows on large maps: one by one or, in graphs of free height and width, all at once."""

from __future__ import annotations

from collections.abc import Callable
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


def _at_once(attend: Attend, x: Tensor, tokens: Tensor | None, limit: int, window: int) -> Tensor:
    """What `windowed` gives for one picture, without a loop or a branch, which a graph would freeze.

    The map is extended to whole windows, which become a batch; what was added is masked.
    """
    height, width = _sides(x)
    whole = height * width <= limit
    down, across = torch.where(whole, height, window), torch.where(whole, width, window)
    masks, seen = Masks(_mask(x, down, across)), None
    if tokens is not None:
        ratio = height // _sides(tokens)[0]
        seen = _cut(tokens, down // ratio, across // ratio)
        masks = Masks(masks.positions, _mask(tokens, down // ratio, across // ratio))
    parts = attend(_cut(x, down, across), seen, masks)
    rows, columns = _windows(height, down), _windows(width, across)
    cells = _reshaped(parts, rows, columns, parts.shape[1], down, across).permute(2, 0, 3, 1, 4)
    return _reshaped(cells, 1, parts.shape[1], rows * down, columns * across)[..., :height, :width]


def _sides(x: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width as tensors, which the tracer of graphs follows."""
    shape = torch._shape_as_tensor(x)
    return shape[2], shape[3]


def _windows(length: Tensor, side: Tensor) -> Tensor:
    """How many cover a length; a graph's division rounds towards zero."""
    return (length + side - 1) // side


def _cut(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """[1,C,h,w] -> [n,C,down,across], with zeros beyond the edge."""
    height, width = _sides(x)
    rows, columns = _windows(height, down), _windows(width, across)
    x = F.pad(x, (0, columns * across - width, 0, rows * down - height))  # type: ignore[arg-type]
    cells = _reshaped(x, x.shape[1], rows, down, columns, across).permute(1, 3, 0, 2, 4)
    return _reshaped(cells, rows * columns, x.shape[1], down, across)


def _reshaped(x: Tensor, *shape: Any) -> Tensor:
    """To a shape of numbers and tensors; the annotations of torch know numbers alone."""
    return x.reshape(shape)


def _mask(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    return _cut(torch.ones_like(x[:, :1]), down, across).flatten(2).unsqueeze(1) > 0
