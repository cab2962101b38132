"""Optimizer steps: gradients averaged over processes, clipped, one step of a group's optimizer; the EMA.

Gradients are averaged here, once a step, so that groups whose networks overlap need no wrapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from onedc.errors import WeightsError
from onedc.train.optim.muon import Muon
from onedc.train.processes import summed
from onedc.train.stages.stage import OptimizerGroup

REDUCE_AT_ONCE = 1 << 24  # elements of gradient in one collective call


class GroupOptimizer:
    """An optimizer group and its optimizer."""

    def __init__(self, group: OptimizerGroup, accelerator: Accelerator) -> None:
        self.group = group
        groups = parameter_groups(group)
        self.names = [name for names, _, _ in groups for name in names]
        self.parameters = [group.parameters[name] for name in self.names]
        self.shares = [share for _, share, _ in groups]
        self.optimizer = accelerator.prepare(make_optimizer(group, groups))

    def zero_grad(self) -> None:
        """No parameter has a gradient any more, nor memory for one."""
        for p in self.parameters:
            p.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state; names begin with the group's and are those of the parameters."""
        state = self.optimizer.state_dict()["state"]
        lead = f"{self.group.name}/"
        return {
            f"{lead}{self.names[index]}/{key}": torch.as_tensor(value)
            for index, values in state.items()
            for key, value in values.items()
        }

    def fill(self, tensors: Mapping[str, Tensor], origin: Path) -> None:
        """The opposite of `tensors`, of those of any groups. Raises WeightsError for unknown parameters."""
        state: dict[int, dict[str, Tensor]] = {}
        places = {name: index for index, name in enumerate(self.names)}
        for key, value in tensors.items():
            owner, name, slot = key.split("/")
            if owner != self.group.name:
                continue
            if name not in places:
                raise WeightsError(f"{origin}: optimiser state of an unknown parameter, {name}")
            state.setdefault(places[name], {})[slot] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def step(self, accelerator: Accelerator, lr: float, *, keep: bool = False) -> Tensor:
        """Average the gradients, clip, update; returns their norm before clipping.

        With `keep` the gradients' memory stays, for a captured graph to write to again.
        """
        average_gradients(accelerator, self.parameters)
        accelerator.unscale_gradients(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.group.optim.clip)
        for group, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            group["lr"] = lr * share
        self.optimizer.step()
        if not keep:
            self.optimizer.zero_grad(set_to_none=True)
        return norm.detach()


ParameterGroup = tuple[list[str], float, float]
"""Names, share of the learning rate, weight decay."""


def parameter_groups(group: OptimizerGroup) -> list[ParameterGroup]:
    """As torch groups them: weights decay, vectors (biases, norms, gains) and slow ones do not."""
    weights: list[str] = []
    vectors: list[str] = []
    slow: list[str] = []
    for name, p in group.parameters.items():
        (slow if name in group.slow else weights if p.ndim > 1 else vectors).append(name)
    groups = [(weights, 1.0, group.optim.weight_decay), (vectors, 1.0, 0.0), (slow, group.slow_share, 0.0)]
    return [group for group in groups if group[0]]


def make_optimizer(group: OptimizerGroup, groups: list[ParameterGroup]) -> torch.optim.Optimizer:
    """The optimizer that a group's config describes."""
    optim = group.optim
    settings = [
        {"params": [group.parameters[name] for name in names], "weight_decay": decay}
        for names, _, decay in groups
    ]
    if optim.kind == "sgd":
        return torch.optim.SGD(settings, lr=optim.lr)
    if optim.kind == "muon":
        return Muon(settings, lr=optim.lr, betas=optim.betas)
    return torch.optim.AdamW(settings, lr=optim.lr, betas=optim.betas)


def average_gradients(accelerator: Accelerator, parameters: list[nn.Parameter]) -> None:
    """Replace gradients by their mean over processes; a parameter that was not used counts as zero."""
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    if accelerator.num_processes == 1:
        return
    for group in _chunks(parameters):
        grads = [p.grad for p in group if p.grad is not None]
        flat = summed(accelerator, torch.cat([g.flatten() for g in grads]), "mean")
        for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view_as(grad))


def _chunks(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    group: list[nn.Parameter] = []
    size = 0
    for p in parameters:
        if group and size + p.numel() > REDUCE_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(p)
        size += p.numel()
    yield group


class RunningMean:
    """float32 mean of parameters with exponential decay; early on it follows faster."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.means: dict[str, Tensor] = {}
        self.restart()

    def restart(self) -> None:
        """Forget the past: the mean is the weights as they are."""
        self.means = {n: p.detach().float().clone() for n, p in self.parameters.items()}

    def fill(self, means: Mapping[str, Tensor], origin: Path) -> None:
        """Take over stored means. Raises WeightsError where they are of other parameters."""
        if set(means) != set(self.means):
            raise WeightsError(f"{origin}: its running mean is of other parameters")
        self.means = {name: means[name].to(mean.device) for name, mean in self.means.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`, counted from 0."""
        weight = 1 - min(self.decay, (step + 1) / (step + 10))
        current = [p.detach().float() for p in self.parameters.values()]
        torch._foreach_lerp_(list(self.means.values()), current, weight)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this context the parameters hold the mean."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._write(self.means)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
