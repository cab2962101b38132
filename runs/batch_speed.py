"""Pictures per second of `onedc batch`, of a loop in one process and of a process each, on the same pictures.

    python runs/batch_speed.py photos/ --rounds 10 --singles 20 --threads 1

Rounds of equal size take turns between the three, so that other programs disturb all alike; process starts
count. `--singles` of each round's pictures get a process of their own. Ratios are of wall seconds for
a picture, over those of `onedc batch`: the median over rounds, and their range.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from onedc.cli.jobs import exit_status
from onedc.errors import ImageError
from onedc.image import READABLE_SUFFIXES

WAYS = {
    "batch": "`onedc batch photos/ coded/`",
    "loop": "`onedc encode photos/ -o coded/`: a loop in one process",
    "each": "`onedc encode photo.jpg`: a process for each",
}
Cost = tuple[int, float, float]  # pictures, wall seconds, processor seconds


def timed(pictures: int, commands: Iterable[list[str]]) -> Cost:
    """What `onedc` commands cost, one after the other."""
    before, started_s = os.times(), time.perf_counter()
    for command in commands:
        subprocess.run([sys.executable, "-m", "onedc", *command], check=True, stdout=subprocess.DEVNULL)
    wall_s, after = time.perf_counter() - started_s, os.times()
    user_s, system_s = (
        after.children_user - before.children_user,
        after.children_system - before.children_system,
    )
    return pictures, wall_s, user_s + system_s


def one_round(photos: list[Path], singles: list[Path], options: list[str]) -> dict[str, Cost]:
    """The same photos in three ways."""
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch, "photos"), Path(scratch, "out")
        source.mkdir()
        out.mkdir()
        for photo in photos:
            shutil.copy(photo, source)
        each = [["encode", str(photo), "-o", f"{out}/{photo.stem}.1dc", *options] for photo in singles]
        return {
            "batch": timed(len(photos), [["batch", str(source), f"{out}/batch", *options]]),
            "loop": timed(len(photos), [["encode", str(source), "-o", f"{out}/loop", *options]]),
            "each": timed(len(singles), each),
        }


def table(rounds: list[dict[str, Cost]]) -> str:
    """Totals and paired ratios."""
    lines = [
        "| command | photos | photos per second | processor seconds each | time for a photo over batch's |"
    ]
    lines.append("|---|---|---|---|---|")
    for way, command in WAYS.items():
        pictures, wall_s, processor_s = (
            sum(numbers) for numbers in zip(*(r[way] for r in rounds), strict=True)
        )
        ratios = [(r[way][1] / r[way][0]) / (r["batch"][1] / r["batch"][0]) for r in rounds]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        numbers = f"{pictures} | {pictures / wall_s:.2f} | {processor_s / pictures:.2f}"
        lines.append(f"| {command} | {numbers} | {'1' if way == 'batch' else spread} |")
    return "\n".join(lines)


def main() -> None:
    """Print a line for each round, then the table."""
    parser = argparse.ArgumentParser(
        description="Speed of onedc batch, a loop, and a process for each picture."
    )
    parser.add_argument("photos", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=10, metavar="N")
    parser.add_argument("--singles", type=int, default=20, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    args = parser.parse_args()
    photos = sorted(path for path in args.photos.iterdir() if path.suffix.lower() in READABLE_SUFFIXES)
    if len(photos) < args.rounds:
        raise ImageError(f"{args.photos}: {len(photos)} photos for {args.rounds} rounds")
    size, chance = len(photos) // args.rounds, random.Random(0)
    rounds = []
    for start in range(0, size * args.rounds, size):
        part = photos[start : start + size]
        singles = chance.sample(part, min(args.singles, size))
        rounds.append(one_round(part, singles, ["--threads", str(args.threads)]))
        print({way: f"{wall_s:.1f} s" for way, (_, wall_s, _) in rounds[-1].items()}, flush=True)
    print(table(rounds))


if __name__ == "__main__":
    sys.exit(exit_status(main))
