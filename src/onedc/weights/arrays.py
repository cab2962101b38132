"""A weights file as numpy arrays, for engines without torch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import deserialize

from onedc.errors import WeightsError
from onedc.weights.layout import (
    GRAPH,
    SCALE,
    SEAM,
    Z_PRIOR,
    Identity,
    behind,
    check_format,
    digested,
    integers_sha256,
    opened,
)

MOST_GRAPH_BYTES = 1 << 26
BF16 = "BF16"  # as safetensors calls it


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What a weights file holds.

    Attributes:
        identity: configuration, model id, digest.
        seam: integers of h_s and the prior, by name.
        z_prior: integers of the learned prior of z, by name.
        graphs: ONNX graphs by name, whole; none in a file that only torch can run.
        parameters: of the float networks, float32, by their names in OneDC.
    """

    identity: Identity
    seam: Mapping[str, NDArray[Any]]
    z_prior: Mapping[str, NDArray[Any]]
    graphs: Mapping[str, bytes]
    parameters: Mapping[str, NDArray[np.float32]]


def has_graphs(path: str | Path) -> bool:
    """Whether a file holds graphs.

    Raises:
        WeightsError: missing, or no safetensors file.
    """
    with opened(path, "np") as file:
        return any(name.startswith(GRAPH) for name in file.keys())  # noqa: SIM118


def read_arrays(path: str | Path) -> Arrays:
    """Read a weights file.

    Raises:
        WeightsError: missing, damaged, of another kind, or stored in a type that numpy lacks.
    """
    with opened(path, "np") as file:
        metadata = file.metadata() or {}
        check_format(metadata, path)
        names = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        try:
            tensors = {name: file.get_tensor(name) for name, dtype in names.items() if dtype != BF16}
        except (TypeError, AttributeError) as error:
            raise WeightsError(f"{path}: stored in a type that needs torch; export it as fp16") from error
    if len(tensors) < len(names):
        tensors |= _in_bf16(path)
    identity = Identity.of(metadata, path)
    if integers_sha256(digested(tensors)) != identity.seam_sha256:
        raise WeightsError(f"{path}: the integers do not match their digest; the file is damaged")
    return Arrays(
        identity=identity,
        seam=behind(SEAM, tensors),
        z_prior=behind(Z_PRIOR, tensors),
        graphs={name: _inflated(value, path) for name, value in behind(GRAPH, tensors).items()},
        parameters=Floats(tensors),
    )


def _in_bf16(path: str | Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of a file that are stored in BF16, which numpy lacks, as float32."""
    found = {}
    for name, facts in deserialize(Path(path).read_bytes()):
        if facts["dtype"] == BF16:
            upper = np.frombuffer(facts["data"], "<u2").astype(np.uint32) << 16
            found[name] = upper.view(np.float32).reshape(facts["shape"])
    return found


class Floats(Mapping[str, NDArray[np.float32]]):
    """The parameters among the tensors of a file, made floats when asked for: one way needs half of them."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        others = SEAM, Z_PRIOR, GRAPH
        self._stored = {name: value for name, value in tensors.items() if not name.startswith(others)}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        value = self._stored[name]
        floats: NDArray[np.float32] = value.astype(np.float32)
        if name + SCALE in self._stored:
            floats *= self._stored[name + SCALE].reshape(-1, *(1,) * (value.ndim - 1))
        return floats

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._stored if not name.endswith(SCALE))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _inflated(packed: NDArray[np.uint8], path: str | Path) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        graph = unpacker.decompress(packed.tobytes(), MOST_GRAPH_BYTES)
    except zlib.error as error:
        raise WeightsError(f"{path}: a graph is damaged: {error}") from error
    if not unpacker.eof:
        raise WeightsError(f"{path}: a graph is damaged, or larger than {MOST_GRAPH_BYTES} bytes")
    return graph
