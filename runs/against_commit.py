"""How many times as fast is a second checkout? `onedc encode` and `decode` in both, by turns.

    git worktree add ../before COMMIT
    python runs/against_commit.py ../before . examples/photo.webp examples/photo.webp@4032x3024 --pairs 7

A checkout runs by its own `.venv` where it has one, else by this Python with its `src` in front. In each pair
one runs right behind the other, the first by turns, so that what else the machine does falls on both. A ratio
is the median of the pairs', with the least and the largest. "command" is a new process each, with its peak
resident memory; "warm" is a call within a process that has run it before. PICTURE@WIDTHxHEIGHT is the picture
resized. Each checkout decodes its own files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

DIRECTIONS = ("encode", "decode")
SIDES = ("before", "after")


@dataclass(frozen=True)
class Run:
    """One encode or decode; memory is that of a whole process, missing where it does more than this."""

    wall_s: float
    processor_s: float
    peak_mb: float | None = None


@dataclass(frozen=True)
class Checkout:
    """A clone of the repository and how its Python is started."""

    folder: Path
    python: str
    environment: dict[str, str]

    @classmethod
    def at(cls, folder: Path) -> Checkout:
        """A clone with its own environment, or with this Python's."""
        own = folder / ".venv" / "bin" / "python"
        if not (folder / "src" / "onedc").is_dir():
            sys.exit(f"{folder}: no checkout of onedc, it has no src/onedc")
        environment = {**os.environ, "PYTHONPATH": str((folder / "src").resolve())}
        return cls(folder, str(own if own.exists() else sys.executable), environment)

    def command(self, direction: str, source: Path, target: Path, options: list[str]) -> Run:
        """Run `onedc encode` or `decode` in a new process."""
        argv = [self.python, "-m", "onedc", direction, str(source), "-o", str(target), "--force", *options]
        started_s = time.perf_counter()
        with subprocess.Popen(
            argv, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            complaint = process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - started_s
        if process.returncode:
            sys.exit(f"{' '.join(argv)}: {complaint.strip()}")
        unit = 1 if sys.platform == "darwin" else 1024
        return Run(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6)

    @contextmanager
    def warm(self, threads: int | None) -> Iterator[Callable[[str, Path], Run]]:
        """A process with the codec in it; yields the function that has it encode or decode a file once."""
        argv = [self.python, __file__, "--serve", str(threads or 0)]
        with subprocess.Popen(
            argv, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            stdin, stdout = process.stdin, process.stdout

            def call(direction: str, source: Path) -> Run:
                print(json.dumps([direction, str(source)]), file=stdin, flush=True)
                line = stdout.readline()
                if not line:
                    sys.exit(f"{self.folder}: {direction} {source} failed")
                return Run(*json.loads(line))

            yield call
            stdin.close()


def serve(threads: int) -> None:
    """What the process of `Checkout.warm` does: a line in, wall and processor seconds out."""
    import onedc

    codec = onedc.load(threads=threads or None)
    for line in sys.stdin:
        direction, source = json.loads(line)
        data = Path(source).read_bytes()
        before = time.perf_counter(), time.process_time()
        if direction == "encode":
            codec.encode(data)
        else:
            codec.decode(data, max_pixels=1 << 40)
        print(json.dumps([time.perf_counter() - before[0], time.process_time() - before[1]]), flush=True)


Runs = dict[str, list[Run]]
"""By side."""


def by_turns(calls: Mapping[str, Callable[[], Run]], pairs: int) -> Runs:
    """Call both sides `pairs` times, the one that begins by turns."""
    runs: Runs = {side: [] for side in SIDES}
    for pair in range(pairs):
        for side in SIDES if pair % 2 == 0 else reversed(SIDES):
            runs[side].append(calls[side]())
    return runs


def measure(
    checkouts: dict[str, Checkout], picture: Path, folder: Path, args: argparse.Namespace
) -> dict[str, Runs]:
    """The runs of one picture, by "encode, command" and so on; the files stay in the folder."""
    options = ["--threads", str(args.threads)] if args.threads else []
    files = {side: folder / f"{picture.stem}-{side}.1dc" for side in SIDES}
    sources = {"encode": dict.fromkeys(SIDES, picture), "decode": files}
    targets = {"encode": files, "decode": {side: folder / f"{side}.png" for side in SIDES}}
    found: dict[str, Runs] = {}
    for direction in DIRECTIONS:
        calls = {
            side: partial(
                checkouts[side].command,
                direction,
                sources[direction][side],
                targets[direction][side],
                options,
            )
            for side in SIDES
        }
        found[f"{direction}, command"] = by_turns(calls, args.pairs)
    with checkouts["before"].warm(args.threads) as before, checkouts["after"].warm(args.threads) as after:
        for direction in DIRECTIONS:
            warm = {
                "before": partial(before, direction, sources[direction]["before"]),
                "after": partial(after, direction, sources[direction]["after"]),
            }
            by_turns(warm, 1)
            found[f"{direction}, warm"] = by_turns(warm, args.pairs)
    return found


def row(name: str, what: str, runs: Runs) -> str:
    """A line of the table."""
    walls, processor = (
        {side: [getattr(run, kind) for run in runs[side]] for side in SIDES}
        for kind in ("wall_s", "processor_s")
    )
    cells = [f"{median(walls[side]):.3f}" for side in SIDES]
    for of in (walls, processor):
        ratios = sorted(b / a for b, a in zip(of["before"], of["after"], strict=True))
        cells.append(f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    for side in SIDES:
        peaks = [run.peak_mb for run in runs[side] if run.peak_mb is not None]
        cells.append(f"{max(peaks):.0f}" if peaks else "")
    return "| " + " | ".join([name, what, *cells]) + " |"


def prepared(entry: str, folder: Path) -> Path:
    """The picture of a PICTURE or PICTURE@WIDTHxHEIGHT; one that is resized is put into the folder."""
    path, _, size = entry.partition("@")
    if not Path(path).is_file():
        sys.exit(f"{path}: no such file")
    if not size:
        return Path(path)
    from PIL import Image

    width, height = (int(side) for side in size.split("x"))
    target = folder / f"{Path(path).stem}-{size}.png"
    with Image.open(path) as image:
        image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(target)
    return target


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE[@WxH]")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of each process")
    parser.add_argument("-o", "--output", type=Path, help="all runs as JSON")
    args = parser.parse_args()
    checkouts = {side: Checkout.at(getattr(args, side)) for side in SIDES}
    folder, everything = Path(tempfile.mkdtemp()), {}
    print("| picture | what | before s | after s | wall ratio | processor ratio | before MB | after MB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    try:
        for entry in args.pictures:
            found = measure(checkouts, prepared(entry, folder), folder, args)
            for what, runs in found.items():
                print(row(Path(entry).name, what, runs), flush=True)
            everything[entry] = {
                what: {side: [asdict(run) for run in runs[side]] for side in SIDES}
                for what, runs in found.items()
            }
    finally:
        shutil.rmtree(folder)
    if args.output is not None:
        args.output.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
