"""What the commands on many files share: which file becomes which, bytes in and out, reports.

Knows no codec and no picture.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from onedc.cli.streams import binary_input, check_binary_output, print_error, progress_bar, say, tell
from onedc.datasets.names import by_suffix, outputs, suffix_of
from onedc.errors import OneDCError, OutputError
from onedc.files import make_folder, refuse_existing, write_whole

PIPE = "-"
"""Stands for standard input or output."""
_STANDARD_OUTPUT = frozenset({"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
"""Other names of standard output."""


class UsageError(OneDCError):
    """A command line that makes no sense; exit status 2."""


@dataclass(frozen=True)
class Job:
    """One file to turn into another; either may be "-"."""

    source: str
    target: str


@dataclass(frozen=True)
class Report:
    """What came of a job: a line for people, and fields for programs beside its input and output."""

    text: str
    fields: dict[str, object]


def plan(
    inputs: Sequence[str],
    output: str | None,
    *,
    suffix: str,
    accepted: Collection[str],
    passed: list[str] | None = None,
    hints: Mapping[str, str] | None = None,
) -> list[Job]:
    """Pair each input file with its output.

    Args:
        inputs: files, folders (their files with an `accepted` suffix), glob patterns, or "-" alone.
        output: None: beside each input. For one input a file, or an existing folder; else a folder.
        suffix: of the outputs, where `output` does not say it.
        passed, hints: see `expand`.

    Raises:
        UsageError: nothing to do, two inputs for one output, an output with the suffix of something else, or
            "-" where it cannot be.
    """
    output = PIPE if output in _STANDARD_OUTPUT else output
    sources = [source for entry in inputs for source in expand(entry, accepted, passed, hints)]
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
        jobs = list(map(Job, sources, _targets(sources, output, suffix)))
    check_targets(jobs)
    return jobs


def make_folders(jobs: Iterable[Job]) -> None:
    """Create the folders of the outputs. Raises OutputError."""
    for folder in {os.path.dirname(job.target) or "." for job in jobs if job.target != PIPE}:
        make_folder(folder)


def check_output(job: Job, *, force: bool) -> None:
    """Before the work, refuse a target that exists or cannot take a file. Raises OutputError."""
    if job.target == PIPE:
        check_binary_output()
    else:
        refuse_existing(job.target, force=force)


def read_input(source: str) -> bytes:
    """All bytes of a file or of standard input. Raises OneDCError naming the file."""
    try:
        if source == PIPE:
            return binary_input().read()
        with open(source, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise OneDCError(f"{source}: no such file") from None
    except OSError as error:
        raise OneDCError(f"{source}: cannot be read: {error.strerror}") from error


def write_output(job: Job, data: bytes, *, force: bool) -> None:
    """Write to a file, whole or not at all, or to standard output. Raises OutputError."""
    if job.target == PIPE:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"standard output: {error.strerror or error}") from error
    else:
        write_whole(job.target, data, force=force)


def run_jobs(
    jobs: Sequence[Job], work: Callable[[Job], Report], *, as_json: bool, passed: Sequence[str] = ()
) -> int:
    """Do every job, naming those that fail; return the exit status.

    With `as_json` what was passed over gets its lines too. A line that cannot be told does not end the work.
    """
    if as_json and any(job.target == PIPE for job in jobs):
        raise UsageError("--json and the output file would both go to standard output; use -o FILE")
    told = all(say(json.dumps({"input": path, "passed_over": True})) for path in passed if as_json)
    failed = False
    with progress_bar(len(jobs)) as advance:
        for job in jobs:
            try:
                report = work(job)
            except OneDCError as error:
                print_error(error)
                failed = True
            else:
                if job.target != PIPE and told:
                    fields = {"input": job.source, "output": job.target, **report.fields}
                    told = say(json.dumps(fields) if as_json else report.text)
            advance()
    return 1 if failed or not told else 0


def exit_status(main: Callable[[], None]) -> int:
    """Run a script: 0, or 1 once what went wrong has been told in one line."""
    try:
        main()
    except OneDCError as error:
        print_error(error)
        return 1
    return 0


def expand(
    entry: str,
    accepted: Collection[str],
    passed: list[str] | None = None,
    hints: Mapping[str, str] | None = None,
) -> list[str]:
    """The files that one argument stands for; tells in one line of those in a folder that are passed over.

    Args:
        accepted: suffixes of the files of a folder that are read.
        passed: takes what is passed over.
        hints: what would make files of another suffix readable.

    Raises:
        UsageError: a folder or pattern without any.
    """
    if entry == PIPE:
        return [entry]
    if os.path.isdir(entry):
        with os.scandir(entry) as files:
            entries = sorted(files, key=lambda file: file.path)
        found = [file.path for file in entries if suffix_of(file.name) in accepted and file.is_file()]
        read = set(found)
        others = [file.path for file in entries if file.path not in read]
        if passed is not None:
            passed += others
        if not found:
            raise UsageError(f"{entry}: this folder holds no file to read ({' '.join(sorted(accepted))})")
        if others:
            tell(f"{entry}: passed over {_passed_over(others, hints or {})}")
        return found
    if any(sign in entry for sign in "*?[") and not os.path.exists(entry):
        import glob

        found = sorted(path for path in glob.glob(entry, recursive=True) if os.path.isfile(path))
        if not found:
            raise UsageError(f"{entry}: no file matches")
        return found
    return [entry]


def _passed_over(paths: Sequence[str], hints: Mapping[str, str]) -> str:
    """How many files, of which suffixes, and how many folders, and why."""
    folders = sum(os.path.isdir(path) for path in paths)
    counts = Counter(suffix_of(path) for path in paths if not os.path.isdir(path))
    parts = []
    if counts:
        needed = "".join(f"; {suffix}: {hints[suffix]}" for suffix in sorted(counts) if suffix in hints)
        parts.append(f"{by_suffix(counts)}, whose suffixes are not read here{needed}")
    if folders:
        parts.append(f"{folders} folder{'s' * (folders > 1)}, which only a pattern such as '**/*.png' enters")
    return "; and ".join(parts)


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


def _targets(sources: Sequence[str], folder: str | None, suffix: str) -> list[str]:
    """An output for each input: beside it, or in a folder; two inputs of one stem keep their suffixes."""
    if folder is None:
        return outputs(sources, suffix)
    return outputs([os.path.join(folder, os.path.basename(source)) for source in sources], suffix)


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
