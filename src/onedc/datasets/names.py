"""Names of files that are read and written: their suffixes, and an output for each input."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence


def suffix_of(name: str) -> str:
    """The suffix of a file name in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


def outputs(names: Sequence[str], suffix: str, taken: Sequence[str] = ()) -> list[str]:
    """An output for each of the inputs `names`, which share one only where two names are the same.

    a.jpg becomes a.1dc; where that is another's output or `taken`, inputs keep their suffix: a.jpg.1dc.
    """
    kept: set[str] = set()
    while True:
        found = [(name if name in kept else os.path.splitext(name)[0]) + suffix for name in names]
        counts = Counter(map(os.path.normcase, [*found, *taken]))
        shared = {
            name for name, output in zip(names, found, strict=True) if counts[os.path.normcase(output)] > 1
        }
        if shared <= kept:
            return found
        kept |= shared


def by_suffix(counts: Mapping[str, int]) -> str:
    """How many files there are, in all and of each suffix: "3 files (2 .heic, 1 without a suffix)"."""
    each = ", ".join(f"{counts[suffix]} {suffix or 'without a suffix'}" for suffix in sorted(counts))
    total = sum(counts.values())
    return f"{total} file{'s' * (total != 1)} ({each})"
