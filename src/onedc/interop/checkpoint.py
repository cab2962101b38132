"""Published weight files, read tensor by tensor without running anything in them.

safetensors, or PyTorch's own format through its weights-only loader. What is wrong with a file is said in
one line that names it. What the tensors mean is not known here.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from onedc.errors import WeightsError

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"


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
            raise WeightsError(f"{self.name}: cannot read {key!r}: {_first_line(error)}") from error
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{self.name}: {key!r} holds values that are not finite")
        return tensor

    def renamed(self, rename: Callable[[str], str]) -> Checkpoint:
        """The same tensors under other keys.

        Raises:
            WeightsError: two keys fall together.
        """
        published: dict[str, str] = {}
        for key in self.shapes:
            other = published.setdefault(rename(key), key)
            if other != key:
                raise WeightsError(f"{self.name}: {other!r} and {key!r} are the same weight")
        return Checkpoint(
            name=self.name,
            shapes={ours: self.shapes[theirs] for ours, theirs in published.items()},
            read=lambda key: self.read(published[key]),
        )


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a published file; what it is, is told from its first bytes and not from its name.

    Raises:
        WeightsError: missing, truncated, neither safetensors nor a PyTorch file of plain tensors.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be opened: {error.strerror}") from error
    if start[8:9] == b"{":
        return _open_safetensors(path)
    if start.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        return _open_pytorch(path)
    raise WeightsError(f"{path}: neither a safetensors file nor a PyTorch file of tensors")


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    try:
        file = safe_open(path, framework="pt", device="cpu")
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: damaged or truncated safetensors file, fetch it again ({_first_line(error)})"
        ) from error
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
        reason = _first_line(error)
        raise WeightsError(f"{path}: damaged PyTorch file, fetch it again ({reason})") from error
    if not isinstance(tensors, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in tensors.items()
    ):
        raise WeightsError(f"{path}: not a plain table of tensors")
    return from_tensors(str(path), tensors)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
