"""What the libraries of networks read from the environment when they are loaded; whoever sets it decides."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

HUGE_PAGES, WAITING, TELEMETRY = "THP_MEM_ALLOC_ENABLE", "OMP_WAIT_POLICY", "ORT_DISABLE_TELEMETRY"
THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
MMAP_THRESHOLD, RETURNED_BYTES = -3, 2**22  # glibc's number of that setting, and the least that is returned
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def prepare(switch: Path = SWITCH) -> None:
    """Set the variables that are not set. Comes too late for a library that is loaded already.

    Large tensors of torch lie on huge pages where Linux hands them out on request, which takes a tenth less
    time each way, or more. Threads of OpenMP, and of torch with it, sleep while they wait: those that spin
    lose a core that another process needs as well. onnxruntime neither reports its use to its makers nor
    leaves a session's id on disk.
    """
    if _grants_huge_pages(switch):
        os.environ.setdefault(HUGE_PAGES, "1")
    os.environ.setdefault(WAITING, "PASSIVE")
    os.environ.setdefault(TELEMETRY, "1")


def give_memory_back() -> None:
    """Have glibc return freed arrays of some megabytes to the system, for the rest of the process.

    Maps of the networks leave gaps behind that those of another size do not fill: a picture of 12 megapixels
    peaks at a tenth less, which takes a few percent more time. Other C libraries do so anyway.
    """
    if sys.platform == "linux" and THRESHOLD not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(MMAP_THRESHOLD, RETURNED_BYTES)


def _grants_huge_pages(switch: Path) -> bool:
    try:
        return "[never]" not in switch.read_text(encoding="ascii")
    except (OSError, ValueError):  # another system, or one that would refuse
        return False
