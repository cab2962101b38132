"""Pictures that a codec decoded elsewhere, found by their names, with the sizes of its files.

For codecs that cannot be run from here; everything else about them is measured as for the others.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

from onedc.errors import ConfigError
from onedc.evaluation.baselines import BaselineError
from onedc.image import READABLE_SUFFIXES, RGBArray, read_image


class Reconstructions:
    """Decoded pictures and file sizes of a codec that runs elsewhere."""

    def __init__(self, name: str, folder: Path, sizes: Path) -> None:
        """Find the pictures in `folder`, and their files' bytes in the CSV `sizes`. Raises ConfigError."""
        self.name = name
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder")
        files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in READABLE_SUFFIXES]
        self.files = {path.stem: path for path in files}
        self.bytes = _read_sizes(sizes)
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.read_bytes())
        digest.update(json.dumps(self.bytes, sort_keys=True).encode())
        self.identity = f"{self.name} {digest.hexdigest()[:16]}"

    def find(self, image: str) -> tuple[int, RGBArray]:
        """Bytes and decoded picture of an image, by the stem of its name. Raises OneDCError."""
        stem = Path(image).stem
        if stem not in self.files:
            raise BaselineError(f"{self.name}: no reconstruction named {stem}")
        if stem not in self.bytes:
            raise BaselineError(f"{self.name}: no size for {stem}")
        return self.bytes[stem], read_image(self.files[stem])


def _read_sizes(path: Path) -> dict[str, int]:
    """Bytes by stem from a CSV with the columns image and bytes. Raises ConfigError."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {Path(row["image"]).stem: int(row["bytes"]) for row in csv.DictReader(file)}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a CSV with the columns image and bytes ({error})") from error
