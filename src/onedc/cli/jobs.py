"""What the commands on many files share: which file becomes which, bytes in and out, reports, progress.

Knows no codec and no picture.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from onedc.errors import OneDCError
from onedc.files import make_folder, refuse_existing, write_whole

PIPE = "-"
"""Stands for standard input or output."""
PATIENCE_S = 2.0
"""What takes longer than this tells how far it is."""


class UsageError(OneDCError):
    """A command line that makes no sense; exit status 2."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as our descriptions; asking the terminal would import compression libraries first."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=110)


@dataclass(frozen=True)
class Job:
    """One file to turn into another; either may be "-"."""

    source: str
    target: str


@dataclass(frozen=True)
class Report:
    """What came of a job: a line for people, and fields for programs."""

    text: str
    fields: dict[str, object]


def plan(inputs: Sequence[str], output: str | None, *, suffix: str, accepted: Collection[str]) -> list[Job]:
    """Pair each input file with its output.

    Args:
        inputs: files, folders (their files with an `accepted` suffix), glob patterns, or "-" alone.
        output: None: beside each input. For one input a file, or an existing folder; else a folder.
        suffix: of the outputs, where `output` does not say it.

    Raises:
        UsageError: nothing to do, two inputs for one output, an output with the suffix of something else, or
            "-" where it cannot be.
    """
    sources = [source for entry in inputs for source in expand(entry, accepted)]
    single = len(inputs) == 1 and sources == list(inputs)
    if PIPE in sources and not single:
        raise UsageError("- (standard input) must be the only input")
    if output == PIPE and not single:
        raise UsageError("-o - (standard output) takes one input file")
    if output is not None and not _is_folder(output):
        _check_suffix(output, single=single, suffix=suffix, accepted=accepted)
    if single and output is not None and not _is_folder(output):
        jobs = [Job(sources[0], output)]
    elif single and sources[0] == PIPE:
        if output is not None:
            raise UsageError(f"-o {output} is a folder; standard input has no name, so give a file")
        jobs = [Job(PIPE, PIPE)]
    else:
        jobs = [Job(source, _target(source, output, suffix)) for source in sources]
    check_targets(jobs)
    return jobs


def make_folders(jobs: Iterable[Job]) -> None:
    """Create the folders of the outputs. Raises OutputError."""
    for folder in {os.path.dirname(job.target) or "." for job in jobs if job.target != PIPE}:
        make_folder(folder)


def check_output(job: Job, *, force: bool) -> None:
    """Refuse a target that exists, before the work is done. Raises OutputError."""
    if job.target != PIPE:
        refuse_existing(job.target, force=force)


