"""Several published rates of one model to one family file: what they share is stored once.

Nothing is assumed about which weights those are: equal tensors are stored once, adapters on equal layers
are kept beside them, and all else belongs to one rate. Training runs of our own are rates too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from onedc.config import ModelConfig
from onedc.errors import WeightsError
from onedc.files import file_sha256
from onedc.interop.convert import (
    STORAGE,
    Options,
    Published,
    convert_seam,
    entry,
    open_unet,
    origin,
    read_published,
)
from onedc.interop.keys import merge_lora, own_adapters, unet_key
from onedc.model.lora import DOWN, UP
from onedc.pretrained.checkpoint import Checkpoint
from onedc.pretrained.runs import run_config, stored_network
from onedc.weights.family_file import ADAPTER_DOWN, ADAPTER_UP, FORMAT, SHARED
from onedc.weights.file import SEAM_NETS, file_metadata
from onedc.weights.layout import SEAM
from onedc.weights.stream_writer import Entry, write_safetensors


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One model of a family, opened."""

    rate: str  # its lambda, kept as a note
    origin: dict[str, dict[str, str]]  # names and hashes of its files
    config: ModelConfig
    weights: Checkpoint  # our keys, adapters merged
    unmerged: Checkpoint  # our keys with the ends "", ADAPTER_DOWN and ADAPTER_UP, of adapted layers only
    integers: dict[str, Tensor]


def open_rate(published: Published) -> Rate:
    """Open one published model and convert its seam."""
    config, weights = read_published(published)
    return Rate(
        rate=published.rate,
        origin=origin(published),
        config=config,
        weights=weights,
        unmerged=unmerged(open_unet(published.unet).renamed(own_adapters).renamed(unet_key)),
        integers=convert_seam(config, weights),
    )


def unmerged(stored: Checkpoint) -> Checkpoint:
    """Adapted layers and their adapters, under our keys."""
    layers = [key.removesuffix(DOWN) for key in stored.shapes if key.endswith(DOWN)]
    ends = {"": ".weight", ADAPTER_DOWN: DOWN, ADAPTER_UP: UP}
    return stored.chosen(
        {f"{layer}.weight{end}": layer + own for layer in layers for end, own in ends.items()}
    )


def write_family(rates: Sequence[Rate], output: Path, options: Options) -> None:
    """Write several rates as one family file.

    Args:
        rates: two or more, lowest first; the first may be the one for z only.

    Raises:
        WeightsError: one twice, or one for z only behind others.
        OutputError: the output cannot be written.
    """
    if any(rate.config.z_only for rate in rates[1:]):
        raise WeightsError("the model for z only must be the family's first")
    for one, other in combinations(rates, 2):
        if _equal_integers(one, other):
            names = f"{one.weights.name}, {other.weights.name}"
            raise WeightsError(f"{names}: the same codec twice; name the files of different rates")
    dtype = STORAGE[options.storage]
    entries: dict[str, Entry] = {}
    for key in rates[0].weights.shapes:
        if not key.startswith(SEAM_NETS):
            entries |= dict(_placed(key, rates, dtype))
    for index, rate in enumerate(rates):
        entries |= {f"{index}.{SEAM}{name}": Entry.of(value) for name, value in rate.integers.items()}
    write_safetensors(output, entries, _metadata(rates, options))


def _placed(key: str, rates: Sequence[Rate], dtype: torch.dtype) -> Iterator[tuple[str, Entry]]:
    """Where a weight goes: shared, shared with adapters, or to each rate."""
    if all(key in rate.unmerged.shapes for rate in rates) and _equal(key, [r.unmerged for r in rates]):
        yield SHARED + key, entry(key, rates[0].unmerged, dtype)
        for index, rate in enumerate(rates):
            for end in (ADAPTER_DOWN, ADAPTER_UP):
                yield f"{index}.{key}{end}", entry(key + end, rate.unmerged, dtype)
    elif _equal(key, [rate.weights for rate in rates]):
        yield SHARED + key, entry(key, rates[0].weights, dtype)
    else:
        for index, rate in enumerate(rates):
            yield f"{index}.{key}", entry(key, rate.weights, dtype)


def _equal(key: str, checkpoints: Sequence[Checkpoint]) -> bool:
    first = checkpoints[0].tensor(key)
    return all(torch.equal(first, other.tensor(key)) for other in checkpoints[1:])


def _equal_integers(one: Rate, other: Rate) -> bool:
    """Whether h_s and the prior of two rates are the same, which those of different ones never are."""
    return all(torch.equal(value, other.integers[name]) for name, value in one.integers.items())


def _metadata(rates: Sequence[Rate], options: Options) -> dict[str, str]:
    members = []
    for rate in rates:
        described = file_metadata(rate.config, options.model_id, rate.integers)
        member = {name: described[name] for name in ("config", "seam_sha256")}
        members.append(member | {"rate": rate.rate, "origin": rate.origin})
    return {
        "format": FORMAT,
        "model_id": str(options.model_id),
        "members": json.dumps(members),
    }


def open_run(checkpoint: Path, rate: str) -> Rate:
    """Open one checkpoint folder of a run; its running mean where there is one.

    Args:
        checkpoint: RUN/checkpoints/step-...
        rate: its lambda, kept as a note.

    Raises:
        WeightsError: not a checkpoint of a codec of one rate, or a damaged one.
    """
    config, stored = run_config(checkpoint), stored_network(checkpoint)
    if config.quality_knots:
        raise WeightsError(f"{checkpoint}: {config.name} has all rates in one model; `onedc export` takes it")
    weights = merge_lora(stored)
    return Rate(
        rate=rate,
        origin={"run": {"file": str(checkpoint), "sha256": file_sha256(checkpoint / "model.safetensors")}},
        config=config,
        weights=weights,
        unmerged=unmerged(stored),
        integers=convert_seam(config, weights),
    )
