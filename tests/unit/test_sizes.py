"""`onedc encode` and `onedc decode`: shrinking, --max-side, --full-size, --no-check, --show."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture

from onedc.cli.main import main
from onedc.container.info import info
from onedc.image import read_image
from onedc.image.shrink import longer_side

MODEL = ["--weights", str(FIXTURE), "--precision", "fp32"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(picture(640, 480)).save(path)
    return path


def test_sizes_on_the_command_line(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, seen = photo.with_suffix(".1dc"), photo.with_name("seen.png")
    encode = ["encode", str(photo), *MODEL, "--force", "--target-bytes", "60"]
    assert main([*encode, "--no-check", "--show", str(seen)]) == 0
    found = info(file)
    assert found.width <= longer_side(640, 480, 60) and found.size_bytes <= 60 and found.check_bits == 0
    assert found.quality > 0
    assert f"{found.width}x{found.height} of 640x480" in capsys.readouterr().out
    assert read_image(seen).shape == (found.height, found.width, 3)
    assert main(["decode", str(file), *MODEL, "--full-size"]) == 0
    assert "640x480" in (out := capsys.readouterr().out) and "unverified" in out
    assert read_image(photo.with_suffix(".png")).shape == (480, 640, 3)
    assert main(["info", str(file)]) == 0
    out = capsys.readouterr().out
    assert "of 640x480" in out and "unverified: it has no checksum" in out
    assert main([*encode, "--no-shrink"]) == 1
    assert "would fit" in capsys.readouterr().err


def test_max_side_goes_with_bits_per_pixel(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encode = ["encode", str(photo), *MODEL, "--max-side", "64", "--target-bpp", "2", "--json"]
    assert main(encode) == 0
    found = info(photo.with_suffix(".1dc"))
    assert (found.width, found.height, found.original_width) == (64, 48, 640)
    assert found.bpp <= 2


def test_show_takes_one_input(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = photo.with_name("b.jpg")
    other.write_bytes(photo.read_bytes())
    assert main(["encode", str(photo), str(other), "-o", f"{photo.parent}/", "--show", "a.png"]) == 2
    assert main(["encode", str(photo), "--show", "a.txt"]) == 2
    assert "--show a.txt: the suffix" in capsys.readouterr().err
