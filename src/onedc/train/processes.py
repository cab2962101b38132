"""The processes of a session: they meet, or say for whom they waited, add up, and stop together; figures."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

from onedc.engine.device import fast_dtype
from onedc.errors import ConfigError, OneDCError
from onedc.train.config import RunConfig
from onedc.train.stages.stage import Figures

ACCUMULATION = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
"""By this accelerate would divide gradients, which are means already where run.accumulation is set."""


def make_accelerator(run: RunConfig) -> Accelerator:
    """An accelerator on the GPU where there is one; "auto" is bf16 where the device multiplies it fast.

    Raises:
        ConfigError: variables of the environment that a run cannot follow.
        OneDCError: the other processes that they name did not come in time.
    """
    gpu, precision = torch.cuda.is_available(), run.precision
    if precision == "auto":
        fast = fast_dtype(torch.device("cuda" if gpu else "cpu"))
        precision = "bf16" if fast == torch.bfloat16 else "no"
    if os.environ.get(ACCUMULATION, "1") != "1":
        raise ConfigError(
            f"{ACCUMULATION}={os.environ[ACCUMULATION]} in the environment: unset it; set run.accumulation"
        )
    store = None if gpu and "LOCAL_RANK" not in os.environ else _meet(run.join_seconds)
    made = Accelerator(
        mixed_precision=precision,
        cpu=not gpu,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )
    del store  # while it lives, all of a process meet at one port
    return made


def _meet(seconds: float) -> object:
    """Wait until all processes that the environment names are there; the store they met at, if they did."""
    world = _number("WORLD_SIZE", "1")
    if (world < 2 and "LOCAL_RANK" not in os.environ) or distributed.is_initialized():
        return None
    rank, host = _number("RANK", "-1"), os.environ.get("MASTER_ADDR", "")
    if rank not in range(world) or not host:
        raise ConfigError(
            "WORLD_SIZE or LOCAL_RANK is in the environment, but no MASTER_ADDR or no RANK below WORLD_SIZE; "
            "start by `accelerate launch`, or unset them to train in one process"
        )
    os.environ.setdefault("MASTER_PORT", "29500")
    port, limit = _number("MASTER_PORT", ""), timedelta(seconds=seconds)
    try:
        if rank:
            _wait_for(host, port, time.monotonic() + seconds)
        store, _, _ = next(rendezvous("env://", timeout=limit))
        store.set(f"onedc-{rank}", "here")
        store.wait([f"onedc-{each}" for each in range(world)], limit)
    except (OSError, distributed.DistError, ValueError) as error:
        raise OneDCError(
            f"{host}:{port}: waited {seconds:g} s (run.join_seconds) for {world} processes, as WORLD_SIZE in "
            "the environment says, and not all came; unset WORLD_SIZE, RANK and LOCAL_RANK to train in one"
        ) from error
    return store


def _wait_for(host: str, port: int, end: float) -> None:
    """Wait until somebody listens; torch would fill the screen in the meantime. Raises OSError at the end."""
    while True:
        try:
            socket.create_connection((host, port), timeout=max(end - time.monotonic(), 0.1)).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _number(name: str, default: str) -> int:
    text = os.environ.get(name, default)
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"{name}={text} in the environment is no number; unset it") from error


def summed(accelerator: Accelerator, value: Tensor, how: str = "sum") -> Tensor:
    """`value` summed (or "mean": averaged) over all processes."""
    if accelerator.num_processes == 1:
        return value
    result: Tensor = accelerator.reduce(value, how)
    return result


class Clock:
    """When a session has to stop: at the end of its slice of time, or when the process is asked to."""

    def __init__(self, accelerator: Accelerator, max_minutes: float | None) -> None:
        self._accelerator = accelerator
        self._end = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._asked = False

    @property
    def over_here(self) -> bool:
        """Whether this process has to stop."""
        return self._asked or time.monotonic() > self._end

    def over(self) -> bool:
        """Whether any process has to stop; the same answer in all of them."""
        if self._accelerator.num_processes == 1:
            return self.over_here
        flag = torch.tensor(float(self.over_here), device=self._accelerator.device)
        return float(summed(self._accelerator, flag)) > 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within this context, Ctrl-C and TERM end the session after the current step."""

        def note(_number: int, _frame: FrameType | None) -> None:
            self._asked = True

        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Meter:
    """Weighted means of figures since they were last taken, over all processes."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, figures: Figures, weight: float = 1.0) -> None:
        """Take in one measurement of each figure."""
        for name, value in figures.items():
            value = weight * value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def take(self) -> dict[str, float]:
        """The means by name, and start afresh. All processes must have measured the same figures."""
        names = sorted(self._sums)
        if not names:
            return {}
        sums = torch.stack([self._sums[n] for n in names])
        weights = sums.new_tensor([self._weights[n] for n in names])
        self._sums, self._weights = {}, {}
        both = summed(self._accelerator, torch.stack([sums, weights]))
        return dict(zip(names, (both[0] / both[1]).tolist(), strict=True))
