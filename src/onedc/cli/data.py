"""Fetch a dataset of Parquet files for `onedc train`.

  onedc data fetch commoncatalog --to catalog/ --files 10 --estimate
  onedc data fetch commoncatalog --to catalog/ --files 10
  onedc train small-stage1 --data stream:catalog/ --nets nets/ --out runs/small

Says first how much there is to fetch and how much room there is. Interrupted, the same command goes on where
it was. HF_ENDPOINT names another hub, HF_TOKEN a token. `--data stream:OWNER/NAME` trains without all of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from onedc.cli import arguments as cli


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `onedc data` takes."""
    parser.add_argument("action", choices=["fetch"], help="what to do")
    parser.add_argument("dataset", metavar="DATASET", help='"commoncatalog", or OWNER/NAME on the hub')
    parser.add_argument("--to", metavar="FOLDER", type=Path, required=True, help="where the files go")
    parser.add_argument("--files", metavar="N", type=cli.whole, help="the first N files only")
    parser.add_argument("--estimate", action="store_true", help="say what it takes and stop")


def run(args: argparse.Namespace) -> int:
    """Fetch; returns the exit status."""
    from onedc.datasets.hub import GIB, HubFiles, estimate, fetch_all

    dataset = HubFiles(args.dataset)
    plan = estimate(dataset.files()[: args.files], args.to)
    print(
        f"{dataset.name}: {len(plan.missing)} files, {plan.needed / GIB:.2f} GiB to fetch; "
        f"{plan.there} files are there; {plan.free / GIB:.1f} GiB free at {args.to}"
    )
    if not args.estimate:
        fetch_all(dataset, plan, args.to, print)
    return 0
