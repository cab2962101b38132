"""Where the members of uncompressed tar shards lie, so that many can be read at random, from many threads.

Knows names and bytes, not what they mean.
"""

from __future__ import annotations

import os
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

    "./a.jpg" and "a.jpg" are one name; of members of one name the last counts, as when tar unpacks them.

    Raises:
        ImageError: not an uncompressed tar.
    """
    try:
        with tarfile.open(shard, "r:") as tar:
            files = [(str(PurePosixPath(m.name)), m.offset_data, m.size) for m in tar if m.isfile()]
    except (tarfile.TarError, OSError) as error:
        raise ImageError(f"{shard} is not an uncompressed tar ({error})") from error
    return {name: Member(shard, offset, size) for name, offset, size in files}


def sample_key(name: str) -> str:
    """WebDataset's naming: the members of one sample share their names up to the first dot."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".")[0])
