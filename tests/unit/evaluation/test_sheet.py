"""The one drawer of side-by-side pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image
from tests.unit.evaluation.conftest import picture

from onedc.evaluation.sheet import FAINT, GAP_PX, LINE_PX, MARK, Tile, draw_sheet, marked, resized


def test_tiles_stand_in_their_columns() -> None:
    small, wide = picture(0, 40, 60), picture(1, 30, 200)
    sheet = draw_sheet(
        [[Tile(small, ("one",)), Tile(wide)], [Tile(wide, ("two", "three"), MARK)]], ["heading"]
    )
    top = GAP_PX + LINE_PX
    assert np.array_equal(sheet[top : top + 40, GAP_PX : GAP_PX + 60], small)
    left = 2 * GAP_PX + 200  # the first column is as wide as its widest tile
    assert np.array_equal(sheet[top : top + 30, left : left + 200], wide)
    second = top + 40 + LINE_PX + GAP_PX
    assert np.array_equal(sheet[second : second + 30, GAP_PX : GAP_PX + 200], wide)
    assert sheet.shape == (second + 30 + 2 * LINE_PX + GAP_PX, 3 * GAP_PX + 400, 3)
    lines = sheet[second + 30 :].reshape(-1, 3).tolist()
    assert list(MARK) in lines and list(FAINT) in lines


def test_text_widens_its_column() -> None:
    assert draw_sheet([[Tile(picture(0, 8, 8), ("a long line of text",))]]).shape[1] > 100


def test_marks_and_sizes() -> None:
    shown = marked(np.zeros((20, 30, 3), np.uint8), [(3, 4, 13, 14)])
    assert shown[4, 3].tolist() == shown[13, 12].tolist() == list(MARK) and shown[14, 13].tolist() == [
        0,
        0,
        0,
    ]
    assert resized(picture(0, 64, 96), 48, Image.Resampling.BICUBIC).shape == (32, 48, 3)
