"""Writing files whole or not at all.

Knows nothing of pictures or formats.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from onedc.errors import OutputError, refused_as


def write_whole(path: str | os.PathLike[str], data: bytes | Iterable[bytes], *, force: bool = False) -> None:
    """Write `data`, whole or in pieces, to `path`, which afterwards holds all of it or is untouched.

    The bytes go to a hidden file beside the target (".onedc-<random>.part"), reach the disk, and are then
    renamed. A process killed on the way leaves at most that hidden file. A symbolic link stays, and what it
    leads to is written; a file that is replaced passes on its permissions. Pipes and character devices are
    written to as they are.

    Raises:
        OutputError: the file exists and `force` is false, it is something else than a file, or it cannot
            be written.
    """
    name = os.fspath(path)
    pieces = [data] if isinstance(data, bytes) else data
    refuse_existing(name, force=True)
    with refused_as(OutputError, f"{name}: cannot be written"):
        if _is_stream(name):
            with open(name, "wb", buffering=0) as stream:
                for piece in pieces:
                    _write_all(stream.fileno(), piece)
        else:
            _write_file(os.path.realpath(name), pieces, force)


def _write_file(target: str, pieces: Iterable[bytes], force: bool) -> None:
    part = os.path.join(os.path.dirname(target), f".onedc-{os.urandom(8).hex()}.part")
    try:
        with open(part, "xb") as file:
            if force:
                _pass_on_permissions(target, part)
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        _publish(part, target, force)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write to a stream, which may take a part at a time."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _pass_on_permissions(old: str, new: str) -> None:
    """Mode and, where that is allowed, owner of a file that is about to be replaced, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(old)
        if hasattr(os, "chown"):
            with contextlib.suppress(PermissionError):
                os.chown(new, found.st_uid, found.st_gid)
        os.chmod(new, stat.S_IMODE(found.st_mode))


def _is_stream(path: str) -> bool:
    """Is it a pipe or a character device (/dev/null, /dev/fd/63), which holds nothing that could be lost?"""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    import hashlib  # a twentieth of the time that `onedc info` takes, which needs no hash

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder, and those above it, unless it is there. Raises OutputError."""
    with refused_as(OutputError, f"{os.fspath(path)}: the folder cannot be created"):
        os.makedirs(path, exist_ok=True)


def user_cache() -> Path:
    """The folder for what onedc keeps in the user's cache. Raises OutputError where there is no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onedc"
    except RuntimeError as error:
        raise OutputError("there is no home directory; set XDG_CACHE_HOME to a folder") from error


def refuse_existing(path: str | os.PathLike[str], *, force: bool) -> None:
    """Raise OutputError where `path` exists already, unless `force`; cheap, for use before long work.

    Pipes and character devices pass. What else is no file (a folder, a disk, a socket) is refused always.
    """
    name = os.fspath(path)
    if not os.path.exists(name) or _is_stream(name):
        return
    if not os.path.isfile(name):
        raise OutputError(f"{name}: is not a file, and is not replaced by one; name another output")
    if not force:
        raise OutputError(
            f"{name}: exists already; name another output, or replace it with --force (in Python force=True)"
        )


def _publish(part: str, target: str, force: bool) -> None:
    """Give the finished file its name; without `force` in a way that cannot replace another file."""
    if force:
        os.replace(part, target)
        return
    try:
        os.link(part, target)  # unlike a rename it fails where the target exists
    except FileExistsError:
        refuse_existing(target, force=False)
        raise
    except OSError:  # a file system without hard links
        refuse_existing(target, force=False)
        os.replace(part, target)
