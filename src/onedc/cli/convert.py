"""`onedc convert`: published checkpoints of the paper's model to one weights file of ours."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from onedc.cli.jobs import HelpFormatter
from onedc.files import refuse_existing

_DESCRIPTION = """\
Turn published OneDC checkpoints into one weights file for --weights.

  onedc convert --unet model.safetensors --codec model_1.safetensors --vae sd-vae/ -o paper.safetensors
  onedc encode photo.jpg --weights paper.safetensors

Every weight of the three files must be there and be known. The adapters of the UNet are merged into it, and
the networks between z and y become integers; --measure says what that costs on pictures of yours. Files are
read as plain tensors: nothing in them is ever run.
"""


def add_command(commands: Any) -> None:
    """Declare `onedc convert`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert",
        help="published checkpoints to a weights file",
        description=_DESCRIPTION,
        formatter_class=HelpFormatter,
    )
    files = parser.add_argument_group("published files (safetensors, or PyTorch files of plain tensors)")
    files.add_argument("--unet", required=True, type=Path, metavar="FILE", help="model.safetensors")
    files.add_argument("--codec", required=True, type=Path, metavar="FILE", help="model_1.safetensors")
    files.add_argument(
        "--vae",
        required=True,
        metavar="PLACE",
        help="Stable Diffusion autoencoder in diffusers' format: a file, a folder, or a hub id OWNER/NAME",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the weights file to write")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    _add_options(parser)
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--storage", choices=("bf16", "fp16", "fp32"), default="bf16", help="of the weights (default: bf16)"
    )
    parser.add_argument(
        "--z-only", action="store_true", help="the published model that codes z alone: its files have no y"
    )
    parser.add_argument(
        "--model-id", type=int, default=192, metavar="N", help="written into .1dc files, 192 (default) to 255"
    )
    parser.add_argument("--lambda", dest="rate", metavar="L", help="the model's rate, kept as a note")
    parser.add_argument(
        "--keep-time", action="store_true", help="keep the time embeddings, which are constant, as layers"
    )
    parser.add_argument(
        "--measure", nargs="+", default=(), metavar="IMAGE", help="pictures to measure the integers' cost on"
    )


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    from onedc.image import read_image
    from onedc.interop.convert import Options, Published, convert, read_published
    from onedc.interop.hub import find_vae
    from onedc.interop.seam_cost import measure_seam

    refuse_existing(args.output, force=args.force)
    pictures = [read_image(name) for name in args.measure]
    published = Published(unet=args.unet, codec=args.codec, vae=find_vae(args.vae))
    options = Options(
        storage=args.storage,
        fold_time=not args.keep_time,
        z_only=args.z_only,
        model_id=args.model_id,
        rate=args.rate,
    )
    convert(published, Path(args.output), options)
    print(f"{args.output}: {os.path.getsize(args.output):,} bytes, {args.storage}, model id {args.model_id}")
    if pictures and not args.z_only:
        cost = measure_seam(*read_published(published, options), pictures)
        print(
            f"y of {len(pictures)} pictures: {cost.float_bytes} bytes with floats, {cost.integer_bytes} with "
            f"integers ({cost.percent:+.3f} %)"
        )
    return 0
