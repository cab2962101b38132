"""Reading log.jsonl, which `report.py` writes: what a run measured, without what writing it needs."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any


def read_log(file: Path) -> list[dict[str, Any]]:
    """The lines of a log.jsonl, but for one that was cut short.

    Raises:
        OSError: it cannot be read.
    """
    found = []
    for line in file.read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def last_validation(lines: list[dict[str, float]], step: int) -> dict[str, float]:
    """Of the lines of a log, the last of validation up to a step: all of it, "step" too; empty if none."""
    scored = [line for line in lines if line["step"] <= step and any(n.startswith("val_") for n in line)]
    return scored[-1] if scored else {}
