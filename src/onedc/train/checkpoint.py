"""Checkpoints: a folder for each, written whole or not at all; the last few and the best are kept.

    RUN/checkpoints/step-00000500/   model, ema, optim, rank-0 ... (.safetensors) and state.json
    RUN/checkpoints/best.json        {"step": 500, "value": 0.31}

They hold tensors of a run's networks, EMA and optimizers, and random numbers, of each process its own.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from onedc.errors import OutputError, WeightsError
from onedc.files import make_folder, write_whole
from onedc.pretrained import loading
from onedc.weights.stream_writer import Entry, write_safetensors

if TYPE_CHECKING:
    from onedc.train.optim.optimizer import GroupOptimizer, RunningMean

Tensors = dict[str, Tensor]
_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Best:
    """The best validation so far."""

    step: int
    value: float


class CheckpointFolder:
    """The checkpoints of one run. `part` methods build one up; `commit` makes it appear."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self.keep = run / "checkpoints", keep

    def steps(self) -> list[int]:
        """Steps at which there is a checkpoint, in rising order."""
        found = [_NAME.fullmatch(p.name) for p in self.folder.glob("step-*")]
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        """Where the checkpoint after `step` steps is."""
        return self.folder / f"step-{step:08d}"

    def _part(self, step: int) -> Path:
        return self.folder / f".step-{step:08d}.part"

    def begin(self, step: int) -> None:
        """Make room for a new checkpoint."""
        shutil.rmtree(self._part(step), ignore_errors=True)
        make_folder(self._part(step))

    def write(self, step: int, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Add a file of tensors. Raises OutputError where it cannot be written; older ones are untouched."""
        file = self._part(step) / f"{name}.safetensors"
        with self._or_given_up(step, file):
            write_safetensors(file, {k: Entry.of(t) for k, t in tensors.items()}, {})

    def commit(self, step: int, state: Mapping[str, Any]) -> None:
        """Add state.json, let the checkpoint appear, and delete those no longer kept. Raises as `write`."""
        file = self._part(step) / "state.json"
        with self._or_given_up(step, file):
            write_whole(file, json.dumps(state, indent=1).encode())
            if self.path(step).exists():
                shutil.rmtree(self.path(step))
            self._part(step).rename(self.path(step))
        self._prune()

    @contextmanager
    def _or_given_up(self, step: int, file: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            shutil.rmtree(self._part(step), ignore_errors=True)
            raise OutputError(f"{file}: checkpoint not written ({error}); earlier ones are kept") from error

    def _prune(self) -> None:
        best = self.best()
        for step in self.steps()[: -self.keep]:
            if best is None or step != best.step:
                shutil.rmtree(self.path(step))

    def best(self) -> Best | None:
        """The best validation so far, if there was one. Raises WeightsError: the note of it is damaged."""
        file = self.folder / "best.json"
        try:
            return Best(**json.loads(file.read_text())) if file.exists() else None
        except (ValueError, TypeError) as error:
            raise WeightsError(
                f"{file}: damaged; delete it, and the next validation notes the best"
            ) from error

    def set_best(self, best: Best) -> None:
        """Note that the checkpoint of this step is the best."""
        note = json.dumps({"step": best.step, "value": best.value})
        write_whole(self.folder / "best.json", note.encode(), force=True)


def find_checkpoint(place: Path) -> Path:
    """A checkpoint's folder itself, or of a run its best checkpoint, or the last where none was validated.

    Raises:
        WeightsError: there is none.
    """
    if (place / "state.json").exists():
        return place
    folder = CheckpointFolder(place, keep=1)
    steps, best = folder.steps(), folder.best()
    if not steps:
        raise WeightsError(f"{place}: neither a checkpoint nor a run that has one")
    return folder.path(best.step if best and best.step in steps else steps[-1])


def read_tensors(checkpoint: Path, name: str) -> Tensors:
    """The tensors of one file of a checkpoint.

    Raises:
        WeightsError: missing or damaged, or values that are not finite.
    """
    try:
        return loading.read_tensors(checkpoint / f"{name}.safetensors")
    except WeightsError as error:
        raise WeightsError(f"{error}; delete this checkpoint to go on from another one") from error


def read_state(checkpoint: Path) -> dict[str, Any]:
    """state.json of a checkpoint. Raises WeightsError: missing or damaged."""
    try:
        state = json.loads((checkpoint / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{checkpoint}: not a checkpoint ({error})") from error
    if not isinstance(state, dict) or "step" not in state:
        raise WeightsError(f"{checkpoint}: state.json is not one of a checkpoint")
    return state


def shared_tensors(
    modules: Mapping[str, nn.Module], mean: RunningMean | None, optimizers: Sequence[GroupOptimizer]
) -> dict[str, Tensors]:
    """The tensors of a checkpoint's files that are the same in all processes."""
    found = {"model": module_tensors(modules)}
    if mean:
        found["ema"] = mean.means
    found["optim"] = {name: t for optimizer in optimizers for name, t in optimizer.tensors().items()}
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
        optimizer.fill(optim, folder)
    if mean:
        mean.fill(read_tensors(folder, "ema"), folder)


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
