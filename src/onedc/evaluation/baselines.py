"""The codecs that can be run here: conventional ones by Pillow and ffmpeg, each optional, and onedc itself.

Settings and versions are part of `identity`, the key of every cached number.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

import onedc
from onedc.constants import QUALITY_MAX
from onedc.errors import ConfigError, MissingExtraError, OneDCError, optional
from onedc.evaluation.codecs import BaselineError, EvaluatedCodec, FileCodec, Original
from onedc.evaluation.metrics import file_hash
from onedc.image import RGBArray
from onedc.loading import load
from onedc.weights import BUNDLED

FFMPEG_TIMEOUT_S = 600


class PillowCodec(FileCodec):
    """A picture format that Pillow writes with a `quality` that grows with the file."""

    def __init__(self, name: str, suffix: str, ladder: Sequence[float], **options: Any) -> None:
        self.name, self.suffix, self.ladder, self.options = name, suffix, ladder, options
        settings = " ".join(f"{key}={value}" for key, value in options.items())
        self.identity = f"{name} {_library(name)} Pillow {PIL.__version__} {settings}"

    def encode(self, picture: RGBArray, setting: float) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, self.name.upper(), quality=setting, **self.options)
        return buffer.getvalue()

    def decode(self, data: bytes, height: int, width: int) -> RGBArray:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))


class FFmpegCodec(FileCodec):
    """One intra frame by an encoder of the ffmpeg that imageio-ffmpeg brings, as a raw stream.

    4:2:0, 10 bit, BT.709 at full range. Odd sizes are extended by one pixel to encode and cropped afterwards.
    The name is also what ffmpeg calls such a stream.
    """

    setting_name = "qp"
    SCALE = "color_matrix=bt709:{0}_range=pc:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"

    def __init__(self, name: str, max_qp: int, *options: str) -> None:
        self.name, self.suffix, self.options = name, f".{name}", options
        self.ladder = [float(qp) for qp in range(max_qp, -1, -1)]
        self.executable = _ffmpeg()
        version = _run([self.executable, "-version"], b"").decode().split(" ")[2]
        self.identity = f"{name} ffmpeg {version} yuv420p10 {' '.join(options)}"

    def encode(self, picture: RGBArray, setting: float) -> bytes:
        height, width = picture.shape[:2]
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{even.shape[1]}x{even.shape[0]}", "-i", "-"]
        convert = ["-vf", f"scale=out_{self.SCALE.format('out')},format=yuv420p10le", "-frames:v", "1"]
        target = [*self.options, "-qp", f"{setting:.0f}", "-threads", "1", "-f", self.name, "-"]
        return self._ffmpeg([*source, *convert, *target], even.tobytes())

    def decode(self, data: bytes, height: int, width: int) -> RGBArray:
        convert = ["-vf", f"scale=in_{self.SCALE.format('in')},format=rgb24", "-frames:v", "1"]
        out = self._ffmpeg(["-f", self.name, "-i", "-", *convert, "-f", "rawvideo", "-"], data)
        rows, columns = height + height % 2, width + width % 2
        if len(out) != rows * columns * 3:
            raise BaselineError(f"{self.name}: decoded {len(out)} bytes instead of {rows}x{columns}x3")
        return np.frombuffer(out, np.uint8).reshape(rows, columns, 3)[:height, :width].copy()

    def _ffmpeg(self, arguments: list[str], data: bytes) -> bytes:
        return _run([self.executable, "-hide_banner", "-loglevel", "error", *arguments], data)


def _run(command: list[str], data: bytes) -> bytes:
    """Standard output of a command. Raises BaselineError with the last line it complained."""
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=FFMPEG_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BaselineError(f"{command[0]}: {error}") from error
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise BaselineError(f"{Path(command[0]).name}: exit status {done.returncode}: {complaint[-1]}")
    return done.stdout


def _ffmpeg() -> str:
    try:
        return str(optional("imageio_ffmpeg", "eval", "imageio-ffmpeg").get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingExtraError(f'ffmpeg is not there ({error}): pip install "onedc[eval]"') from error


def _library(name: str) -> str:
    """The library that writes a format, and its version. Raises MissingExtraError."""
    if name == "jpeg":
        return f"libjpeg-turbo {features.version('libjpeg_turbo')}"
    if name == "jxl":
        optional("pillow_jxl", "eval", "pillow-jxl-plugin")
        return f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"
    if not features.check(name):
        raise MissingExtraError(f"{name}: this Pillow was built without it; install Pillow's own wheel")
    return f"lib{name} {features.version(name)}"


_X265 = "info=0:log-level=error:pools=1:frame-threads=1"
"""Without info=0 it writes a kilobyte of its own options into the file."""

BASELINES: dict[str, Callable[[], EvaluatedCodec]] = {
    "jpeg": partial(
        PillowCodec, "jpeg", ".jpg", range(1, 96), optimize=True, progressive=True, subsampling="4:2:0"
    ),
    "webp": partial(PillowCodec, "webp", ".webp", [tenth / 10 for tenth in range(1001)], method=6),
    # One thread: the number of threads may change the file.
    "avif": partial(PillowCodec, "avif", ".avif", range(101), speed=6, subsampling="4:2:0", max_threads=1),
    # Quality 100 would be lossless, which the plugin has another switch for.
    "jxl": partial(PillowCodec, "jxl", ".jxl", range(100), effort=7, num_threads=1),
    "vvc": partial(FFmpegCodec, "vvc", 63, "-c:v", "libvvenc", "-preset", "fast"),
    "hevc": partial(FFmpegCodec, "hevc", 51, "-c:v", "libx265", "-preset", "slow", "-x265-params", _X265),
}
"""How each codec but onedc is made ready."""


def register_codec(name: str, make: Callable[[], EvaluatedCodec]) -> None:
    """Add a codec that --codec and --against take; its `name` must be this one.

    Raises:
        ConfigError: a name that is taken.
    """
    if name in codec_names():
        raise ConfigError(f"codec {name!r}: this name is taken")
    BASELINES[name] = make


def codec_names() -> tuple[str, ...]:
    """All that can be measured."""
    return ("onedc", *BASELINES)


def load_codec(name: str, *, shown_as: str | None = None, **ours: Any) -> EvaluatedCodec:
    """The codec of that name; of onedc, what to call this model, and what else `OneDCCodec` takes.

    Raises:
        ConfigError: an unknown name.
        MissingExtraError: its package is not installed.
        WeightsError: bad weights of onedc.
    """
    if name == "onedc":
        return OneDCCodec(shown_as or name, **ours)
    if name not in BASELINES:
        raise ConfigError(f"codec {name!r}: not one of {', '.join(codec_names())}")
    try:
        return BASELINES[name]()
    except OneDCError:
        raise
    except Exception as error:  # a plugin's
        raise BaselineError(f"{name}: cannot be made ready: {type(error).__name__}: {error}") from error


class OneDCCodec(FileCodec):
    """A model of onedc; its settings are those of -q, one for each quality byte."""

    suffix = ".1dc"

    def __init__(self, name: str, weights: Path | None = None, *, device: str = "cpu", **how: Any) -> None:
        self.name = name
        self.codec = load(weights, device=device, **how)
        digest = file_hash(weights or BUNDLED)
        self.ladder = [_quality(byte) for byte in self.codec.quality_bytes]
        engine = self.codec.model.engine
        version, runs = onedc.__version__, f"{engine.name} {device} {engine.precision}"
        self.identity = f"onedc {version} weights {digest} {runs}"
        if engine.on_cpu:  # in bf16 the floats that y comes from depend on it
            self.identity += f" threads {engine.threads}"

    def encode(self, picture: RGBArray, setting: float) -> bytes:
        return self.codec.encode(picture, quality=setting)

    def decode(self, data: bytes, height: int, width: int) -> RGBArray:
        return self.codec.decode(data, output="numpy")

    def setting_within(self, original: Original, target_bytes: int) -> float:
        """The quality that the codec's own search chooses; its lowest where every file is too large."""
        try:
            data = self.codec.encode_to_size(original.pixels, target_bytes, shrink=False)
        except ConfigError:
            return self.ladder[0]
        return _quality(onedc.info(data).quality_byte)


def _quality(byte: int) -> float:
    """The quality 0..100 of a quality byte, as short as tells all bytes apart."""
    return round(byte * 100 / QUALITY_MAX, 2)
