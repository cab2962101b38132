"""The Pillow format: opened lazily, from whatever can be read; saved like any other; refused when damaged."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture

import onedc.pillow
from onedc.codec import Codec
from onedc.errors import ConfigError, FormatError, ImageError
from onedc.image import read_image
from onedc.loading import load

PICTURE = picture(90, 70)


@pytest.fixture(scope="module", params=["torch", "onnx"])
def codec(request: pytest.FixtureRequest, with_graphs: Path) -> Iterator[Codec]:
    codec = load(with_graphs, engine=request.param, precision="fp32")
    onedc.pillow.use(codec)
    yield codec
    onedc.pillow.use(None)


@pytest.fixture(scope="module")
def path(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pillow") / "a.1dc"
    Image.fromarray(PICTURE).save(path, quality=30)
    return path


@pytest.fixture(scope="module")
def pixels(codec: Codec, path: Path) -> np.ndarray:
    decoded: np.ndarray = codec.decode(path.read_bytes(), output="numpy")
    return decoded


def python(script: str) -> str:
    """Run a script in a fresh interpreter that takes warnings for errors; returns what it printed."""
    command = [sys.executable, "-W", "error", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


FIRST = (
    "import onedc",
    "from PIL import Image",
    "from PIL import ImageFile",
    "import onedc, PIL.PngImagePlugin",
)


@pytest.mark.parametrize("first", FIRST)
def test_opening_is_lazy_in_any_order_of_imports(first: str, tmp_path: Path) -> None:
    path = tmp_path / "a.1dc"
    path.write_bytes(load(FIXTURE).encode(PICTURE, quality=30))
    printed = python(
        f"import sys\n{first}\nimport onedc\nfrom PIL import Image\n"
        f"with Image.open({str(path)!r}) as image:\n"
        "    print(image.format, image.mode, *image.size, image.get_format_mimetype())\n"
        "    print(sorted({'torch', 'numpy', 'safetensors'} & set(sys.modules)))\n"
        "    onedc.pillow.use(onedc.load(" + repr(str(FIXTURE)) + "))\n"
        "    print(len(image.tobytes()))\n"
    )
    assert printed.splitlines() == ["1DC RGB 90 70 image/x-1dc", "[]", str(3 * 90 * 70)]


def test_importing_onedc_leaves_the_import_system_as_it_was() -> None:
    printed = python(
        "import sys\nfinders = list(sys.meta_path)\nimport onedc\nimport importlib.util\n"
        "assert importlib.util.find_spec('PIL.ImageFile') and 'PIL.Image' not in sys.modules\n"
        "from PIL import ImageFile\nassert sys.meta_path == finders\n"
        "print(type(ImageFile.__loader__).__name__, type(ImageFile.__spec__.loader).__name__)"
    )
    assert printed.split() == ["SourceFileLoader"] * 2


def test_round_trip_through_path_memory_and_zip(path: Path, pixels: np.ndarray) -> None:
    memory = io.BytesIO()
    Image.fromarray(PICTURE).save(memory, "1DC", quality=30)
    assert memory.getvalue() == path.read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.write(path, "folder/a.1dc")
    with zipfile.ZipFile(archive).open("folder/a.1dc") as member:
        unzipped = Image.open(member)
    for image in (unzipped, Image.open(memory), Image.open(path)):
        assert (image.size, image.mode) == ((90, 70), "RGB")
        assert np.array_equal(np.asarray(image), pixels)
    copy = pickle.loads(pickle.dumps(Image.open(memory)))
    assert np.array_equal(np.asarray(copy), pixels)


def test_saving_takes_what_encode_takes(codec: Codec) -> None:
    def saved(image: Image.Image, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, "1DC", **options)
        return file.getvalue()

    image = Image.fromarray(PICTURE)
    assert saved(image) == codec.encode(image)
    assert saved(image, target_bytes=700) == codec.encode_to_size(image, 700)
    assert saved(image, effort=1) == codec.encode(image, effort=1)
    assert saved(image.convert("L")) == codec.encode(image.convert("L"))
    clear = Image.new("RGBA", (9, 9), (255, 0, 0, 0))
    assert saved(clear, background="white") == codec.encode(Image.new("RGB", (9, 9), "white"))
    with pytest.raises(ImageError, match="background='white'"):
        saved(clear)
    with pytest.raises(ConfigError, match="not both"):
        saved(image, quality=3, target_bytes=700)
    with pytest.raises(ConfigError, match="quality"):
        saved(image, quality="keep")
    with pytest.raises(ConfigError, match="effort"):
        saved(image, effort="most")


def test_a_picture_that_cannot_be_saved_leaves_no_file(codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot fit"):
        Image.fromarray(PICTURE).save(tmp_path / "a.1dc", target_bytes=5)
    assert not list(tmp_path.iterdir())


def test_damage_is_one_clear_error(path: Path, tmp_path: Path) -> None:
    data, damaged = path.read_bytes(), tmp_path / "damaged.1dc"
    damaged.write_bytes(data[:4])
    with pytest.raises(FormatError, match=r"damaged\.1dc: the file is cut short"):
        Image.open(damaged)
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for use in ("load", "verify"):
        with (
            Image.open(damaged) as image,
            pytest.raises(FormatError, match=r"damaged\.1dc: checksum") as caught,
        ):
            getattr(image, use)()
        assert "\n" not in str(caught.value)
    with pytest.raises(FormatError, match=r"^checksum"):
        Image.open(io.BytesIO(damaged.read_bytes())).load()
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data[1:]))
    with Image.open(path) as image:
        image.verify()


def test_what_is_coded_already_is_no_picture_to_encode(path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.1dc: is a \.1dc file already"):
        read_image(path)


def test_a_closed_picture_stays_closed(path: Path) -> None:
    image = Image.open(path)
    image.close()
    with pytest.raises(ValueError, match="closed image"):
        image.load()


def test_pillows_limit_of_pixels_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90 * 70 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        image = Image.open(path)
    with pytest.raises(FormatError, match="more than the limit"):
        image.load()
    image.close()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(path) as image:
        image.load()


def kept_file(codec: Codec) -> tuple[bytes, bytes]:
    """A file with a profile and EXIF, and the profile."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271] = "a camera"
    memory = io.BytesIO()
    Image.fromarray(PICTURE).save(memory, "1DC", quality=30, exif=exif, icc_profile=profile)
    return memory.getvalue(), profile


