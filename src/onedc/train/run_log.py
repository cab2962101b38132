"""Reading run.json and log.jsonl, which `report.py` writes, without what writing them needs."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from onedc.errors import WeightsError


def read_run_file(file: Path) -> dict[str, Any]:
    """A run.json.

    Raises:
        WeightsError: it is missing or damaged.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file}: cannot be read ({error}); put it back, or start a new run") from error
    whole = isinstance(content, dict) and content.get("config") and content.get("sessions")
    if not whole or not isinstance(content.get("git"), dict):  # which is empty outside of a checkout
        raise WeightsError(f"{file}: damaged, or none of a run; put it back, or start a new run")
    return content


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
