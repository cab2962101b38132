"""Encode or decode a whole data set.

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

from __future__ import annotations

import argparse
from pathlib import Path

from onedc.cli import arguments as cli
from onedc.cli.jobs import UsageError
from onedc.cli.streams import print_error, progress_bar, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc batch` takes."""
    parser.add_argument("source", metavar="SRC", help="folder, or a .tar, .parquet or .arrow file")
    parser.add_argument("target", metavar="DST", help="folder; new, or of an earlier run of the same batch")
    cli.switch(parser, "--decode", ".1dc files to PNG")
    kinds, text = ("folder", "tar", "parquet", "arrow"), "form of the results (default: that of the source)"
    cli.option(parser, "--to", str, text, choices=kinds)
    spent = parser.add_mutually_exclusive_group()
    cli.option(spent, "-q, --quality Q", cli.quality, "0 (smallest) to 100 (default: near 0.1 bpp)")
    text = "for each picture the highest quality whose file has at most N bytes"
    cli.option(spent, "--target-bytes N", cli.whole, text)
    cli.add_encoding_arguments(parser)
    cli.option(parser, "--column NAME", str, "column of pictures in Parquet and Arrow files")
    cli.option(parser, "--shard-size N", cli.whole, "files in a shard made of a folder", default=1000)
    text = "pictures of one padded size that the networks take at a time (default: 1 on the CPU, else 8)"
    cli.option(parser, "--batch-size N", cli.whole, text)
    cli.option(parser, "--readers N", cli.whole, "threads that read files (default 2)", default=2)
    group = parser.add_argument_group("Ray")
    text = (
        "run on Ray Data: on the cluster at ADDRESS (auto, host:port), or without one on this machine. "
        "Put it after SRC and DST, which all machines must see under the same path"
    )
    cli.option(group, "--ray ADDRESS", str, text, nargs="?", const="")
    cli.option(group, "--ray-actors N", cli.whole, "number of actors (default 1)", default=1)
    cli.option(group, "--ray-cpus X", cli.number, "CPUs for each actor (default 0.5)", default=0.5)
    cli.option(group, "--ray-gpus X", cli.number, "GPUs for each actor (default 0)", default=0.0)
    cli.add_model_arguments(parser, engines=True)


def run(args: argparse.Namespace) -> int:
    """Do what is missing of the batch; returns the exit status."""
    from onedc.batch.cluster import Cluster
    from onedc.batch.run import Batch
    from onedc.batch.work import Spec

    if args.decode:
        _check_decode(args)
    work = None
    if args.ray is not None:
        address, gpus = args.ray or None, args.ray_gpus
        work = Cluster(address=address, actors=args.ray_actors, cpus=args.ray_cpus, gpus=gpus).outcomes
    spec, places = cli.given(Spec, args, keep=cli.kept(args)), (Path(args.source), Path(args.target))
    batch = Batch(*places, spec, kind=args.to, shard_size=args.shard_size, column=args.column)
    with progress_bar(len(batch.todo)) as advance:
        summary = batch.run(work, advance)
    print(f"{summary.done} done, {summary.before} done before; {batch.manifest.path}")
    for note in batch.notes():
        tell(note)
    if summary.errors:
        print_error(f"{summary.errors} could not be done; the manifest says why")
    return 1 if summary.errors else 0


def _check_decode(args: argparse.Namespace) -> None:
    """Raise UsageError for options that decoding has no use for."""
    encoding = args.quality is not None or args.background is not None or cli.kept(args) or args.effort
    sizes = args.target_bytes or args.max_side or not (args.shrink and args.check)
    reading = args.page or args.max_pixels or args.strict
    if encoding or sizes or reading:
        raise UsageError(
            "--quality, --target-bytes, --max-side, --no-shrink, --no-check, --effort, --background, "
            "--keep-..., --page, --max-pixels and --strict are for encoding, not for --decode"
        )
