"""`onedc export`: a checkpoint of a training run to a weights file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from onedc.cli.arguments import add_parser
from onedc.container.packing import PRIVATE_MODEL_IDS

_DESCRIPTION = """\
Turn a checkpoint into one weights file for --weights, and write its model card beside it.

  onedc export runs/stage1 -o mine.safetensors
  onedc encode photo.jpg --weights mine.safetensors

Of a run's folder, the best checkpoint is taken, or the last where none was validated. The running mean of the
weights is exported where there is one; the networks between z and y become integers.
"""


def add_command(commands: Any) -> None:
    """Declare `onedc export`."""
    parser = add_parser(commands, "export", "a training checkpoint to a weights file", _DESCRIPTION, run)
    parser.add_argument(
        "place", type=Path, metavar="RUN", help="folder of a run, or of one of its checkpoints"
    )
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help="the weights file to write"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument(
        "--storage",
        choices=("int8", "fp16", "bf16", "fp32"),
        default="fp16",
        help="type of the stored weights (default: fp16); int8 keeps the autoencoder in fp16",
    )
    parser.add_argument(
        "--model-id",
        type=_model_id,
        default=PRIVATE_MODEL_IDS.start,
        metavar="N",
        help="written into .1dc files, 192 (default) to 255",
    )


def _model_id(text: str) -> int:
    if not (text.isdecimal() and int(text) in PRIVATE_MODEL_IDS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a private model id, 192 to 255")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    from onedc.train.checkpoint import find_checkpoint
    from onedc.train.export import CARD_SUFFIX, export_checkpoint

    checkpoint = find_checkpoint(args.place)
    export_checkpoint(checkpoint, args.output, model_id=args.model_id, storage=args.storage, force=args.force)
    size = os.path.getsize(args.output)
    print(f"{args.output}: {size:,} bytes from {checkpoint}; card in {args.output}{CARD_SUFFIX}")
    return 0
