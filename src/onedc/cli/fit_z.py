"""Fit the prior of a model's z to photos, and write the weights with it.

  onedc fit-z mine.safetensors --data photos/ -o mine-z.safetensors
  onedc fit-z mine.safetensors --data photos/ -o mine.safetensors --force

Every file that the new weights write is smaller; pictures stay as they are. Files of the old weights need the
old weights.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from onedc.cli import arguments as cli
from onedc.cli.jobs import UsageError
from onedc.cli.streams import tell
from onedc.errors import ConfigError
from onedc.files import refuse_existing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc fit-z` takes."""
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights file to start from")
    cli.option(parser, "--data PLACE", str, "photos, as for onedc train", required=True)
    cli.option(parser, "-o, --output FILE", Path, "the weights file to write", required=True)
    cli.add_force(parser, "replace existing files")
    text = "largest side of the window that is taken of a photo (default: 512)"
    cli.option(parser, "--view-px N", int, text)
    text = "beginnings of the names, with commas, of photos for the figures only (default: p-00,...,p-07)"
    cli.option(parser, "--held-out NAMES", cli.names, text)
    cli.option(parser, "--photos N", int, "at most (default: 1500)")
    cli.option(parser, "--seed N", int, "seed of all chance (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Fit; returns the exit status."""
    import torch

    from onedc.datasets.photos import open_source
    from onedc.engine.torch_engine import TorchEngine
    from onedc.train.config import HELD_OUT
    from onedc.train.z_prior import FitConfig, fit_z_prior
    from onedc.weights.file import read_content, save_changed, weights_of

    try:
        config = cli.given(FitConfig, args, held_out=HELD_OUT if args.held_out is None else args.held_out)
    except ConfigError as error:
        raise UsageError(f"--{error}") from error
    refuse_existing(args.output, force=args.force)
    content = read_content(args.weights)
    engine = TorchEngine(weights_of(content, args.weights))
    fitted, figures = fit_z_prior(engine, open_source(args.data), config, tell)
    integers = {name: torch.from_numpy(value) for name, value in fitted.items()}
    save_changed(content, args.output, z_prior=integers, force=args.force)
    print(f"{args.output}: {os.path.getsize(args.output):,} bytes; {figures}")
    return 0
