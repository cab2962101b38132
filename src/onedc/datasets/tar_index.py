"""Where the members of uncompressed tar shards lie, so that many can be read at random, from many threads.

Knows names and bytes, not what they mean: `photos.py` makes pictures of them.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onedc.errors import ImageError


@dataclass(frozen=True, slots=True)
class Member:
    """Where the bytes of one member of a tar lie."""

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The member's bytes."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def members(shard: Path) -> dict[str, Member]:
    """A shard's files by name, in its order.

    As tar unpacks them: "./a.jpg" and "a.jpg" are one name, of members of one name the last counts, a link
    (tar writes one for the second name of a file) is the file that it leads to.

    Raises:
        ImageError: not an uncompressed tar.
    """
    try:
        with tarfile.open(shard, "r:") as tar:
            entries = {str(PurePosixPath(entry.name)): entry for entry in tar}
    except (tarfile.TarError, OSError) as error:
        raise ImageError(f"{shard} is not an uncompressed tar ({error})") from error
    found = {}
    for name, entry in entries.items():
        file = entries.get(_target(name, entry), entry)
        if file.isfile():
            found[name] = Member(shard, file.offset_data, file.size)
    return found


def _target(name: str, entry: tarfile.TarInfo) -> str:
    """The name of the member whose bytes a member has."""
    if entry.issym():
        return posixpath.normpath(posixpath.join(posixpath.dirname(name), entry.linkname))
    return posixpath.normpath(entry.linkname) if entry.islnk() else name


def sample_key(name: str) -> str:
    """WebDataset's naming: the members of one sample share their names up to the first dot."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".")[0])
