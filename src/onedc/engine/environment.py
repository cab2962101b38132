"""What libraries read from the environment when loaded, and how memory is kept; whoever sets it decides."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

HUGE_PAGES, WAITING, TELEMETRY = "THP_MEM_ALLOC_ENABLE", "OMP_WAIT_POLICY", "ORT_DISABLE_TELEMETRY"
THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # glibc's numbers of these settings
LARGE_PX = 3 * 2**20
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


def allocate_for(pixels: int) -> None:
    """Have glibc keep freed memory, or return it, as suits coding a picture of so many pixels.

    What is kept need not be asked for again: a small picture takes an eighth less of a new process. Maps of a
    large one leave gaps that those of another size do not fill: 12 megapixels peak at a tenth less. Those of
    torch do from 1 MiB on; onnxruntime has an arena of its own, and slices of the seam, which are smaller
    than 8 MiB, take three times as long where each asks anew. For commands alone, behind the import of what
    runs the networks, since it holds for all of the process.
    """
    if sys.platform != "linux" or THRESHOLD in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if mallopt is not None:
        returned = 2**20 if "torch" in sys.modules else 2**23
        large = pixels > LARGE_PX
        mallopt(MMAP_THRESHOLD, returned if large else 2**25)
        mallopt(TRIM_THRESHOLD, 2 * returned if large else 2**27)


def _grants_huge_pages(switch: Path) -> bool:
    try:
        return "[never]" not in switch.read_text(encoding="ascii")
    except (OSError, ValueError):  # another system, or one that would refuse
        return False
