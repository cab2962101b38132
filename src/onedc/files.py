"""Writing files whole or not at all.

Knows nothing of pictures or formats.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from onedc.errors import OutputError


def write_whole(path: str | os.PathLike[str], data: bytes | Iterable[bytes], *, force: bool = False) -> None:
    """Write `data`, whole or in pieces, to `path`, which afterwards holds all of it or is untouched.

    The bytes go to a hidden file beside the target (".onedc-<random>.part"), reach the disk, and are then
    renamed. A process killed on the way leaves at most that hidden file.

    Raises:
        OutputError: the file exists and `force` is false, it is something else than a file, or it cannot
            be written.
    """
    target = os.fspath(path)
    part = os.path.join(os.path.dirname(target), f".onedc-{os.urandom(8).hex()}.part")
    try:
        try:
            with open(part, "xb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            _publish(part, target, force)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder, and those above it, unless it is there. Raises OutputError."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{os.fspath(path)}: cannot be made a folder: {error.strerror or error}") from error


def user_cache() -> Path:
    """The folder for what onedc keeps in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onedc"


def refuse_existing(path: str | os.PathLike[str], *, force: bool) -> None:
    """Raise OutputError where `path` exists already, unless `force`; cheap, for use before long work.

    What is no file (a folder, /dev/null, a pipe) is never replaced by one.
    """
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OutputError(f"{path}: is not a file, and is not replaced by one; name another output")
    if not force and os.path.lexists(path):
        raise OutputError(f"{path}: exists already; use --force (in Python force=True) to replace it")


def _publish(part: str, target: str, force: bool) -> None:
    """Give the finished file its name; without `force` in a way that cannot replace another file."""
    if force:
        refuse_existing(target, force=True)
        os.replace(part, target)
        return
    try:
        os.link(part, target)  # unlike a rename it fails where the target exists
    except FileExistsError:
        refuse_existing(target, force=False)
    except OSError:  # a file system without hard links
        refuse_existing(target, force=False)
        os.replace(part, target)
