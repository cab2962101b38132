"""What a checkpoint holds of a run: tensors of its networks, EMA, optimizers and random numbers; and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from onedc.errors import WeightsError
from onedc.pretrained import loading
from onedc.train.checkpoint import Tensors, read_tensors
from onedc.train.optim.optimizer import GroupOptimizer, RunningMean


def shared_tensors(
    modules: Mapping[str, nn.Module], mean: RunningMean | None, optimizers: Sequence[GroupOptimizer]
) -> dict[str, Tensors]:
    """The tensors of a checkpoint's files that are the same in all processes."""
    found = {"model": module_tensors(modules)}
    if mean:
        found["ema"] = mean.means
    found["optim"] = {}
    for optimizer in optimizers:
        found["optim"] |= optimizer_tensors(optimizer.group.name, optimizer.names, optimizer.optimizer)
    return found


def fill_shared(
    folder: Path,
    modules: Mapping[str, nn.Module],
    mean: RunningMean | None,
    optimizers: Sequence[GroupOptimizer],
) -> None:
    """The opposite of `shared_tensors`, of the files of a checkpoint.

    Raises:
        WeightsError: the checkpoint is damaged or of another model.
    """
    fill_modules(modules, read_tensors(folder, "model"), folder)
    optim = read_tensors(folder, "optim")
    for optimizer in optimizers:
        fill_optimizer(optimizer.group.name, optimizer.names, optimizer.optimizer, optim, folder)
    if mean:
        means = read_tensors(folder, "ema")
        if set(means) != set(mean.means):
            raise WeightsError(f"{folder}: its running mean is of other parameters")
        mean.means = {n: means[n].to(t.device) for n, t in mean.means.items()}


def module_tensors(modules: Mapping[str, nn.Module]) -> Tensors:
    """All tensors of some modules, each name led by its module's."""
    return {f"{m}.{k}": t for m, module in modules.items() for k, t in module.state_dict().items()}


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with a value that is not finite, if there is one."""
    return next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)


def fill_modules(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], origin: Path) -> None:
    """The opposite of `module_tensors`. Raises WeightsError: names or shapes do not fit."""
    for prefix, module in modules.items():
        own = {k[len(prefix) + 1 :]: t for k, t in tensors.items() if k.startswith(f"{prefix}.")}
        loading.fill(module, own, str(origin), f"the {prefix} of this run")


def optimizer_tensors(group: str, names: list[str], optimizer: torch.optim.Optimizer) -> Tensors:
    """State of an optimiser whose parameters are `names`, in order."""
    found: Tensors = {}
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            found[f"{group}/{names[index]}/{key}"] = torch.as_tensor(value)
    return found


def fill_optimizer(
    group: str,
    names: list[str],
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    origin: Path,
) -> None:
    """The opposite of `optimizer_tensors`.

    Raises:
        WeightsError: it knows a parameter that this run does not.
    """
    state: dict[int, dict[str, Tensor]] = {}
    places = {name: index for index, name in enumerate(names)}
    for key, value in tensors.items():
        owner, name, slot = key.split("/")
        if owner != group:
            continue
        if name not in places:
            raise WeightsError(f"{origin}: optimiser state of an unknown parameter, {name}")
        state.setdefault(places[name], {})[slot] = value
    full = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": full["param_groups"]})


def random_state() -> Tensors:
    """State of torch's generators in this process."""
    state = {"cpu": torch.get_rng_state()}
    for index in range(torch.cuda.device_count()):
        state[f"cuda{index}"] = torch.cuda.get_rng_state(index)
    return state


def set_random_state(tensors: Mapping[str, Tensor]) -> None:
    """The opposite of `random_state`; generators that are not stored keep their state."""
    torch.set_rng_state(tensors["cpu"])
    for index in range(torch.cuda.device_count()):
        if f"cuda{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda{index}"], index)
