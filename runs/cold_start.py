"""Where the time of a cold `onedc encode PICTURE` goes: processor and wall seconds, medians over processes.

    python runs/cold_start.py examples/photo.webp --runs 5 --threads 1
    python runs/cold_start.py photo12mp.jpg --target-bytes 157 --threads 2

Wall seconds are longer than processor seconds where other programs take the processor. `onedc bench` parts
the last stage, encoding, into its networks and the entropy coder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

Seconds = tuple[float, float]  # of the processor, on the wall


def stages(picture: str, threads: int, target_bytes: int | None) -> dict[str, Seconds]:
    """One encode in this process, which is to be a new one, stage by stage."""
    taken: dict[str, Seconds] = {}
    last = [0.0, time.perf_counter()]

    def mark(name: str) -> None:
        now = [time.process_time(), time.perf_counter()]
        taken[name] = now[0] - last[0], now[1] - last[1]
        last[:] = now

    from onedc.image import read_picture
    from onedc.image.shrink import Size
    from onedc.loading import load

    mark("python and imports")
    codec = load(threads=threads)
    mark("weights")
    size = Size(target_bytes=target_bytes)
    loaded = size.of(read_picture(picture, draft=size.longer))
    mark("picture")
    if target_bytes is None:
        codec.encode(loaded)
    else:
        codec.encode_to_size(loaded, target_bytes)
    mark("encoding")
    return taken


def whole(picture: str, threads: int, target_bytes: int | None) -> Seconds:
    """The command as its users run it."""
    with tempfile.TemporaryDirectory() as folder:
        argv = ["encode", picture, "-o", str(Path(folder) / "out.1dc"), "--threads", str(threads)]
        argv += [] if target_bytes is None else ["--target-bytes", str(target_bytes)]
        before, started_s = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "onedc", *argv], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
    processor_s = after.children_user + after.children_system - before.children_user - before.children_system
    return processor_s, time.perf_counter() - started_s


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Where the time of a cold encode goes.")
    parser.add_argument("picture")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--target-bytes", type=int, help="of the file, in place of the default quality")
    parser.add_argument("--stages", action="store_true", help="one run in this process")
    args = parser.parse_args()
    if args.stages:
        print(json.dumps(stages(args.picture, args.threads, args.target_bytes)))
        return
    runs: list[dict[str, Seconds]] = []
    for _ in range(args.runs):
        command = [sys.executable, __file__, args.picture, "--stages", "--threads", str(args.threads)]
        command += [] if args.target_bytes is None else ["--target-bytes", str(args.target_bytes)]
        parts = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        runs.append({**parts, "whole command": whole(args.picture, args.threads, args.target_bytes)})
    print("| stage | processor s | wall s |\n|---|---|---|")
    for name in runs[0]:
        processor_s, wall_s = (statistics.median(run[name][kind] for run in runs) for kind in (0, 1))
        print(f"| {name} | {processor_s:.2f} | {wall_s:.2f} |")


if __name__ == "__main__":
    main()
