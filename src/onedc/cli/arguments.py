"""The arguments that several commands take: how they are declared, parsed, and turned into a codec."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from onedc.errors import ImageError

if TYPE_CHECKING:
    from onedc.codec import Codec
    from onedc.image import Keepable

T = TypeVar("T")


def option(
    parser: argparse._ActionsContainer, usage: str, kind: Callable[[str], Any], text: str, **more: Any
) -> None:
    """Declare an option that takes a value; `usage` is as in a manual: "-q, --quality Q"."""
    *short, long = usage.split(", ")
    flag, _, metavar = long.partition(" ")
    parser.add_argument(*short, flag, type=kind, metavar=metavar or None, help=text, **more)


def switch(parser: argparse._ActionsContainer, flag: str, text: str, off: str = "") -> None:
    """Declare an option without a value; `off` is what it sets to false, where it does not turn itself on."""
    if off:
        parser.add_argument(flag, dest=off, action="store_false", help=text)
    else:
        parser.add_argument(flag, action="store_true", help=text)


def given(kind: type[T], args: argparse.Namespace, **others: Any) -> T:
    """A dataclass of what the command line gives to its fields, by their names, and of `others`."""
    named = {field.name: getattr(args, field.name, None) for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in named.items() if value is not None} | others)


def add_force(parser: argparse.ArgumentParser, text: str = "replace outputs that exist already") -> None:
    """Leave to overwrite."""
    switch(parser, "--force", text)


def add_file_arguments(
    parser: argparse.ArgumentParser,
    inputs: str,
    output: str,
    force: str = "replace outputs that exist already",
) -> None:
    """The arguments of every command that turns files into files."""
    parser.add_argument("inputs", nargs="+", metavar="IN", help=inputs)
    option(parser, "-o, --output OUT", str, output)
    parser.add_argument("--force", action="count", default=0, help=force)
    switch(parser, "--json", "print one line of JSON for each file")


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Which pictures are read, and what of a file."""
    option(parser, "--page N", whole, "page or frame of files that hold several, from 1")
    text = "refuse larger pictures before they are decoded (default: 67 million)"
    option(parser, "--max-pixels N", whole, text)
    text = "treat warnings as errors: a colour profile that does not fit, damage outside the pixels"
    switch(parser, "--strict", text)


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """What `image.read_picture` takes of the command line."""
    named = {name: getattr(args, name) for name in ("background", "max_pixels", "page", "strict")}
    return {"keep": kept(args)} | {name: value for name, value in named.items() if value is not None}


def add_model_arguments(
    parser: argparse.ArgumentParser, *, threads: int | None = None, engines: bool = False
) -> None:
    """The arguments of every command that runs the networks.

    Args:
        threads: the default where it matters.
        engines: whether there is a choice of what runs them.
    """
    group = parser.add_argument_group("model")
    if engines:
        text = "library that runs the networks; auto (default): onnxruntime where it can, else torch"
        option(group, "--engine", str, text, choices=("auto", "onnx", "torch"), default="auto")
    option(group, "--device", str, "where the networks run: cpu (default), cuda, cuda:1, mps", default="cpu")
    text = (
        "precision of the float networks. auto (default): fp32, but bf16 with torch where the hardware "
        "is fast at it. Files written with either are decoded with either"
    )
    option(group, "--precision", str, text, choices=("auto", "fp32", "bf16"), default="auto")
    many = "processor threads (default: as many as there are cores)"
    option(group, "--threads N", whole, f"default: {threads}" if threads else many, default=threads)
    option(group, "--weights FILE", Path, "a model other than the bundled one (.safetensors)")


def codec_of(args: argparse.Namespace) -> Codec:
    """The model that `add_model_arguments` (and where there is one, --metric-weights) names."""
    from onedc.loading import load

    return load(
        args.weights,
        engine=args.engine,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        metric_weights=getattr(args, "metric_weights", None),
    )


