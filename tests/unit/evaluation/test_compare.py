"""Which regions are shown, what is written under each version, and that the command leaves both files."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.evaluation.conftest import picture

from onedc.cli.main import main
from onedc.evaluation.compare import Panel, SideBySide, most_different, to_html, to_png

FIXTURE = Path(__file__).parents[2] / "conformance" / "fixture.safetensors"


def test_regions_are_where_the_error_is_and_apart() -> None:
    original = np.zeros((100, 200, 3), np.uint8)
    one, other = original.copy(), original.copy()
    one[40:56, 30:46] = 200
    other[80:96, 150:166] = 100
    other[0:16, 0:16] = 50
    assert most_different(original, [one, other], 16) == [(40, 30), (80, 150), (0, 0)]
    corners = most_different(picture(1), [picture(2)], 16)
    assert len(corners) == 3
    assert all(abs(a - c) >= 16 or abs(b - d) >= 16 for (a, b), (c, d) in itertools.pairwise(corners))


def test_a_picture_smaller_than_a_region() -> None:
    assert most_different(picture(1, 5, 9), [picture(2, 5, 9)], 16) == [(0, 0)]


def small() -> SideBySide:
    panels = [Panel("original", picture(0)), Panel("a<b", picture(1), ("12 bytes", "PSNR 30.00 dB"))]
    return SideBySide("<p>&.png", tuple(panels), ((0, 0), (8, 40)), 32)


def test_page_holds_everything_and_escapes_names() -> None:
    page = to_html(small())
    assert "&lt;p&gt;&amp;.png" in page and "a<b" not in page and "{{" not in page
    assert not re.search(r"https?:|src=\"|@import|url\(", page)
    assert page.count("data:image/webp;base64,") == 2


def test_still_has_a_column_for_each_version() -> None:
    with Image.open(io.BytesIO(to_png(small()))) as sheet:
        assert sheet.width == 12 + 2 * (384 + 12)
        assert sheet.height > 256 + 2 * 384


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "photo.png"
    Image.fromarray(picture(4)).save(source)
    command = ["compare", str(source), "--weights", str(FIXTURE), "-q", "50", "--against", "jpeg,webp"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("photo-compare.*")} == {
        "photo-compare.html",
        "photo-compare.png",
    }
    assert [line.split(":")[0].strip() for line in printed.splitlines()[2:]] == [
        "original",
        "onedc",
        "jpeg",
        "webp",
    ]
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err