def test_profile_and_exif_are_there_before_the_pixels(codec: Codec) -> None:
    data, _ = kept_file(codec)
    with Image.open(io.BytesIO(data)) as image:
        assert image._im is None  # still lazy
        profile, exif = image.info["icc_profile"], image.getexif()[271]
        again = io.BytesIO()
        image.save(again, "PNG", icc_profile=image.info.get("icc_profile"), exif=image.getexif())
    decoded = codec.decode(data)
    assert decoded.info["icc_profile"] == profile and exif == "a camera"
    with Image.open(again) as image:
        assert image.info["icc_profile"] == profile and image.getexif()[271] == "a camera"
        assert np.array_equal(np.asarray(image), np.asarray(decoded))


@pytest.mark.parametrize("piece", [64, 1024])
@pytest.mark.parametrize("size", [10, 5000])
def test_a_parser_is_fed_in_pieces(codec: Codec, piece: int, size: int) -> None:
    exif = Image.Exif()
    exif[271] = np.random.default_rng(0).bytes(size).hex()
    memory = io.BytesIO()
    Image.fromarray(PICTURE).save(memory, "1DC", quality=30, exif=exif)
    data, parser = memory.getvalue(), ImageFile.Parser()
    for place in range(0, len(data), piece):
        parser.feed(data[place : place + piece])
    assert np.array_equal(np.asarray(parser.close()), codec.decode(data, output="numpy"))


def test_damage_is_an_os_error_too(path: Path) -> None:
    data = path.read_bytes()
    for damaged in (data[:4], data[:-9], data[:9] + b"\0" + data[10:], data[:20] + b"xxxx" + data[24:]):
        with pytest.raises(OSError) as caught, Image.open(io.BytesIO(damaged)) as image:
            image.load()
        assert isinstance(caught.value, (FormatError, UnidentifiedImageError))


def test_unknown_options_of_save_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.1dc: save has no option lossless, qualty; it takes"):
        Image.fromarray(PICTURE).save(tmp_path / "a.1dc", qualty=30, lossless=True)
    assert not list(tmp_path.iterdir())
