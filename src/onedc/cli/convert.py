"""Turn published OneDC checkpoints into one weights file for --weights.

  onedc convert --unet model.safetensors --codec model_1.safetensors --vae sd-vae/ -o paper.safetensors
  onedc encode photo.jpg --weights paper.safetensors

  onedc convert --vae sd-vae/ -o family.safetensors --rate z z/model.safetensors z/model_1.safetensors \\
      --rate 12 a/model.safetensors a/model_1.safetensors --rate 4.6 b/model.safetensors b/model_1.safetensors

The files must hold every expected weight and no others. The adapters of the UNet are merged into it, and the
networks between z and y become integers. Several --rate, lowest rate first, make a family file, which stores
what they share once; -q then chooses among them. Files are read as plain tensors: nothing in them is run.
"""

from __future__ import annotations

import argparse
import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from onedc.cli import arguments as cli
from onedc.cli.jobs import UsageError
from onedc.container.packing import PRIVATE_MODEL_IDS
from onedc.files import refuse_existing

if TYPE_CHECKING:
    from onedc.interop.convert import Published
    from onedc.interop.family import Rate

Z_ONLY = "z"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc convert` takes."""
    files = parser.add_argument_group("published files (safetensors, or PyTorch files of plain tensors)")
    cli.option(files, "--unet FILE", Path, "model.safetensors")
    cli.option(files, "--codec FILE", Path, "model_1.safetensors")
    files.add_argument(
        "--rate",
        nargs=3,
        action="append",
        default=[],
        metavar=("LAMBDA", "UNET", "CODEC"),
        help='one of a family, largest LAMBDA first; "z" is the model that codes z alone, and comes before',
    )
    files.add_argument(
        "--run",
        dest="runs",
        nargs=2,
        action="append",
        default=[],
        metavar=("LAMBDA", "RUN"),
        help="instead of --rate: the folder of a training run of ours, or of one of its checkpoints",
    )
    text = "Stable Diffusion autoencoder in diffusers' format: a file, a folder, or a hub id OWNER/NAME"
    cli.option(files, "--vae PLACE", str, text)
    cli.option(parser, "-o, --output FILE", str, "the weights file to write", required=True)
    cli.add_force(parser, "replace an existing file")
    text = "type of the stored weights (default: bf16)"
    cli.option(parser, "--storage", str, text, choices=("bf16", "fp16", "fp32"), default="bf16")
    cli.switch(parser, "--z-only", "the published model that codes z alone: its files have no y")
    text = "written into .1dc files, 192 (default) to 255"
    cli.option(parser, "--model-id N", int, text, default=PRIVATE_MODEL_IDS.start)
    cli.option(parser, "--lambda L", str, "the model's rate, stored as a note", dest="note", default="")


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    from onedc.interop.convert import Options, convert
    from onedc.interop.family import write_family

    _check(args)
    refuse_existing(args.output, force=args.force)
    models, options, output = _models(args), cli.given(Options, args), Path(args.output)
    if args.runs or args.rate:
        write_family(_rates(args, models), output, options)
    else:
        convert(models[0], output, options)
    print(f"{output}: {os.path.getsize(output):,} bytes, {args.storage}, model id {args.model_id}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for arguments that do not go together."""
    single = (args.unet is not None, args.codec is not None)
    if args.runs:
        if any(single) or args.z_only or args.rate or args.vae:
            raise UsageError("--run has all its networks; leave other files and --z-only away")
        _check_rates("--run", args.runs)
    elif args.vae is None:
        raise UsageError("--vae is missing: name the autoencoder of the published files")
    elif args.rate:
        if any(single) or args.z_only:
            raise UsageError("--rate names the files of each rate; leave --unet, --codec and --z-only away")
        _check_rates("--rate", args.rate)
    elif not all(single):
        raise UsageError("name --unet and --codec, several --rate, or several --run")


def _check_rates(option: str, rates: list[list[str]]) -> None:
    """Raise UsageError unless there are several, lambdas fall, and no place comes twice."""
    if len(rates) < 2:
        raise UsageError(f"{option}: a family needs at least two")
    if any(rate == Z_ONLY for rate, *_ in rates[1:]):
        raise UsageError(f"{option} {Z_ONLY} must come first: it is the lowest")
    try:
        lambdas = [float(rate) for rate, *_ in rates if rate != Z_ONLY]
    except ValueError as error:
        raise UsageError(f"{option}: LAMBDA is a number or {Z_ONLY}: {error}") from error
    for high, low in pairwise(lambdas):
        if not high > low:
            raise UsageError(f"{option} {low:g} after {high:g}: the largest LAMBDA comes first")
    places = [os.path.realpath(place) for _, *own in rates for place in own]
    for place in places:
        if places.count(place) > 1:
            raise UsageError(f"{option}: {place} is named twice")


def _models(args: argparse.Namespace) -> list[Published]:
    """The published models that the arguments name, if any."""
    from onedc.interop.convert import Published
    from onedc.pretrained.places import find_weights

    if args.runs:
        return []
    vae = find_weights(args.vae, "vae")
    if not args.rate:
        return [Published(unet=args.unet, codec=args.codec, vae=vae, rate=args.note, z_only=args.z_only)]
    return [
        Published(unet=Path(unet), codec=Path(codec), vae=vae, rate=rate, z_only=rate == Z_ONLY)
        for rate, unet, codec in args.rate
    ]


def _rates(args: argparse.Namespace, models: list[Published]) -> list[Rate]:
    """The rates of a family, opened: training runs, or else published models."""
    from onedc.interop.family import open_rate, open_run

    if not args.runs:
        return [open_rate(model) for model in models]
    from onedc.train.checkpoint import find_checkpoint

    return [open_run(find_checkpoint(Path(place)), rate) for rate, place in args.runs]
