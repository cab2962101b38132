"""Bringing published files to this machine, by the table's addresses or from a place of the caller's choice.

Files from plain addresses are kept beside the networks until they are converted; those of a model hub are in
the hub's own cache.
"""

from __future__ import annotations

import hashlib
import shutil
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from onedc.errors import OneDCError, OutputError, WeightsError
from onedc.files import make_folder, write_whole
from onedc.pretrained.conversion import convert_network
from onedc.pretrained.places import from_hub
from onedc.pretrained.table import MB, Network, Source

CHUNK = 1 << 20
TIMEOUT_S = 60
DOWNLOADS = "downloads"
"""Folder of fetched files within that of the networks."""

Say = Callable[[str], object]


def fetch_network(network: Network, folder: Path, say: Say, place: str = "") -> tuple[Path, tuple[str, ...]]:
    """Fetch a network's published files and convert them; what was fetched before is not fetched again.

    For networks of a hub, `place` may be a hub id or folder instead of the table's. Returns the file in
    `folder`, and what is worth telling of its sources.

    Raises:
        OutputError: no room, or it cannot be written.
        WeightsError: the hub does not have it, or what came is not that network.
        OneDCError: a transfer failed.
    """
    _check_room(network, folder)
    if place:
        return convert_network(network, [place], folder)
    files = [_fetch_source(source, folder / DOWNLOADS, say) for source in network.sources]
    return convert_network(network, files, folder)


def _check_room(network: Network, folder: Path) -> None:
    """Refuse what does not fit: the published file and ours lie side by side for a while."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free, needed = shutil.disk_usage(existing).free, 2 * network.size
    if needed > free:
        raise OutputError(
            f"{folder}: {network.name} takes {needed / MB:.0f} MB to fetch and convert, "
            f"{free / MB:.0f} MB are free"
        )


def _fetch_source(source: Source, folder: Path, say: Say) -> str:
    """A published file on this machine, or the hub id of a folder in diffusers' layout."""
    if "://" not in source.place:
        if len(source.inside) != 1 or "." not in Path(source.inside[0]).name:
            return source.place
        say(f"{source.place}: {Path(source.inside[0]).name}, {source.size / MB:.0f} MB")
        found = from_hub(source.place, source.inside[0])
        if found is None:
            raise WeightsError(f"{source.place}: holds no {source.inside[0]}")
        return str(found)
    path = folder / urllib.parse.urlsplit(source.place).path.rpartition("/")[2]
    if not path.is_file():
        say(f"{source.place}: {source.size / MB:.1f} MB")
        make_folder(folder)
        write_whole(path, _download(source, say))
    return str(path)


def _download(source: Source, say: Say) -> Iterator[bytes]:
    """The bytes of an address; the last of them come only if all have the hash that the table knows."""
    digest, done, told = hashlib.sha256(), 0, 0
    try:
        with urllib.request.urlopen(source.place, timeout=TIMEOUT_S) as reply:
            while piece := reply.read(CHUNK):
                digest.update(piece)
                done += len(piece)
                if done - told >= 100 * MB:
                    told = done
                    say(f"{source.place}: {done / MB:.0f} of {source.size / MB:.0f} MB")
                yield piece
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise OneDCError(f"{source.place}: cannot be fetched: {reason}") from error
    found = digest.hexdigest()
    if not found.startswith(source.sha256):
        raise WeightsError(
            f"{source.place}: unexpected file: sha256 {found[:12]}, expected {source.sha256[:12]}"
        )
