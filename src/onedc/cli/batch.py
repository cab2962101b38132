"""`onedc batch`: whole data sets, encoded or decoded."""

from __future__ import annotations

import argparse
from typing import Any

from onedc.cli.arguments import (
    add_beside_arguments,
    add_effort_arguments,
    add_model_arguments,
    add_parser,
    add_reading_arguments,
    kept,
    number,
    quality,
    whole,
)
from onedc.cli.jobs import UsageError
from onedc.cli.sizes import add_size_arguments
from onedc.cli.streams import print_error, progress_bar, tell

_DESCRIPTION = """\
Encode or decode a whole data set.

  onedc batch photos/ coded/                      every picture below photos/, to coded/
  onedc batch photos/ coded/ --to tar             the same into tar shards of 1000
  onedc batch shards/ coded/ -q 20                tar shards in WebDataset's naming, shard by shard
  onedc batch train.parquet coded/ --column jpg   a column of pictures
  onedc batch photos/ coded/ --target-bytes 340   each shrunk to fit one message
  onedc batch coded/ decoded/ --decode            .1dc files back to PNG
  onedc batch photos/ coded/ --ray                with Ray, on this machine or a cluster

SRC is a folder of files, a folder of .tar, .parquet or .arrow shards, or one such shard. DST gets the results
and manifest.jsonl: a line of JSON with name, output, bytes, width, height, bpp, quality and sha256 for
everything that is done, or with name and error for what cannot be (exit status 1). A run that was
stopped or killed continues when it is started again. Shards keep what else they hold (captions, labels, other
columns) where source and results are of one kind.
"""


def add_command(commands: Any) -> None:
    """Declare `onedc batch`."""
    parser = add_parser(commands, "batch", "encode or decode a whole data set", _DESCRIPTION, run)
    parser.add_argument("source", metavar="SRC", help="folder, or a .tar, .parquet or .arrow file")
    parser.add_argument("target", metavar="DST", help="folder; new, or of an earlier run of the same batch")
    parser.add_argument("--decode", action="store_true", help=".1dc files to PNG")
    parser.add_argument(
        "--to",
        choices=("folder", "tar", "parquet", "arrow"),
        help="form of the results (default: that of the source)",
    )
    spent = parser.add_mutually_exclusive_group()
    spent.add_argument(
        "-q", "--quality", type=quality, metavar="Q", help="0 (smallest) to 100 (default: near 0.1 bpp)"
    )
    spent.add_argument(
        "--target-bytes",
        type=whole,
        metavar="N",
        help="for each picture the highest quality whose file has at most N bytes",
    )
    add_effort_arguments(parser)
    add_beside_arguments(parser)
    add_size_arguments(parser)
    add_reading_arguments(parser)
    parser.add_argument("--column", metavar="NAME", help="column of pictures in Parquet and Arrow files")
    parser.add_argument(
        "--shard-size", type=whole, default=1000, metavar="N", help="files in a shard made of a folder"
    )
    parser.add_argument(
        "--batch-size",
        type=whole,
        metavar="N",
        help="pictures of one padded size that the networks take at a time (default: 1 on the CPU, else 8)",
    )
    parser.add_argument(
        "--readers", type=whole, default=2, metavar="N", help="threads that read files (default 2)"
    )
    _add_ray(parser)
    add_model_arguments(parser, engines=True)


def _add_ray(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Ray")
    group.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on Ray Data: on the cluster at ADDRESS (auto, host:port), or without one on this machine. "
        "Put it after SRC and DST, which all machines must see under the same path",
    )
    group.add_argument(
        "--ray-actors", type=whole, default=1, metavar="N", help="number of actors (default 1)"
    )
    group.add_argument(
        "--ray-cpus", type=number, default=0.5, metavar="X", help="CPUs for each actor (default 0.5)"
    )
    group.add_argument(
        "--ray-gpus", type=number, default=0.0, metavar="X", help="GPUs for each actor (default 0)"
    )


def run(args: argparse.Namespace) -> int:
    """Do what is missing of the batch; returns the exit status."""
    from pathlib import Path

    from onedc.batch.cluster import Cluster
    from onedc.batch.run import Batch
    from onedc.rate import DEFAULT_QUALITY

    if args.decode:
        _check_decode(args)
    cluster = None
    if args.ray is not None:
        cluster = Cluster(
            address=args.ray or None, actors=args.ray_actors, cpus=args.ray_cpus, gpus=args.ray_gpus
        )
    batch = Batch(
        Path(args.source),
        Path(args.target),
        _spec(args, DEFAULT_QUALITY),
        kind=args.to,
        shard_size=args.shard_size,
        column=args.column,
    )
    with progress_bar(len(batch.todo)) as advance:
        summary = batch.run(cluster.outcomes if cluster else None, advance)
    print(f"{summary.done} done, {summary.before} done before; {batch.manifest.path}")
    for note in batch.notes():
        tell(note)
    if summary.errors:
        print_error(f"{summary.errors} could not be done; the manifest says why")
    return 1 if summary.errors else 0


def _check_decode(args: argparse.Namespace) -> None:
    """Raise UsageError for options that decoding has no use for."""
    encoding = args.quality is not None or args.background is not None or kept(args) or args.effort
    sizes = args.target_bytes or args.max_side or args.no_shrink or args.no_check
    reading = args.page or args.max_pixels or args.strict
    if encoding or sizes or reading:
        raise UsageError(
            "--quality, --target-bytes, --max-side, --no-shrink, --no-check, --effort, --background, "
            "--keep-..., --page, --max-pixels and --strict are for encoding, not for --decode"
        )


def _spec(args: argparse.Namespace, default_quality: float) -> Any:
    from onedc.batch.work import Spec
    from onedc.container.packing import DEFAULT_MAX_PIXELS

    return Spec(
        decode=args.decode,
        quality=default_quality if args.quality is None else args.quality,
        target_bytes=args.target_bytes,
        max_side=args.max_side,
        shrink=not args.no_shrink,
        check=not args.no_check,
        effort=args.effort,
        metric_weights=args.metric_weights,
        background=args.background,
        keep=kept(args),
        page=args.page,
        max_pixels=args.max_pixels or DEFAULT_MAX_PIXELS,
        strict=args.strict,
        weights=args.weights,
        device=args.device,
        engine=args.engine,
        precision=args.precision,
        threads=args.threads,
        batch_size=args.batch_size,
        readers=args.readers,
    )
