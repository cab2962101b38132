"""Training runs of ours as files: what a checkpoint folder says about itself, and the networks it holds.

Writing them is the matter of `onedc.train.checkpoint`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onedc.config import ModelConfig
from onedc.errors import ConfigError, WeightsError
from onedc.pretrained.checkpoint import Checkpoint, joined, open_checkpoint


def read_state(folder: Path) -> dict[str, Any]:
    """state.json of a checkpoint. Raises WeightsError: missing or damaged."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder}: not a checkpoint ({error})") from error
    if not isinstance(state, dict) or "step" not in state:
        raise WeightsError(f"{folder}: state.json is not one of a checkpoint")
    return state


def run_config(folder: Path) -> ModelConfig:
    """The model of a checkpoint. Raises WeightsError: not a checkpoint, or one without a usable model."""
    state = read_state(folder)
    try:
        return ModelConfig.from_json(state["model"])
    except (KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"{folder}: state.json has no usable model ({error})") from error


def stored_network(folder: Path, name: str = "model") -> Checkpoint:
    """One network of a checkpoint, its running mean where there is one; "model" is the codec.

    Raises:
        WeightsError: missing or damaged.
    """
    files = [open_checkpoint(folder / "model.safetensors")]
    if (folder / "ema.safetensors").exists():
        files.append(open_checkpoint(folder / "ema.safetensors"))
    both, lead = joined(str(folder), files), f"{name}."
    found = {key.removeprefix(lead): key for key in both.shapes if key.startswith(lead)}
    if not found:
        raise WeightsError(f"{folder}: a checkpoint without the network {name!r}")
    return both.chosen(found)
