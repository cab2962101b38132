"""Checkpoints: a folder for each, written whole or not at all; the last few and the best are kept.

    RUN/checkpoints/step-00000500/   model, ema, optim (.safetensors) and state.json

They hold tensors of a run's networks, EMA and optimizers, the same in all its processes, and the value of its
validation. Random numbers need none: those of a step follow from its position in the run (`data/noise.py`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from onedc.errors import OutputError, WeightsError
from onedc.files import make_folder, write_whole
from onedc.pretrained import loading
from onedc.pretrained.runs import read_state
from onedc.weights.stream_writer import Entry, write_safetensors

if TYPE_CHECKING:
    from onedc.train.optim.optimizer import GroupOptimizer, RunningMean

Tensors = dict[str, Tensor]
_NAME = re.compile(r"step-(\d{8})")


class Best(NamedTuple):
    """The best validation among the checkpoints there are."""

    value: float
    step: int


class CheckpointFolder:
    """The checkpoints of one run, written by one process."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self.keep = run / "checkpoints", keep

    def steps(self) -> list[int]:
        """Steps at which there is a checkpoint, in rising order."""
        found = [_NAME.fullmatch(p.name) for p in self.folder.glob("step-*")]
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        """Where the checkpoint after `step` steps is."""
        return self.folder / f"step-{step:08d}"

    def save(self, step: int, files: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
        """Write a checkpoint, let it appear as a whole, and delete those no longer kept.

        Args:
            files: tensors by the name of their file, without its suffix.
            state: what state.json is to hold; "validation" is what checkpoints are compared by.

        Raises:
            OutputError: it cannot be written; nothing of it is left, and older ones are untouched.
        """
        part = self.folder / f".step-{step:08d}.part"
        shutil.rmtree(part, ignore_errors=True)
        make_folder(part)
        file = part
        try:
            for name, tensors in files.items():
                file = part / f"{name}.safetensors"
                write_safetensors(file, {k: Entry.of(t) for k, t in tensors.items()}, {})
            file = part / "state.json"
            write_whole(file, json.dumps(state, indent=1).encode())
            part.rename(self.path(step))
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise OutputError(f"{file}: checkpoint not written ({error}); earlier ones are kept") from error
        self._prune()

    def _prune(self) -> None:
        best = self.best()
        for step in self.steps()[: -self.keep]:
            if best is None or step != best.step:
                shutil.rmtree(self.path(step))

    def best(self) -> Best | None:
        """The checkpoint of the best validation, if one was validated. Raises WeightsError: a damaged one."""
        values = {step: read_state(self.path(step)).get("validation") for step in self.steps()}
        return min((Best(value, step) for step, value in values.items() if value is not None), default=None)


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
    return folder.path(best.step if best else steps[-1])


def read_tensors(checkpoint: Path, name: str) -> Tensors:
    """The tensors of one file of a checkpoint.

    Raises:
        WeightsError: missing or damaged, or values that are not finite.
    """
    try:
        return loading.read_tensors(checkpoint / f"{name}.safetensors")
    except WeightsError as error:
        raise WeightsError(f"{error}; delete this checkpoint to go on from another one") from error


def files_of(
    modules: Mapping[str, nn.Module], mean: RunningMean | None, optimizers: Sequence[GroupOptimizer]
) -> dict[str, Tensors]:
    """The tensors of a checkpoint by the names of its files."""
    found = {"model": module_tensors(modules)}
    if mean:
        found["ema"] = mean.means
    found["optim"] = {name: t for optimizer in optimizers for name, t in optimizer.tensors().items()}
    return found


def fill_from(
    folder: Path,
    modules: Mapping[str, nn.Module],
    mean: RunningMean | None,
    optimizers: Sequence[GroupOptimizer],
) -> None:
    """The opposite of `files_of`: fill modules, means and optimizers from a checkpoint.

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
