"""The family file: several rates of one model that share most of their weights, stored once.

A member is a whole model made of the shared tensors, its own, and its adapters on shared layers. Knows
nothing of pictures or .1dc bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from onedc.config import ModelConfig
from onedc.errors import ConfigError, WeightsError
from onedc.model.lora import DOWN, UP
from onedc.weights.file import Weights, assemble
from onedc.weights.layout import opened
from onedc.weights.lora import merged

FORMAT = "onedc-family-1"
SHARED = "shared."
ADAPTER_DOWN, ADAPTER_UP = ".adapter_down", ".adapter_up"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One rate of a family."""

    config: ModelConfig
    seam_sha256: bytes
    rate: str  # the published model's lambda, a note


@dataclass(frozen=True, kw_only=True)
class FamilyFile:
    """What a family file says about itself.

    Attributes:
        model_id: what .1dc headers say; 192..255.
        members: lowest rate first; the first may be one for z only.
    """

    path: Path
    model_id: int
    members: tuple[Member, ...]


def is_family(path: str | Path) -> bool:
    """Whether a file is a family; files that cannot be read are none."""
    try:
        with opened(path, "np") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except WeightsError:
        return False


def read_family(path: str | Path) -> FamilyFile:
    """What a family file holds, without its tensors.

    Raises:
        WeightsError: unreadable, or no family file.
    """
    with opened(path, "np") as file:
        metadata = file.metadata() or {}
    try:
        members = tuple(_member(entry) for entry in json.loads(metadata["members"]))
        family = FamilyFile(
            path=Path(path),
            model_id=int(metadata["model_id"]),
            members=members,
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise WeightsError(f"{path}: unusable metadata: {error}") from error
    if not members:
        raise WeightsError(f"{path}: a family without members")
    return family


def _member(entry: dict[str, Any]) -> Member:
    return Member(
        config=ModelConfig.from_json(entry["config"]),
        seam_sha256=bytes.fromhex(entry["seam_sha256"]),
        rate=str(entry["rate"]),
    )


def load_member(family: FamilyFile, index: int, *, dtype: torch.dtype = torch.float32) -> Weights:
    """One rate of a family, its adapters merged.

    Raises:
        WeightsError: a damaged file, or tensors that do not fit the member's configuration.
    """
    member, own = family.members[index], f"{index}."
    with opened(family.path, "pt") as file:
        names = list(file.keys())
        tensors = {
            _in_a_network(name.removeprefix(prefix)): file.get_tensor(name)
            for prefix in (SHARED, own)
            for name in names
            if name.startswith(prefix)
        }
    tensors = merged(tensors, f"{family.path}, rate {member.rate}")
    try:
        return assemble(member.config, family.model_id, tensors, seam_digest=member.seam_sha256, dtype=dtype)
    except RuntimeError as error:
        raise WeightsError(f"{family.path}: damaged: {error}") from error
    except WeightsError as error:
        raise WeightsError(f"{family.path}, rate {member.rate}: {error}") from error


def _in_a_network(name: str) -> str:
    """The name within a network of a weight or of an adapter, which here stands beside its weight's name."""
    return name.replace(f".weight{ADAPTER_DOWN}", DOWN).replace(f".weight{ADAPTER_UP}", UP)
