"""Where the time of a codec goes: every call of a network is put down to its name, and the rest to "rest".

What is measured is up to a meter: seconds of a clock, events of a device, or floating-point operations.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from onedc.codec import Codec
from onedc.engine.torch_engine import torch_engine_of
from onedc.entropy.coder import SymbolDecoder, SymbolEncoder

REST = "rest"


class Clock:
    """Milliseconds: of the wall clock, or of events on a CUDA device.

    If `busy`, of the time that a processor works for this process: all threads together, and nothing of what
    other processes take on a shared machine.
    """

    def __init__(self, device: torch.device, *, busy: bool = False) -> None:
        self.device = device
        self.now = time.process_time if busy else time.perf_counter

    def mark(self) -> Any:
        """A moment; on a CUDA device that of the work queued so far."""
        if self.device.type != "cuda":
            return self.now()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        if self.device.type != "cuda":
            return 1000 * (end - start)
        end.synchronize()
        return start.elapsed_time(end)


class FlopMeter:
    """Floating-point operations of convolutions, matrix products and attention; 2 for a multiply and add."""

    def __init__(self) -> None:
        self.counter = FlopCounterMode(display=False)

    def mark(self) -> int:
        return self.counter.get_total_flops()

    def between(self, start: int, end: int) -> float:
        return float(end - start)


Meter = Clock | FlopMeter
"""What runs on while work is done; what ran between two marks is asked for when all work is done."""


class Breakdown:
    """What a meter says of each stage, the stages inside it left out."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.spans: list[tuple[str, Any, Any]] = []
        self.stage = REST
        self.since = meter.mark()

    def switch(self, stage: str) -> str:
        """Go on with another stage; returns the one that was at work."""
        before, now = self.stage, self.meter.mark()
        self.spans.append((before, self.since, now))
        self.stage, self.since = stage, now
        return before

    def sums(self) -> dict[str, float]:
        """Total of each stage, in the order in which they first ended."""
        self.switch(REST)
        totals: dict[str, float] = defaultdict(float)
        for stage, start, end in self.spans:
            totals[stage] += self.meter.between(start, end)
        return dict(totals)


def stages_of(codec: Codec) -> list[tuple[str, Any, str]]:
    """Name, owner and method of everything that is put down on its own."""
    engine = torch_engine_of(codec.model)
    nets, seam, generator = engine.nets, engine.seam, engine.nets.generator
    return [
        *(("vae.encode", nets.vae, part) for part in ("from_pixels", "behind_pixels")),
        ("g_a", nets.g_a, "forward"),
        ("h_a", nets.h_a, "forward"),
        ("z prior", codec.model.z_prior, "encode"),
        ("z prior", codec.model.z_prior, "decode"),
        ("h_s", seam, "hyper"),
        ("prior", seam, "scan"),
        ("entropy coding", SymbolEncoder, "encode"),
        ("entropy coding", SymbolDecoder, "decode"),
        ("semantic", nets.semantic, "forward"),
        ("g_s", nets.g_s, "forward"),
        ("unet", generator.unet, "trunk"),
        ("vae_reduction", generator.vae_reduction, "forward"),
        *(("vae.decode", nets.vae, part) for part in ("before_pixels", "to_pixels")),
    ]


@torch.inference_mode()
def measure(codec: Codec, work: Callable[[], object], meter: Meter) -> dict[str, float]:
    """Do `work` once; the meter's figure for each stage of `codec`."""
    breakdown = Breakdown(meter)
    with ExitStack() as stack:
        for name, owner, method in stages_of(codec):
            stack.enter_context(_noted(breakdown, name, owner, method))
        work()
    return breakdown.sums()


def count_flops(codec: Codec, work: Callable[[], object]) -> dict[str, float]:
    """Floating-point operations of each stage."""
    meter = FlopMeter()
    with meter.counter:
        return measure(codec, work, meter)


@contextmanager
def _noted(breakdown: Breakdown, name: str, owner: Any, method: str) -> Iterator[None]:
    """Put the calls of `owner.method` down to a stage inside the block."""
    plain = getattr(owner, method)

    @wraps(plain)
    def noted(*args: Any, **kwargs: Any) -> Any:
        before = breakdown.switch(name)
        try:
            return plain(*args, **kwargs)
        finally:
            breakdown.switch(before)

    own = vars(owner).get(method)
    setattr(owner, method, noted)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, method)
        else:
            setattr(owner, method, own)
