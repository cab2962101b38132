"""Bringing codecs to one rate: the setting whose file comes nearest a target from one side.

One rule per table, one bisection for all codecs, and a cache of file sizes, so that no file is made twice.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from onedc.errors import OutputError
from onedc.evaluation.codecs import EvaluatedCodec, Original
from onedc.files import make_folder, user_cache, write_whole


class Rule(StrEnum):
    """From which side a file comes near its target."""

    AT_MOST = "at-most"
    """The largest file not above the target."""
    AT_LEAST = "at-least"
    """The smallest file not below the target."""


@dataclass(frozen=True)
class Match:
    """A setting on a codec's ladder; `reached` is false where the whole ladder misses the target."""

    setting: float
    reached: bool


def match_rate(
    codec: EvaluatedCodec, target_bytes: int, rule: Rule, size_of: Callable[[float], int]
) -> Match:
    """The setting whose file is nearest `target_bytes` on the rule's side, by bisection over the ladder.

    File sizes are taken to grow along the ladder. Where no file is on the rule's side, the codec's smallest
    (largest) file is named and `reached` is false.
    """
    ladder = codec.ladder
    if rule is Rule.AT_MOST:
        index = bisect_right(ladder, target_bytes, key=size_of) - 1
        return Match(ladder[max(index, 0)], index >= 0)
    index = bisect_left(ladder, target_bytes, key=size_of)
    return Match(ladder[min(index, len(ladder) - 1)], index < len(ladder))


class SizeCache:
    """File sizes of one codec on one picture, kept in a small JSON file between runs."""

    def __init__(self, folder: Path | None, codec: EvaluatedCodec, original: Original) -> None:
        self.codec, self.original = codec, original
        key = hashlib.sha256(f"{codec.identity}\0{original.hash}".encode()).hexdigest()[:24]
        self.path = folder / f"{codec.name}-{key}.json" if folder is not None else None
        self.sizes = self._read()

    def size_of(self, setting: float) -> int:
        """Bytes of the file that the codec makes at a setting."""
        key = f"{setting:g}"
        if key not in self.sizes:
            self.sizes[key] = self.codec.size_of(self.original, setting)
            self._write()
        return self.sizes[key]

    def _read(self) -> dict[str, int]:
        """What was stored; a file that cannot be read counts as none and is replaced."""
        try:
            values = json.loads(self.path.read_text()) if self.path is not None else {}
        except (OSError, ValueError):
            return {}
        return {str(key): int(value) for key, value in values.items()} if isinstance(values, dict) else {}

    def _write(self) -> None:
        """A folder that cannot be written costs time, never a codec."""
        if self.path is not None:
            try:
                make_folder(self.path.parent)
                write_whole(self.path, json.dumps(self.sizes).encode(), force=True)
            except OutputError:
                self.path = None


def default_cache() -> Path:
    """Folder of file sizes in the user's cache."""
    return user_cache() / "evaluation"
