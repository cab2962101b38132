"""Loss and gradients of a step as CUDA graphs: a GPU then never waits for the processor to launch kernels.

Gradients stay in the memory that the graphs write them to.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from onedc.train.data.batches import Batch
from onedc.train.optim.optimizer import GroupOptimizer
from onedc.train.stages.stage import Figures

WARMUP = 3  # passes before a capture, which allocate what it may not

Compute = Callable[[GroupOptimizer, Batch], Figures]
"""Leaves the gradients of a group's loss in its parameters."""


class Replay:
    """Runs `compute` as one graph for each group, captured when it first comes."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._batch: Batch | None = None
        self._graphs: dict[str, tuple[torch.cuda.CUDAGraph, Figures]] = {}

    def take(self, batch: Batch) -> None:
        """The batch of the next replays: its tensors are copied to where the graphs read them."""
        if self._batch is None:
            self._batch = batch
            return
        self._batch.x.copy_(batch.x)
        if self._batch.vae_latents is not None and batch.vae_latents is not None:
            self._batch.vae_latents.copy_(batch.vae_latents)
        for name, target in self._batch.targets.items():
            target.copy_(batch.targets[name])

    def __call__(self, optimizer: GroupOptimizer) -> Figures:
        """Leave the gradients of a group's loss in its parameters; figures hold until the next call."""
        name = optimizer.group.name
        if name not in self._graphs:
            self._graphs[name] = self._captured(optimizer)
        graph, figures = self._graphs[name]
        graph.replay()
        return figures

    def _captured(self, optimizer: GroupOptimizer) -> tuple[torch.cuda.CUDAGraph, Figures]:
        assert self._batch is not None
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARMUP):
                optimizer.zero_grad()
                self._compute(optimizer, self._batch)
        torch.cuda.current_stream().wait_stream(beside)
        optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            figures = self._compute(optimizer, self._batch)
        return graph, {name: value.detach() for name, value in figures.items()}
