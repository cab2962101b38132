"""`onedc fit-z`: give a weights file a learned prior of z, fitted to photos."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from onedc.cli.arguments import add_parser
from onedc.cli.jobs import UsageError
from onedc.cli.streams import tell
from onedc.errors import ConfigError
from onedc.files import refuse_existing

_DESCRIPTION = """\
Fit the prior by which a model's z is coded to z of photos, and write the weights with it. Every file that the
new weights write is smaller; pictures stay as they are. Files of the old weights need the old weights.

  onedc fit-z mine.safetensors --data photos/ -o mine-z.safetensors
  onedc fit-z mine.safetensors --data photos/ --latents runs/latents -o mine.safetensors --force
"""


def add_command(commands: Any) -> None:
    """Declare `onedc fit-z`."""
    parser = add_parser(commands, "fit-z", "fit the prior of z to photos", _DESCRIPTION, run)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights file to start from")
    parser.add_argument("--data", required=True, metavar="PLACE", help="photos, as for onedc train")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help="the weights file to write"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument(
        "--latents", default="", metavar="FOLDER", help="data.latent_cache of a training run: saves most time"
    )
    parser.add_argument(
        "--view-px",
        type=int,
        default=512,
        metavar="N",
        help="data.view_px of that run: largest side of the window that is taken of a photo (default: 512)",
    )
    parser.add_argument(
        "--held-out",
        metavar="NAMES",
        help="beginnings of the names, with commas, of photos for the figures only (default: p-00,...,p-07)",
    )
    parser.add_argument("--photos", type=int, default=1500, metavar="N", help="at most (default: 1500)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of all chance (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Fit; returns the exit status."""
    import torch

    from onedc.datasets.sources import open_source
    from onedc.engine.torch_engine import TorchEngine
    from onedc.train.config import HELD_OUT
    from onedc.train.zprior import FitConfig, fit_z_prior
    from onedc.weights.file import read_content, save_changed, weights_of

    held_out = HELD_OUT if args.held_out is None else tuple(filter(None, args.held_out.split(",")))
    try:
        config = FitConfig(
            photos=args.photos, held_out=held_out, view_px=args.view_px, latents=args.latents, seed=args.seed
        )
    except ConfigError as error:
        raise UsageError(f"--{error}") from error
    refuse_existing(args.output, force=args.force)
    content = read_content(args.weights)
    engine = TorchEngine(weights_of(content, args.weights))
    fitted = fit_z_prior(engine, open_source(args.data), config, tell)
    integers = {name: torch.from_numpy(value) for name, value in fitted.integers.items()}
    save_changed(content, args.output, z_prior=integers, force=args.force)
    print(f"{args.output}: {os.path.getsize(args.output):,} bytes; {fitted.summary()}")
    return 0
