"""safetensors files larger than memory: tensors are made and written one by one.

The library's own writer wants all of them at once. Layout: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onedc.files import write_whole

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
}
_ALIGNMENT = 8


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tensor to write: what it will be, and how to get it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], Tensor]

    @classmethod
    def of(cls, tensor: Tensor) -> Entry:
        """A tensor that is in memory, of any device."""
        return cls(dtype=tensor.dtype, shape=tuple(tensor.shape), read=lambda: tensor.detach().cpu())


def write_safetensors(path: Path, entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all, replacing an earlier one.

    Raises:
        OutputError: it cannot be written.
    """
    write_whole(path, _pieces(entries, metadata), force=True)


def _pieces(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> Iterator[bytes]:
    # Wide types first: the format's readers want every tensor aligned to its own width.
    ordered = sorted(entries, key=lambda name: (-entries[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in ordered:
        entry = entries[name]
        start, end = end, end + math.prod(entry.shape) * entry.dtype.itemsize
        header[name] = {
            "dtype": _NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    yield len(text).to_bytes(8, "little") + text
    for name in ordered:
        tensor = entries[name].read()
        assert tensor.dtype == entries[name].dtype and tensor.shape == entries[name].shape, name
        yield tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
