"""Published weight files, read tensor by tensor without running anything in them.

safetensors, or PyTorch's own format through its weights-only loader, each in one file or in the shards that
an index lists. What is wrong with a file is said in one line that names it. What the tensors mean is not
known here.
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from onedc.errors import WeightsError, one_line, refused_as
from onedc.weights.layout import reading

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"
INDEX_SUFFIX = ".json"
"""Of a list of shards, such as model.safetensors.index.json."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The tensors of one published file; each is read when it is asked for."""

    name: str  # file name, for messages
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]

    def tensor(self, key: str) -> Tensor:
        """One tensor, as stored.

        Raises:
            WeightsError: it holds values that are not finite, or cannot be read.
        """
        try:
            tensor = self.read(key)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise WeightsError(f"{self.name}: cannot read {key!r}: {one_line(error)}") from error
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{self.name}: {key!r} holds values that are not finite")
        return tensor

    def renamed(self, rename: Callable[[str], str]) -> Checkpoint:
        """The same tensors under other keys. Raises WeightsError where two keys fall together."""
        published: dict[str, str] = {}
        for key in self.shapes:
            other = published.setdefault(rename(key), key)
            if other != key:
                raise WeightsError(f"{self.name}: {other!r} and {key!r} are the same weight")
        return self.chosen(published)

    def chosen(self, names: Mapping[str, str]) -> Checkpoint:
        """Some of the tensors under keys of ours; `names` says what each is called here."""
        shapes = {ours: self.shapes[key] for ours, key in names.items()}
        return Checkpoint(name=self.name, shapes=shapes, read=lambda key: self.read(names[key]))


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a published file; what it is, is told from its first bytes and not from its name.

    A file of PyTorch's may hold tables within tables: their tensors then have names with dots between. The
    index (.json) of a network that is stored in several files stands for all of them.

    Raises:
        WeightsError: missing, truncated, neither safetensors nor a PyTorch file of plain tensors.
    """
    if path.suffix == INDEX_SUFFIX:
        return _open_shards(path)
    with refused_as(WeightsError, f"{path}: cannot be opened"), path.open("rb") as file:
        start = file.read(9)
    if start[8:9] == b"{":
        return _open_safetensors(path)
    if start.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        return _open_pytorch(path)
    raise WeightsError(f"{path}: neither a safetensors file nor a PyTorch file of tensors")


def shards_of(index: Path) -> dict[str, list[str]]:
    """The files that an index lists, which lie beside it, and the keys that each of them holds.

    Raises:
        WeightsError: not an index, or one that leads out of its folder.
    """
    with refused_as(WeightsError, f"{index}: cannot be opened"):
        text = index.read_bytes()
    try:
        owners = json.loads(text)["weight_map"]
        files: dict[str, list[str]] = {}
        for key, name in owners.items():
            files.setdefault(name, []).append(key)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index}: not the index of a network in several files") from error
    for name in files:
        if not isinstance(name, str) or Path(name).name != name:
            raise WeightsError(f"{index}: refused: {name!r} is not a file beside it")
    return files


def joined(name: str, parts: Sequence[Checkpoint]) -> Checkpoint:
    """Several checkpoints without common keys as one."""
    owner = {key: part for part in parts for key in part.shapes}
    shapes = {key: part.shapes[key] for key, part in owner.items()}
    return Checkpoint(name=name, shapes=shapes, read=lambda key: owner[key].tensor(key))


def from_tensors(name: str, tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Tensors that are in memory already, as a checkpoint."""
    return Checkpoint(
        name=name, shapes={k: tuple(t.shape) for k, t in tensors.items()}, read=tensors.__getitem__
    )


def list_keys(keys: Iterable[str], limit: int = 3) -> str:
    """A few keys and how many more there are, for a message."""
    ordered = sorted(keys)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(map(repr, ordered[:limit])) + more


def _open_safetensors(path: Path) -> Checkpoint:
    with reading(path):
        file = safe_open(path, framework="pt", device="cpu")
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    return Checkpoint(name=str(path), shapes=shapes, read=file.get_tensor)


def _open_pytorch(path: Path) -> Checkpoint:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what is not plain tensors is refused below
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused: not a PyTorch file of plain tensors; nothing was run"
        ) from error
    except Exception as error:  # the loader raises nearly anything on damaged files
        reason = one_line(error)
        raise WeightsError(f"{path}: damaged PyTorch file, fetch it again ({reason})") from error
    found = dict(_flat(tensors))
    if not found:
        raise WeightsError(f"{path}: not a plain table of tensors")
    return from_tensors(str(path), found)


def _flat(table: object, lead: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of a table that may hold further tables, with dotted names; numbers and texts are left."""
    for key, value in table.items() if isinstance(table, Mapping) else ():
        if isinstance(key, str) and isinstance(value, Tensor):
            yield lead + key, value
        elif isinstance(key, str):
            yield from _flat(value, f"{lead}{key}.")


def _open_shards(index: Path) -> Checkpoint:
    parts = []
    for name, keys in shards_of(index).items():
        shard = open_checkpoint(index.parent / name)
        lost = set(keys) - shard.shapes.keys()
        if lost:
            raise WeightsError(f"{shard.name}: lacks {list_keys(lost)}, which {index.name} says it has")
        parts.append(shard)
    return joined(str(index), parts)
