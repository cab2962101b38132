"""The memory of a batch: what it was asked to do, and a line of JSON for everything that is done.

Lines are only ever appended, so that a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from onedc.errors import ConfigError, OutputError, refused_as
from onedc.files import write_whole

MANIFEST_FILE = "manifest.jsonl"
SETTINGS_FILE = "batch.json"


def settle(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make `folder` the place of a batch with these settings, or check that it is one.

    Raises:
        ConfigError: it was started with other settings.
        OutputError: it holds something else, or cannot be written.
    """
    path = folder / SETTINGS_FILE
    with refused_as(OutputError, f"{folder}: cannot be used"):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            if any(not name.name.startswith(".onedc-") for name in folder.iterdir()):
                raise OutputError(f"{folder}: is not empty and holds no batch; name a new folder")
            write_whole(path, json.dumps(settings, indent=1).encode() + b"\n")
        text = path.read_bytes()
    try:
        earlier = json.loads(text)
    except ValueError as error:
        raise OutputError(f"{path}: damaged; name a new folder") from error
    for key in settings | earlier:
        if earlier.get(key) != settings.get(key):
            raise ConfigError(
                f"{folder}: was started with {key} {earlier.get(key)!r}, not {settings.get(key)!r}; "
                "use the same or name a new folder"
            )


class Manifest:
    """The open manifest of a batch. One process at a time may hold it.

    Raises:
        OutputError: another process holds it, or it cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST_FILE
        self.names: set[str] = set()
        self.errors = 0
        with refused_as(OutputError, f"{self.path}: cannot be used"):
            self._file = open(self.path, "a+b")  # noqa: SIM115
        try:
            self._lock()
            self._read()
        except BaseException:
            self.close()
            raise

    @property
    def done(self) -> int:
        """How many lines are of something that was done."""
        return len(self.names) - self.errors

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Add a line for each record; they are on disk when this returns. Raises OutputError."""
        with refused_as(OutputError, f"{self.path}: cannot be written"):
            for record in records:
                self._count(record)
                self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _lock(self) -> None:
        if sys.platform == "win32":  # has no such locks
            return
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{self.path}: another batch is at work in this folder") from error

    def _read(self) -> None:
        """Take in the lines that are there, and cut off one that a kill has torn."""
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                record = json.loads(line)
                if not line.endswith(b"\n"):
                    break
                self._count(record)
            except (ValueError, KeyError, TypeError) as error:
                if not line.endswith(b"\n"):
                    break
                raise OutputError(f"{self.path}: a line of it is damaged; correct or delete it") from error
            whole += len(line)
        self._file.truncate(whole)

    def _count(self, record: Mapping[str, Any]) -> None:
        self.names.add(record["name"])
        self.errors += "error" in record
