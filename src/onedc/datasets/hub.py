"""Datasets in files of tables, on a hub or in a folder: which files there are, how long, and fetching them.

huggingface_hub does the transfers, broken ones go on where they stopped. No images are decoded here.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onedc.datasets.names import suffix_of
from onedc.datasets.tables import open_arrow, pyarrow
from onedc.errors import ConfigError, OneDCError, OutputError, optional

ALIASES = {"commoncatalog": "common-canvas/commoncatalog-cc-by-nd"}
"""Short names of datasets."""

GIB = 1 << 30


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset."""

    name: str  # path within the dataset
    size: int  # bytes


class FolderFiles:
    """Parquet and Arrow files below a folder, but for caches of Hugging Face's library; or one such file."""

    temporary = False  # whether fetched files are copies, which may be deleted

    def __init__(self, place: Path) -> None:
        self.name, self._folder = str(place), place.parent if place.is_file() else place

    def files(self) -> list[DataFile]:
        """All files, by name."""
        place = Path(self.name)
        found = [place] if place.is_file() else place.rglob("*")
        tables = (p for p in found if suffix_of(p.name) in (".parquet", ".arrow") and p.is_file())
        paths = sorted(p for p in tables if p == place or not p.name.startswith("cache-"))
        return [DataFile(p.relative_to(self._folder).as_posix(), p.stat().st_size) for p in paths]

    def rows(self, file: DataFile) -> int:
        """Number of rows, without fetching the file."""
        path = self._folder / file.name
        with one_line(str(path)):
            return parquet_rows(path) if suffix_of(path.name) == ".parquet" else open_arrow(path).num_rows

    def fetch(self, file: DataFile, folder: Path) -> Path:
        """The file on this machine, below `folder` if it has to be brought."""
        return self._folder / file.name


class HubFiles:
    """Parquet files of a dataset OWNER/NAME on the hub, or on a mirror of it (`endpoint`, HF_ENDPOINT)."""

    temporary = True

    def __init__(self, name: str, endpoint: str | None = None) -> None:
        self._hub = optional("huggingface_hub", "train", "huggingface-hub")
        self.name, self._endpoint = ALIASES.get(name, name), endpoint

    def files(self) -> list[DataFile]:
        with one_line(self.name):
            tree = self._hub.HfApi(endpoint=self._endpoint).list_repo_tree(
                self.name, recursive=True, repo_type="dataset"
            )
            found = [DataFile(f.path, f.size) for f in tree if f.path.endswith(".parquet")]
        if not found:
            raise ConfigError(f"{self.name}: a dataset without Parquet files")
        return sorted(found, key=lambda f: f.name)

    def rows(self, file: DataFile) -> int:
        with one_line(f"{self.name}/{file.name}"):
            system = self._hub.HfFileSystem(endpoint=self._endpoint)
            with system.open(f"datasets/{self.name}/{file.name}", "rb", block_size=1 << 16) as remote:
                return parquet_rows(remote)

    def fetch(self, file: DataFile, folder: Path) -> Path:
        with one_line(f"{self.name}/{file.name}"):
            return Path(
                self._hub.hf_hub_download(
                    self.name, file.name, repo_type="dataset", local_dir=folder, endpoint=self._endpoint
                )
            )


DataFiles = FolderFiles | HubFiles
"""The files of a dataset."""


def parquet_rows(file: Any) -> int:
    """Rows that the end of a Parquet file says it has."""
    return int(pyarrow().parquet.read_metadata(file).num_rows)


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Within this context, whatever goes wrong is told in one line that names `what`.

    Raises:
        OutputError: the disk is full.
        ConfigError: the hub has no such dataset.
        OneDCError: the network or a file failed.
    """
    try:
        yield
    except OneDCError:
        raise
    except Exception as error:  # each layer of a transfer has errors of its own
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise OutputError(f"{what}: the disk is full; what has been fetched is kept") from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if type(error).__name__ in ("RepositoryNotFoundError", "HFValidationError"):
            raise ConfigError(f"{what}: no such dataset on the hub ({reason})") from error
        raise OneDCError(f"{what}: cannot be had: {reason}") from error


@dataclass(frozen=True)
class Estimate:
    """What fetching would take."""

    missing: list[DataFile]
    there: int  # files that are there already
    free: int  # bytes on the disk

    @property
    def needed(self) -> int:
        """Bytes still to fetch."""
        return sum(file.size for file in self.missing)


def estimate(files: list[DataFile], folder: Path) -> Estimate:
    """Compare the files of a dataset with those in a folder, by name and size."""
    missing = [f for f in files if not _has(folder, f)]
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    return Estimate(missing, len(files) - len(missing), shutil.disk_usage(existing).free)


def _has(folder: Path, file: DataFile) -> bool:
    path = folder / file.name
    return path.is_file() and path.stat().st_size == file.size


def fetch_all(dataset: DataFiles, plan: Estimate, folder: Path, say: Callable[[str], None]) -> None:
    """Fetch what is missing, file by file.

    Raises:
        OutputError: it does not fit on the disk; nothing has been fetched then.
        OneDCError: a transfer failed; files that are complete stay.
    """
    if plan.needed > plan.free:
        raise OutputError(
            f"{folder}: {plan.needed / GIB:.1f} GiB to fetch, but {plan.free / GIB:.1f} GiB free; "
            "take fewer with --files, or another disk"
        )
    done = 0
    for number, file in enumerate(plan.missing, 1):
        dataset.fetch(file, folder)
        done += file.size
        say(f"{number} of {len(plan.missing)}: {file.name} ({done / GIB:.2f} of {plan.needed / GIB:.2f} GiB)")
