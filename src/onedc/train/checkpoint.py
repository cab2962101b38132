"""Checkpoints: a folder for each, written whole or not at all; the last few and the best are kept.

    RUN/checkpoints/step-00000500/   model, ema, optim, rank-0 ... (.safetensors) and state.json
    RUN/checkpoints/best.json        {"step": 500, "value": 0.31}

Only tensors and plain numbers are stored; what they mean is the loop's matter.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from onedc.errors import OutputError, WeightsError
from onedc.files import write_whole
from onedc.pretrained import loading
from onedc.weights.stream_writer import Entry, write_safetensors

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
        try:
            self._part(step).mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{self._part(step)}: cannot be made ({error.strerror})") from error

    def write(self, step: int, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Add a file of tensors.

        Raises:
            OutputError: it cannot be written; older checkpoints are untouched.
        """
        file = self._part(step) / f"{name}.safetensors"
        try:
            write_safetensors(file, {k: Entry.of(t) for k, t in tensors.items()}, {})
        except OSError as error:
            self._give_up(step, file, error)

    def commit(self, step: int, state: Mapping[str, Any]) -> None:
        """Add state.json, let the checkpoint appear, and delete those no longer kept.

        Raises:
            OutputError: it cannot be written; older checkpoints are untouched.
        """
        file = self._part(step) / "state.json"
        try:
            file.write_text(json.dumps(state, indent=1))
            _flush(file)
            if self.path(step).exists():
                shutil.rmtree(self.path(step))
            self._part(step).rename(self.path(step))
        except OSError as error:
            self._give_up(step, file, error)
        self._prune()

    def _give_up(self, step: int, file: Path, error: Exception) -> None:
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


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


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
