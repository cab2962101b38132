"""Training runs of our own as rates of a family: their checkpoints hold adapters beside the layers."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from onedc.config import ModelConfig
from onedc.errors import ConfigError, WeightsError
from onedc.files import file_sha256
from onedc.interop.convert import Options, convert_seam
from onedc.interop.family import Rate
from onedc.interop.folding import fold_time
from onedc.model.lora import ALPHA, DOWN, UP
from onedc.pretrained.checkpoint import Checkpoint, joined, open_checkpoint
from onedc.weights.family_file import ADAPTER_DOWN, ADAPTER_UP
from onedc.weights.lora import merged, rank_of

_LEAD = "model."
_WEIGHT = ".weight"


def open_run(checkpoint: Path, rate: str, options: Options) -> Rate:
    """Open one checkpoint folder of a run; its running mean where there is one.

    Args:
        checkpoint: RUN/checkpoints/step-...
        rate: its lambda, kept as a note.

    Raises:
        WeightsError: not a checkpoint of a codec of one rate, or a damaged one.
    """
    config, stored = _config(checkpoint), _stored(checkpoint)
    plain = merged_checkpoint(stored)
    config, weights = fold_time(config, plain) if options.fold_time else (config, plain)
    rank = rank_of({key: stored.tensor(key) for key in stored.shapes if key.endswith(DOWN)})
    return Rate(
        rate=rate,
        origin={"run": {"file": str(checkpoint), "sha256": file_sha256(checkpoint / "model.safetensors")}},
        config=config,
        weights=weights,
        unmerged=_unmerged(stored, weights),
        integers=convert_seam(config, weights),
        scale=ALPHA / rank if rank else 0.0,
    )


def merged_checkpoint(stored: Checkpoint) -> Checkpoint:
    """The same network with its adapters merged into their layers, each as it is read."""
    adapted = {key.removesuffix(DOWN) + _WEIGHT for key in stored.shapes if key.endswith(DOWN)}

    def read(key: str) -> Tensor:
        if key not in adapted:
            return stored.tensor(key)
        layer = key.removesuffix(_WEIGHT)
        return merged({name: stored.tensor(name) for name in (key, layer + DOWN, layer + UP)})[key]

    shapes = {key: shape for key, shape in stored.shapes.items() if not key.endswith((DOWN, UP))}
    return Checkpoint(name=stored.name, shapes=shapes, read=read)


def _config(checkpoint: Path) -> ModelConfig:
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        config = ModelConfig.from_json(state["model"])
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"{checkpoint}: state.json has no usable model ({error})") from error
    if config.quality_knots or config.analysis_unet is None:
        raise WeightsError(f"{checkpoint}: {config.name} has all rates in one model; `onedc export` takes it")
    return config


def _stored(checkpoint: Path) -> Checkpoint:
    """The codec's tensors, the running mean before the plain weights."""
    files = [open_checkpoint(checkpoint / "model.safetensors")]
    if (checkpoint / "ema.safetensors").exists():
        files.append(open_checkpoint(checkpoint / "ema.safetensors"))
    both = joined(str(checkpoint), files)
    found = {key.removeprefix(_LEAD): key for key in both.shapes if key.startswith(_LEAD)}
    if not found:
        raise WeightsError(f"{checkpoint}: a checkpoint without a codec")
    shapes = {ours: both.shapes[key] for ours, key in found.items()}
    return Checkpoint(name=both.name, shapes=shapes, read=lambda key: both.tensor(found[key]))


def _unmerged(stored: Checkpoint, weights: Checkpoint) -> Checkpoint:
    """Adapted layers and their adapters, of those weights that still exist."""
    layers = [key.removesuffix(DOWN) for key in stored.shapes if key.endswith(DOWN)]
    names = {
        layer + _WEIGHT + end: layer + place
        for layer in layers
        for end, place in (("", _WEIGHT), (ADAPTER_DOWN, DOWN), (ADAPTER_UP, UP))
        if layer + _WEIGHT in weights.shapes
    }
    shapes = {key: stored.shapes[name] for key, name in names.items()}
    return Checkpoint(name=stored.name, shapes=shapes, read=lambda key: stored.tensor(names[key]))
