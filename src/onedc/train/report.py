"""What a run tells people: run.json, log.jsonl, TensorBoard, and a line of progress.

    RUN/run.json     resolved config, versions, git state, and each session's start
    RUN/log.jsonl    one object a line: step, and the figures of that step
    RUN/tensorboard  the same figures, and pictures

Only the main process writes. Nothing here is needed to go on with a run; cards and scripts read it.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import Tensor

from onedc.errors import ConfigError, OutputError, WeightsError, refused_as
from onedc.files import make_folder, write_whole
from onedc.train.config import TrainConfig, differences, flat, is_default

PACKAGES = ("onedc", "torch", "accelerate", "numpy", "pillow", "safetensors")
MAY_CHANGE = (
    "run.steps", "run.log_every", "run.validate_every", "run.checkpoint_every", "run.keep", "run.pictures",
    "run.recompute", "run.join_seconds", "data.workers", "data.memory_mib", "data.latent_cache",
    "data.stream_gib", "data.source", "data.validation_source", "nets.",
)  # fmt: skip
"""What the names of fields begin with that may differ between the sessions of one run."""


def write_run_file(out: Path, config: TrainConfig, *, step: int, processes: int) -> None:
    """Write run.json, or add this session to it.

    Raises:
        ConfigError: the run was begun with another config.
        WeightsError: its run.json is damaged.
        OutputError: the folder cannot be written.
    """
    file = out / "run.json"
    resolved = json.loads(json.dumps(config.to_dict()))
    sessions: list[dict[str, Any]] = []
    if step and file.exists():
        before = read_run_file(file)
        names = [n for n in differences(before["config"], resolved) if not n.startswith(MAY_CHANGE)]
        # A setting that is newer than the run: its default is what the run was begun with.
        changed = [n for n in names if n in flat(before["config"]) or not is_default(config, n)]
        if changed:
            raise ConfigError(f"{file}: the run was begun with another {changed[0]}; start a new run folder")
        sessions = before["sessions"]
    sessions.append({
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "from_step": step,
        "processes": processes,
        "command": sys.argv[1:],
    })  # fmt: skip
    content = {"config": resolved, "versions": versions(), "git": git_state(), "sessions": sessions}
    make_folder(out)
    write_whole(file, f"{json.dumps(content, indent=1)}\n".encode(), force=True)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_state() -> dict[str, Any]:
    """Commit of the source tree and whether it was changed since; empty outside a checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def duration(seconds: float) -> str:
    """ "3 h 05 min", "12 min" or "40 s"."""
    minutes = int(seconds // 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"


class RunLog:
    """Figures and pictures of a run that goes on from `step`."""

    def __init__(self, out: Path, *, step: int, steps: int, images: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow, and of no use to who reads

        self.steps, self._images = steps, images
        self._begun, self._first, self._live = time.monotonic(), step, sys.stderr.isatty()
        self._file = out / "log.jsonl"
        with refused_as(OutputError, f"{out}: cannot be written"):
            self._drop_after(step)
            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step or None)

    def _drop_after(self, step: int) -> None:
        """Forget what an interrupted session logged beyond its last checkpoint."""
        kept = [line for line in read_log(self._file) if line["step"] <= step] if self._file.exists() else []
        write_whole(self._file, "".join(f"{json.dumps(line)}\n" for line in kept).encode(), force=True)

    def figures(self, step: int, values: Mapping[str, float], *, prefix: str = "") -> None:
        """Record figures after `step` steps."""
        named = {prefix + name: value for name, value in values.items()}
        with refused_as(OutputError, f"{self._file}: cannot be written"), self._file.open("a") as file:
            file.write(json.dumps({"step": step, **named}) + "\n")
        for name, value in named.items():
            self._board.add_scalar(name, value, step)

    def progress(self, step: int, values: Mapping[str, float], share: float) -> None:
        """Show step, speed, figures and time left on standard error; `share` of the run is over."""
        elapsed = time.monotonic() - self._begun
        done, gained = step - self._first, share - self._first / self.steps
        left = duration(elapsed / gained * max(1 - share, 0.0)) if gained > 0 else "?"
        figures = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        speed = done * self._images / elapsed
        self._write(f"step {step}/{self.steps}  {speed:.2f} images/s  {figures}  {left} left", stays=False)

    def say(self, text: str) -> None:
        """A line of its own on standard error."""
        self._write(text, stays=True)

    def _write(self, text: str, *, stays: bool) -> None:
        """On a terminal, a line that does not stay is written over by the next."""
        sys.stderr.write(f"\r\x1b[K{text}" if self._live else text)
        sys.stderr.write("\n" if stays or not self._live else "")
        sys.stderr.flush()

    def pictures(self, step: int, name: str, images: Tensor) -> None:
        """Pictures [B,3,H,W] in [-1,1], one below the other."""
        column = images.clamp(-1, 1).add(1).div(2).permute(1, 0, 2, 3).flatten(1, 2)
        self._board.add_image(name, column.cpu(), step)

    def close(self) -> None:
        """Write out what is buffered."""
        self._board.close()


def read_run_file(file: Path) -> dict[str, Any]:
    """A run.json. Raises WeightsError: it is missing or damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file}: cannot be read ({error}); put it back, or start a new run") from error
    whole = isinstance(content, dict) and content.get("config") and content.get("sessions")
    if not whole or not isinstance(content.get("git"), dict):  # which is empty outside of a checkout
        raise WeightsError(f"{file}: damaged, or none of a run; put it back, or start a new run")
    return content


def read_log(file: Path) -> list[dict[str, Any]]:
    """The lines of a log.jsonl, but for one that was cut short. Raises OSError: it cannot be read."""
    found = []
    for line in file.read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def last_validation(lines: list[dict[str, float]], step: int) -> dict[str, float]:
    """Of the lines of a log, the last of validation up to a step: all of it, "step" too; empty if none."""
    scored = [line for line in lines if line["step"] <= step and any(n.startswith("val_") for n in line)]
    return scored[-1] if scored else {}