def add_effort_arguments(parser: argparse.ArgumentParser) -> None:
    """How long to look for a better choice of bits, and by what."""
    text = "0 (one pass, default) to 9: gradient steps for each picture, of up to a megapixel"
    option(parser, "-e, --effort N", effort, text, default=0)
    text = (
        "folder with lpips_squeeze.safetensors, by which an effort above 0 also judges the picture "
        "(without it by features of the model's own autoencoder)"
    )
    option(parser, "--metric-weights DIR", Path, text)


def add_beside_arguments(parser: argparse.ArgumentParser) -> None:
    """What becomes of transparency and of what stands beside the pixels."""
    clear = parser.add_mutually_exclusive_group()
    text = "colour under transparent pixels (white, #rrggbb); without one, such pictures are refused"
    option(clear, "--background COLOR", color, text)
    text = "store transparency losslessly: up to a few KB more, which count towards a target"
    switch(clear, "--keep-alpha", text)
    text = "store the RGB colour profile in a compact form; the decoded picture has it"
    switch(parser, "--keep-icc", text)
    switch(parser, "--keep-exif", "store EXIF (camera, time, place, ...), without its preview")


def kept(args: argparse.Namespace) -> tuple[Keepable, ...]:
    """What the command line asks to keep beside the picture."""
    asked: dict[Keepable, bool] = {"alpha": args.keep_alpha, "icc": args.keep_icc, "exif": args.keep_exif}
    return tuple(name for name, wanted in asked.items() if wanted)


def add_size_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The size at which pictures are coded, and the checksum; returns the group of options."""
    group = parser.add_argument_group("messages and small files")
    option(group, "--max-side N", whole, "shrink pictures to a longer side of N pixels at most")
    text = "with --target-bytes: keep the size, even where it looks better smaller in so few bytes"
    switch(group, "--no-shrink", text, off="shrink")
    text = "leave the checksum out, for channels that check what they carry: 1 byte less in small files"
    switch(group, "--no-check", text, off="check")
    return group


def add_report_arguments(parser: argparse.ArgumentParser, what: str, section: str) -> None:
    """The section of a page that a table is put into, too."""
    text = (
        f"also put {what} into this Markdown file between the lines <!-- begin NAME --> and <!-- end NAME -->"
    )
    option(parser, "--report FILE", Path, text)
    option(parser, "--section NAME", str, f"section of --report (default: {section})", default=section)


def add_plugin_argument(parser: argparse.ArgumentParser, adds: str) -> None:
    """Declare --plugin; `adds` says what the command takes from one."""
    text = f"run this Python file first; it may add {adds} (docs/extending.md)"
    option(parser, "--plugin FILE.py", Path, text, action="append", default=[])


def whole(text: str) -> int:
    """Parse a whole number above 0 for argparse."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def quality(text: str) -> float:
    """Parse a quality for argparse."""
    return _number(text, lambda value: 0 <= value <= 100, "a number in 0..100")


def effort(text: str) -> int:
    """Parse an effort for argparse."""
    if not (len(text) == 1 and text in "0123456789"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in 0..9")
    return int(text)


def positive(text: str) -> float:
    """Parse a number of bits per pixel for argparse."""
    return _number(text, lambda value: 0 < value < math.inf, "a number above 0")


def color(text: str) -> str:
    """Check a colour for argparse."""
    from onedc.image import parse_color

    try:
        parse_color(text)
    except ImageError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("background ")) from error
    return text


def sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Parse a list of sizes with commas for argparse."""
    pairs = [re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", part.strip()) for part in text.split(",")]
    if not all(pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of sizes, like 512x512,1920x1088")
    return tuple((int(pair[1]), int(pair[2])) for pair in pairs if pair)


def names(text: str) -> tuple[str, ...]:
    """Parse a list of names with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def number(text: str) -> float:
    """Parse a finite number for argparse."""
    return _number(text, math.isfinite, "a number")


def _number(text: str, fits: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def numbers(text: str) -> tuple[float, ...]:
    """Parse a list of finite numbers with commas for argparse."""
    try:
        return tuple(number(each) for each in text.split(",") if each.strip())
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers, like 10,30.5") from None


def whole_numbers(text: str) -> tuple[int, ...]:
    """Parse a list of whole numbers above 0 with commas for argparse."""
    return tuple(whole(each.strip()) for each in text.split(",") if each.strip())
