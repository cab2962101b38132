"""Turn a training checkpoint into a weights file for --weights, with its model card beside it.

  onedc export runs/stage1 -o mine.safetensors
  onedc encode photo.jpg --weights mine.safetensors

Of a run's folder, the best checkpoint is taken, or the last where none was validated. The running mean of the
weights is exported where there is one; the networks between z and y become integers. The file holds ONNX
graphs of the networks too, and so needs no torch to encode and decode; models round Stable Diffusion's
autoencoder have none.

  onedc export old.safetensors -o new.safetensors

Of a weights file, a copy is written with its graphs made anew.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from onedc.cli import arguments as cli
from onedc.cli.jobs import UsageError
from onedc.container.packing import PRIVATE_MODEL_IDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc export` takes."""
    text = "folder of a run or of a checkpoint, or a weights file"
    parser.add_argument("place", type=Path, metavar="RUN", help=text)
    cli.option(parser, "-o, --output FILE", Path, "the weights file to write", required=True)
    cli.add_force(parser, "replace existing files")
    text = "type of the stored weights (default: fp16); int8 keeps the autoencoder in fp16"
    cli.option(parser, "--storage", str, text, choices=("int8", "fp16", "bf16", "fp32"))
    model_id = cli.checked(int, PRIVATE_MODEL_IDS.__contains__, "a private model id, 192 to 255")
    cli.option(parser, "--model-id N", model_id, "written into .1dc files, 192 (default) to 255")


def run(args: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    from onedc.train.checkpoint import find_checkpoint
    from onedc.train.export import CARD_SUFFIX, add_graphs, export_checkpoint

    if args.place.is_file():
        if args.storage or args.model_id:
            raise UsageError("--storage and --model-id are for runs: a weights file keeps its own")
        add_graphs(args.place, args.output, force=args.force)
        print(f"{args.output}: {os.path.getsize(args.output):,} bytes, with new graphs")
        return 0
    checkpoint, model_id = find_checkpoint(args.place), args.model_id or PRIVATE_MODEL_IDS.start
    export_checkpoint(
        checkpoint, args.output, model_id=model_id, storage=args.storage or "fp16", force=args.force
    )
    size = os.path.getsize(args.output)
    print(f"{args.output}: {size:,} bytes from {checkpoint}; card in {args.output}{CARD_SUFFIX}")
    return 0
