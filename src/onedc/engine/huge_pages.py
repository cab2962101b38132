"""Large tensors on huge pages, where Linux hands them out on request: a tenth less time each way, or more."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "THP_MEM_ALLOC_ENABLE"
"""What torch reads at its first allocation; whoever sets it decides."""
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def ask(switch: Path = SWITCH) -> None:
    """Have torch ask for huge pages. Comes too late in a process that has allocated a tensor already."""
    try:
        granted = "[never]" not in switch.read_text(encoding="ascii")
    except (OSError, ValueError):  # another system, or one that would refuse
        return
    if granted:
        os.environ.setdefault(VARIABLE, "1")
