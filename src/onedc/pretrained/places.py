"""Where the weights of a published network lie: a file, a folder of diffusers' layout, or a model hub id.

Shards and half-precision variants are found too, where there is nothing better.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from onedc.errors import WeightsError, one_line, optional
from onedc.pretrained.checkpoint import INDEX_SUFFIX, shards_of

_DIFFUSERS = ("diffusion_pytorch_model",)
_STEMS = {"text_encoder": ("model", "pytorch_model")}
_ENDS = (
    ".safetensors",
    ".safetensors.index.json",
    ".bin",
    ".bin.index.json",
    ".fp16.safetensors",
    ".fp16.bin",
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find_weights(place: str, part: str) -> Path:
    """The weights file of one network of a diffusion model.

    Args:
        place: a file, a folder (of a whole model or of the part), or a hub id such as OWNER/NAME.
        part: its folder in diffusers' layout: "vae", "unet" or "text_encoder".

    Raises:
        WeightsError: nothing there.
        MissingExtraError: a hub id, and huggingface-hub is not installed.
    """
    path, names = Path(place), _names(part)
    if path.is_file():
        return path
    if path.is_dir():
        for name in names:
            if (path / name).is_file():
                return path / name
        raise WeightsError(f"{place}: no {Path(names[0]).name} or its like in this folder or its {part}/")
    if not _HUB_ID.fullmatch(place):
        raise WeightsError(f"{place}: no such file or folder, and not a hub id of the form OWNER/NAME")
    for name in names:
        found = from_hub(place, name)
        if found is not None:
            for shard in shards_of(found) if found.suffix == INDEX_SUFFIX else ():
                from_hub(place, str(Path(name).parent / shard))
            return found
    raise WeightsError(f"{place}: holds no {Path(names[0]).name} or its like, at its top or in {part}/")


def _names(part: str) -> list[str]:
    """Where weights may lie below a folder, best first."""
    stems = _STEMS.get(part, _DIFFUSERS)
    return [f"{folder}{stem}{end}" for end in _ENDS for stem in stems for folder in (f"{part}/", "")]


def from_hub(hub_id: str, name: str) -> Path | None:
    """A file of a model hub's repository, fetched into the hub's cache; None where there is no such file.

    Raises:
        WeightsError: no such repository, or the hub cannot be reached.
        MissingExtraError: huggingface-hub is not installed.
    """
    hub, errors = _hub()
    try:
        return Path(hub.hf_hub_download(hub_id, name))
    except errors.LocalEntryNotFoundError as error:
        raise WeightsError(f"{hub_id}: not on this machine, and the model hub cannot be reached") from error
    except errors.EntryNotFoundError:
        return None
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise WeightsError(f"{hub_id}: cannot be fetched from the model hub: {one_line(error)}") from error


def folder_from_hub(hub_id: str, part: str) -> list[Path]:
    """All files of a folder of a repository, fetched into the hub's cache.

    Raises:
        WeightsError, MissingExtraError: see `from_hub`.
    """
    hub, _ = _hub()
    try:
        inside = [name for name in hub.list_repo_files(hub_id) if name.startswith(f"{part}/")]
    except Exception as error:  # each layer of a transfer has errors of its own
        raise WeightsError(f"{hub_id}: cannot be fetched from the model hub: {one_line(error)}") from error
    if not inside:
        raise WeightsError(f"{hub_id}: holds no folder {part}/")
    return [path for name in inside if (path := from_hub(hub_id, name)) is not None]


def _hub() -> tuple[Any, Any]:
    package = "huggingface-hub"
    return optional("huggingface_hub", "train", package), optional("huggingface_hub.errors", "train", package)
