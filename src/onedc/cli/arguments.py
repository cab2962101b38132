"""The arguments that several commands take: how they are declared, parsed, and turned into a codec."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onedc.errors import ImageError

if TYPE_CHECKING:
    from onedc.codec import Codec
    from onedc.image import Keepable


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as our descriptions; asking the terminal would import compression libraries first."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=110)


def add_parser(
    commands: Any,
    name: str,
    summary: str,
    description: str,
    run: Callable[[argparse.Namespace], int] | None = None,
) -> argparse.ArgumentParser:
    """Declare one command; `run` does its work and returns the exit status."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description, formatter_class=HelpFormatter
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def add_file_arguments(
    parser: argparse.ArgumentParser,
    *,
    inputs: str,
    output: str,
    force: str = "replace outputs that exist already",
) -> None:
    """The arguments of every command that turns files into files."""
    parser.add_argument("inputs", nargs="+", metavar="IN", help=inputs)
    parser.add_argument("-o", "--output", metavar="OUT", help=output)
    parser.add_argument("--force", action="count", default=0, help=force)
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each file")


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Which pictures are read, and what of a file."""
    parser.add_argument(
        "--page", type=whole, metavar="N", help="page or frame of files that hold several, from 1"
    )
    parser.add_argument(
        "--max-pixels",
        type=whole,
        metavar="N",
        help="refuse larger pictures before they are decoded (default: 67 million)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="treat warnings as errors: a colour profile that does not fit, damage outside the pixels",
    )


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
        group.add_argument(
            "--engine",
            choices=("auto", "onnx", "torch"),
            default="auto",
            help="library that runs the networks; auto (default): onnxruntime where it can, else torch",
        )
    group.add_argument(
        "--device", default="cpu", help="where the networks run: cpu (default), cuda, cuda:1, mps"
    )
    group.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="precision of the float networks. auto (default): fp32, but bf16 with torch where the hardware "
        "is fast at it. "
        "Files written with either are decoded with either",
    )
    group.add_argument(
        "--threads",
        type=whole,
        metavar="N",
        default=threads,
        help="processor threads (default: as many as there are cores)"
        if threads is None
        else f"default: {threads}",
    )
    group.add_argument(
        "--weights", type=Path, metavar="FILE", help="a model other than the bundled one (.safetensors)"
    )


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
    parser.add_argument(
        "-e",
        "--effort",
        type=effort,
        default=0,
        metavar="N",
        help="0 (one pass, default) to 9: gradient steps for each picture, of up to a megapixel",
    )
    parser.add_argument(
        "--metric-weights",
        type=Path,
        metavar="DIR",
        help="folder with lpips_squeeze.safetensors, by which an effort above 0 also judges the picture "
        "(without it by features of the model's own autoencoder)",
    )


def add_beside_arguments(parser: argparse.ArgumentParser) -> None:
    """What becomes of transparency and of what stands beside the pixels."""
    clear = parser.add_mutually_exclusive_group()
    clear.add_argument(
        "--background",
        type=color,
        metavar="COLOR",
        help="colour under transparent pixels (white, #rrggbb); without one, such pictures are refused",
    )
    clear.add_argument(
        "--keep-alpha",
        action="store_true",
        help="store transparency losslessly: up to a few KB more, which count towards a target",
    )
    parser.add_argument(
        "--keep-icc",
        action="store_true",
        help="store the RGB colour profile in a compact form; the decoded picture has it",
    )
    parser.add_argument(
        "--keep-exif", action="store_true", help="store EXIF (camera, time, place, ...), without its preview"
    )


def kept(args: argparse.Namespace) -> tuple[Keepable, ...]:
    """What the command line asks to keep beside the picture."""
    asked: dict[Keepable, bool] = {"alpha": args.keep_alpha, "icc": args.keep_icc, "exif": args.keep_exif}
    return tuple(name for name, wanted in asked.items() if wanted)


def add_plugin_argument(parser: argparse.ArgumentParser, adds: str) -> None:
    """Declare --plugin; `adds` says what the command takes from one."""
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.py",
        help=f"run this Python file first; it may add {adds} (docs/extending.md)",
    )


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