def read_input(source: str) -> bytes:
    """All bytes of a file or of standard input. Raises OneDCError naming the file."""
    try:
        if source == PIPE:
            return sys.stdin.buffer.read()
        with open(source, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise OneDCError(f"{source}: no such file") from None
    except OSError as error:
        raise OneDCError(f"{source}: cannot be read: {error.strerror}") from error


def write_output(job: Job, data: bytes, *, force: bool) -> None:
    """Write to a file, whole or not at all, or to standard output. Raises OutputError."""
    if job.target == PIPE:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_whole(job.target, data, force=force)


def run_jobs(jobs: Sequence[Job], work: Callable[[Job], Report], *, as_json: bool) -> int:
    """Do every job, naming those that fail; return the exit status."""
    if as_json and any(job.target == PIPE for job in jobs):
        raise UsageError("--json and the output file would both go to standard output; use -o FILE")
    status = 0
    with progress_bar(len(jobs)) as advance:
        for job in jobs:
            try:
                report = work(job)
            except OneDCError as error:
                print_error(error)
                status = 1
            else:
                if job.target != PIPE:
                    print(json.dumps(report.fields) if as_json else report.text, flush=True)
            advance()
    return status


def print_error(error: object) -> None:
    """One line on standard error."""
    print(f"onedc: error: {' '.join(str(error).split())}", file=sys.stderr)


def tell(line: str) -> None:
    """A line of progress on standard error."""
    print(line, file=sys.stderr, flush=True)


def exit_status(main: Callable[[], None]) -> int:
    """Run a script: 0, or 1 once what went wrong has been told in one line."""
    try:
        main()
    except OneDCError as error:
        print_error(error)
        return 1
    return 0


def add_file_arguments(parser: argparse.ArgumentParser, *, inputs: str, output: str) -> None:
    """The arguments of every command that turns files into files."""
    parser.add_argument("inputs", nargs="+", metavar="IN", help=inputs)
    parser.add_argument("-o", "--output", metavar="OUT", help=output)
    parser.add_argument("--force", action="store_true", help="replace outputs that exist already")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each file")


def add_model_arguments(parser: argparse.ArgumentParser, *, threads: int | None = None) -> None:
    """The arguments of every command that runs the networks; `threads` is the default where it matters."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--device", default="cpu", help="where the networks run: cpu (default), cuda, cuda:1, mps"
    )
    group.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of the float networks. auto (default): bf16 where the processor is fast at it. "
        "It never changes what the bits of a file mean",
    )
    group.add_argument(
        "--threads",
        type=whole,
        metavar="N",
        default=threads,
        help="processor threads (default: PyTorch's choice)" if threads is None else f"default: {threads}",
    )
    group.add_argument("--weights", metavar="FILE", help="a model other than the bundled one (.safetensors)")


def whole(text: str) -> int:
    """Parse a whole number above 0 for argparse."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def suffix_of(path: str) -> str:
    """The suffix of a file name in lower case, with its dot."""
    return os.path.splitext(path)[1].lower()


def expand(entry: str, accepted: Collection[str]) -> list[str]:
    """The files that one argument stands for. Raises UsageError for a folder or pattern without any."""
    if entry == PIPE:
        return [entry]
    if os.path.isdir(entry):
        with os.scandir(entry) as files:
            found = sorted(file.path for file in files if suffix_of(file.name) in accepted and file.is_file())
        if not found:
            raise UsageError(f"{entry}: this folder holds no file to read ({' '.join(sorted(accepted))})")
        return found
    if any(sign in entry for sign in "*?[") and not os.path.exists(entry):
        import glob

        found = sorted(path for path in glob.glob(entry, recursive=True) if os.path.isfile(path))
        if not found:
            raise UsageError(f"{entry}: no file matches")
        return found
    return [entry]


def _is_folder(output: str) -> bool:
    return os.path.isdir(output) or output.endswith(("/", os.sep))


def _check_suffix(output: str, *, single: bool, suffix: str, accepted: Collection[str]) -> None:
    """No file's name for the folder of many outputs, and no input's suffix for an output."""
    if not single and suffix_of(output) in {suffix, *accepted}:
        raise UsageError(f"-o {output}: more than one input needs a folder; end its name in / if it is one")
    if single and suffix_of(output) in accepted:
        raise UsageError(
            f"-o {output}: files with this suffix are what is read; the output is a {suffix} file"
        )


def _target(source: str, folder: str | None, suffix: str) -> str:
    parent, name = os.path.split(source)
    return os.path.join(parent if folder is None else folder, os.path.splitext(name)[0] + suffix)


def check_targets(jobs: Iterable[Job]) -> None:
    """No two inputs for one output, and no output over its own input."""
    seen: dict[str, str] = {}
    for job in jobs:
        if job.target == PIPE:
            continue
        key = os.path.normcase(os.path.abspath(job.target))
        if key in seen:
            raise UsageError(f"{seen[key]} and {job.source} would both become {job.target}")
        if job.source != PIPE and key == os.path.normcase(os.path.abspath(job.source)):
            raise UsageError(f"{job.source}: would replace itself; name another output with -o")
        seen[key] = job.source


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[], object]]:
    """A progress bar on standard error for many files on a terminal; yields the function that advances it."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty(), transient=True) as bar:
        task = bar.add_task("files", total=total)
        yield lambda: bar.advance(task)


@contextmanager
def progress_line(what: str, *, shown: bool = True) -> Iterator[Callable[[int, int], object]]:
    """A line on standard error for one long work on a terminal, once it takes over 2 s.

    Yields what is to be told how much is done, of how much.
    """
    started_s, shown = time.monotonic(), shown and sys.stderr.isatty()

    def advance(done: int, total: int) -> None:
        if shown and time.monotonic() - started_s > PATIENCE_S:
            print(f"\r\033[K{what}: step {done} of {total}", end="", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        if shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
