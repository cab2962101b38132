"""A codec that ran elsewhere: folders of pictures that it decoded, one for each rate, and its files' sizes.

Pictures are found by their names; everything else about them is measured as for the other codecs.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from onedc.errors import ConfigError
from onedc.evaluation.codecs import BaselineError, Coded, EvaluatedCodec, Original
from onedc.files import file_sha256
from onedc.image import READABLE_SUFFIXES, read_image


class Reconstructions(EvaluatedCodec):
    """Decoded pictures and file sizes of a codec that runs elsewhere; its settings count the folders."""

    setting_name = "folder"

    def __init__(self, name: str, folders: Sequence[Path], sizes: Sequence[Path]) -> None:
        """Find the pictures in each folder, and their files' bytes in its CSV. Raises ConfigError."""
        self.name, self.identity = name, f"{name}, decoded elsewhere"
        self.ladder = range(len(folders))
        self.files = [_pictures(folder) for folder in folders]
        self.bytes = [_read_sizes(path) for path in sizes]

    def coded(self, original: Original, setting: float, folder: Path) -> Coded:
        return Coded(self.size_of(original, setting), read_image(self._file(original, setting)))

    def size_of(self, original: Original, setting: float) -> int:
        sizes = self.bytes[int(setting)]
        if original.stem not in sizes:
            raise BaselineError(f"{self.name}: no size for {original.stem}")
        return sizes[original.stem]

    def version(self, original: Original, setting: float) -> str:
        """Hash of the decoded picture's file, and its size."""
        digest = file_sha256(self._file(original, setting))
        return f"{digest} {self.size_of(original, setting)}"

    def _file(self, original: Original, setting: float) -> Path:
        files = self.files[int(setting)]
        if original.stem not in files:
            raise BaselineError(f"{self.name}: no reconstruction named {original.stem}")
        return files[original.stem]


def unused(folders: Sequence[Path], images: Sequence[Path]) -> list[str]:
    """A line for each folder with pictures that are of none of the images. Raises ConfigError."""
    stems, lines = {image.stem for image in images}, []
    for folder in folders:
        extra = sorted(set(_pictures(folder)) - stems)
        if extra:
            named = ", ".join(extra[:3]) + (", ..." if len(extra) > 3 else "")
            lines.append(f"{folder}: not used, of none of the images given: {named}")
    return lines


def folder_labels(folders: Sequence[Path]) -> list[str]:
    """What tables call the folders: their names, or where two share one, their whole paths."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [folder.as_posix() for folder in folders]


def _pictures(folder: Path) -> dict[str, Path]:
    """Picture files by stem. Raises ConfigError for two of one stem."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in READABLE_SUFFIXES):
        if path.stem in found:
            raise ConfigError(f"{found[path.stem]} and {path} are both reconstructions of {path.stem}")
        found[path.stem] = path
    return found


def _read_sizes(path: Path) -> dict[str, int]:
    """Bytes by stem from a CSV with the columns image and bytes. Raises ConfigError."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            sizes = {Path(row["image"]).stem: int(row["bytes"]) for row in csv.DictReader(file)}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a CSV with the columns image and bytes ({error})") from error
    for stem, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{path}: {size} bytes for {stem}; sizes are whole numbers above 0")
    return sizes
