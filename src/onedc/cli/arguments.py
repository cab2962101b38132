"""The arguments that several commands take: how they are declared, parsed, and turned into a codec."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from contextlib import suppress
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


def add_encoding_arguments(parser: argparse.ArgumentParser) -> None:
    """How each picture is read and encoded, beside its quality."""
    text = "0 (one pass, default) to 9: gradient steps for each picture, of up to a megapixel"
    option(parser, "-e, --effort N", effort, text, default=0)
    text = (
        "folder with lpips_squeeze.safetensors, by which an effort above 0 also judges the picture "
        "(without it by features of the model's own autoencoder)"
    )
    option(parser, "--metric-weights DIR", Path, text)
    clear = parser.add_mutually_exclusive_group()
    text = "colour under transparent pixels (white, #rrggbb); without one, such pictures are refused"
    option(clear, "--background COLOR", color, text)
    text = "store transparency losslessly: up to a few KB more, which count towards a target"
    switch(clear, "--keep-alpha", text)
    text = "store the RGB colour profile in a compact form; the decoded picture has it"
    switch(parser, "--keep-icc", text)
    switch(parser, "--keep-exif", "store EXIF (camera, time, place, ...), without its preview")
    option(parser, "--page N", whole, "page or frame of files that hold several, from 1")
    text = "refuse larger pictures before they are decoded (default: 67 million)"
    option(parser, "--max-pixels N", whole, text)
    text = "treat warnings as errors: a colour profile that does not fit, damage outside the pixels"
    switch(parser, "--strict", text)
    group = parser.add_argument_group("messages and small files")
    option(group, "--max-side N", whole, "shrink pictures to a longer side of N pixels at most")
    text = "with --target-bytes: keep the size, even where it looks better smaller in so few bytes"
    switch(group, "--no-shrink", text, off="shrink")
    text = "leave the checksum out, for channels that check what they carry: 1 byte less in small files"
    switch(group, "--no-check", text, off="check")


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


def kept(args: argparse.Namespace) -> tuple[Keepable, ...]:
    """What the command line asks to keep beside the picture."""
    asked: dict[Keepable, bool] = {"alpha": args.keep_alpha, "icc": args.keep_icc, "exif": args.keep_exif}
    return tuple(name for name, wanted in asked.items() if wanted)


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


def checked(kind: Callable[[str], T], fits: Callable[[T], bool], what: str) -> Callable[[str], T]:
    """A type for argparse: a number that `fits`; else the error says that the text is not `what`."""

    def parse(text: str) -> T:
        with suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")

    return parse


def listed(parse: Callable[[str], T], *, may_be_empty: bool = False) -> Callable[[str], tuple[T, ...]]:
    """A type for argparse: a list with commas, of what `parse` reads."""

    def read(text: str) -> tuple[T, ...]:
        found = tuple(parse(each.strip()) for each in text.split(",") if each.strip())
        if not found and not may_be_empty:
            raise argparse.ArgumentTypeError(f"{text!r} is an empty list")
        return found

    return read


def size(text: str) -> tuple[int, int]:
    """A type for argparse: width and height."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, like 512x512")
    return int(found[1]), int(found[2])


def color(text: str) -> str:
    """A type for argparse: a colour, checked."""
    from onedc.image import parse_color

    try:
        parse_color(text)
    except ImageError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("background ")) from error
    return text


number = checked(float, math.isfinite, "a number")
positive = checked(float, lambda value: 0 < value < math.inf, "a number above 0")
quality = checked(float, lambda value: 0 <= value <= 100, "a number in 0..100")
whole = checked(int, lambda value: value > 0, "a whole number above 0")
effort = checked(int, range(10).__contains__, "a whole number in 0..9")
names = listed(str, may_be_empty=True)
numbers = listed(number)
whole_numbers = listed(whole)
sizes = listed(size)
