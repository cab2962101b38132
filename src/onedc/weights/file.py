"""The weights file: one safetensors file with the float networks, the integer seam and the configuration.

Saving converts the seam of a trained model to integers; loading never sees its floats. Knows nothing of
pictures or .1dc bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import save
from torch import Tensor

from onedc.config import ModelConfig
from onedc.entropy.tables import load_tables
from onedc.errors import WeightsError
from onedc.files import write_whole
from onedc.model.hyperprior import HyperSynthesis, SpatialPrior
from onedc.model.onedc import PRECISE_NETS, OneDC, unpacked_nets
from onedc.seam.conversion import Shapes, arrays_of, seam_floats, seam_integers, seam_shapes
from onedc.seam.fixed_point import Seam
from onedc.weights.int8 import pack, unpack
from onedc.weights.layout import (
    FORMAT,
    GRAPH,
    SEAM,
    Z_PRIOR,
    Identity,
    behind,
    check_format,
    digested,
    integers_sha256,
    opened,
)

SEAM_NETS = ("h_s.", "prior.")
"""Parameters of OneDC that are stored as integers only."""
Content: TypeAlias = tuple[dict[str, str], dict[str, Tensor]]
"""Metadata and all tensors of a weights file, as they are stored."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A loaded model.

    Attributes:
        config: the configuration of the networks.
        model_id: what .1dc headers say; 0..255.
        seam_sha256: digest of the integers of the seam and of the prior of z.
        nets: the float networks, in eval mode; h_s and prior are missing.
        seam_integers: h_s and prior in fixed point, by name; see `seam.conversion`.
        z_prior: integers of the learned prior of z, by name; empty: the uniform code.
    """

    config: ModelConfig
    model_id: int
    seam_sha256: bytes
    nets: OneDC
    seam_integers: Mapping[str, Tensor]
    z_prior: Mapping[str, Tensor] = field(default_factory=dict)


def save_weights(
    path: str | Path,
    model: OneDC,
    *,
    model_id: int,
    dtype: torch.dtype = torch.float16,
    graphs: Mapping[str, bytes] | None = None,
) -> None:
    """Export a trained model; its seam becomes integers, the other networks are stored as `dtype`.

    Args:
        dtype: a floating type, or torch.int8: matrices and kernels in 8 bits, all else in fp16.
        graphs: of the float networks, by name, for engines without torch.

    Raises:
        OutputError: the file cannot be written.
        WeightsError: a model id outside 0..255, not finite values, or a seam without fixed-point form.
    """
    if not 0 <= model_id <= 255:
        raise WeightsError(f"model id {model_id} is not in 0..255")
    integers = seam_integers(model.h_s, model.prior, load_tables().scale.tolist())
    tensors = {SEAM + name: value.contiguous() for name, value in integers.items()}
    unpacked = unpacked_nets(model.config)
    for name, value in model.state_dict().items():
        if name.startswith(SEAM_NETS):
            continue
        if dtype == torch.int8 and value.dim() > 1 and not name.startswith(unpacked):
            tensors |= pack(name, value)
        else:
            tensors[name] = stored(name, value, torch.float16 if dtype == torch.int8 else dtype)
    tensors |= _packed(graphs or {})
    metadata = file_metadata(model.config, model_id, integers)
    write_whole(path, save(tensors, metadata=metadata), force=True)


def file_metadata(config: ModelConfig, model_id: int, integers: Mapping[str, Tensor]) -> dict[str, str]:
    """The metadata of a weights file; others may stand beside it."""
    return {
        "format": FORMAT,
        "config": config.to_json(),
        "model_id": str(model_id),
        "seam_sha256": seam_sha256(integers).hex(),
    }


def load_weights(path: str | Path, *, dtype: torch.dtype = torch.float32) -> Weights:
    """Read a weights file on the CPU; the float networks become `dtype`.

    Raises:
        WeightsError: missing, damaged, of another kind, or with tensors that do not fit its configuration.
    """
    return weights_of(read_content(path), path, dtype=dtype)


def weights_of(content: Content, path: str | Path, *, dtype: torch.dtype = torch.float32) -> Weights:
    """The model that the content of a weights file makes; the float networks become `dtype`.

    Args:
        path: of the file, for messages.

    Raises:
        WeightsError: damaged, or with tensors that do not fit its configuration.
    """
    metadata, tensors = content
    found = Identity.of(metadata, path)
    try:
        return assemble(found.config, found.model_id, tensors, seam_digest=found.seam_sha256, dtype=dtype)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def save_changed(
    content: Content,
    path: str | Path,
    *,
    z_prior: Mapping[str, Tensor] | None = None,
    graphs: Mapping[str, bytes] | None = None,
    force: bool,
) -> None:
    """Write a weights file with another prior of z or other graphs; nothing else changes but the digest.

    Args:
        content: of the weights file to copy, from `read_content`.
        z_prior, graphs: by name; None: those that it has.

    Raises:
        OutputError: the file cannot be written.
    """
    metadata, tensors = dict(content[0]), content[1]
    if z_prior is not None:
        tensors = {name: value for name, value in tensors.items() if not name.startswith(Z_PRIOR)}
        tensors |= {Z_PRIOR + name: value for name, value in z_prior.items()}
    if graphs is not None:
        tensors = {name: value for name, value in tensors.items() if not name.startswith(GRAPH)}
        tensors |= _packed(graphs)
    metadata["seam_sha256"] = seam_sha256(digested(tensors)).hex()
    write_whole(path, save(tensors, metadata=metadata), force=force)


def _packed(graphs: Mapping[str, bytes]) -> dict[str, Tensor]:
    return {
        GRAPH + name: torch.frombuffer(bytearray(zlib.compress(graph, 9)), dtype=torch.uint8)
        for name, graph in graphs.items()
    }


def trainable_tensors(path: str | Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Configuration and all parameters of a weights file, the seam's as floats: to go on training from.

    Raises:
        WeightsError: missing, damaged or of another kind.
    """
    weights = load_weights(path)
    return weights.config, weights.nets.state_dict() | _seam_floats(weights.config, weights.seam_integers)


def float_prior(config: ModelConfig, seam_integers: Mapping[str, Tensor]) -> SpatialPrior:
    """The prior as floats again: to take gradients through; codes nothing."""
    with torch.device("meta"):
        prior = SpatialPrior(config)
    prior.load_state_dict(behind("prior.", _seam_floats(config, seam_integers)), assign=True)
    return prior


def _seam_floats(config: ModelConfig, integers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    with torch.device("meta"):
        h_s, prior = HyperSynthesis(config), SpatialPrior(config)
    return seam_floats(h_s, prior, integers, config.quality_knots)


def assemble(
    config: ModelConfig, model_id: int, tensors: dict[str, Tensor], *, seam_digest: bytes, dtype: torch.dtype
) -> Weights:
    """A model from the tensors of a weights file.

    Args:
        tensors: parameters of OneDC, the integers of the seam behind SEAM, of the prior of z behind Z_PRIOR.
        seam_digest: what `seam_sha256` must give.
        dtype: of the float networks.

    Raises:
        WeightsError: integers that do not match the digest, or tensors that do not fit the configuration.
    """
    if seam_sha256(digested(tensors)) != seam_digest:
        raise WeightsError("the integers do not match their digest; the file is damaged")
    with torch.device("meta"):
        nets = OneDC(config)
    integers = behind(SEAM, tensors)
    _check_shapes(integers, seam_shapes(nets.h_s, nets.prior), SEAM)
    Seam(arrays_of(integers))  # refuses sums that could leave the exact range
    del nets.h_s, nets.prior
    _assign(
        nets, unpack({n: value for n, value in tensors.items() if not n.startswith((SEAM, Z_PRIOR, GRAPH))})
    )
    nets.to_precision(dtype).eval().requires_grad_(False)
    return Weights(
        config=config,
        model_id=model_id,
        seam_sha256=seam_digest,
        nets=nets,
        seam_integers=integers,
        z_prior=behind(Z_PRIOR, tensors),
    )


def seam_sha256(integers: Mapping[str, Tensor]) -> bytes:
    """`layout.integers_sha256` of tensors."""
    return integers_sha256(arrays_of(integers))


def read_content(path: str | Path) -> Content:
    """Metadata and all tensors of a weights file, as they are stored.

    Raises:
        WeightsError: missing, damaged or of another kind.
    """
    with opened(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    check_format(metadata, path)
    return metadata, tensors


def _assign(nets: OneDC, tensors: dict[str, Tensor]) -> None:
    """Give the networks on the meta device their parameters, all of them and no others."""
    _check_shapes(tensors, {name: tuple(value.shape) for name, value in nets.state_dict().items()})
    nets.load_state_dict(tensors, strict=True, assign=True)


def _check_shapes(tensors: Mapping[str, Tensor], expected: Shapes, prefix: str = "") -> None:
    """Raise WeightsError unless there are just these names, which stand behind `prefix`, of these shapes."""
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise WeightsError(f"tensor {prefix + name!r} is missing")
        if name not in expected:
            raise WeightsError(f"unexpected tensor {prefix + name!r}")
        if (shape := tuple(tensors[name].shape)) != expected[name]:
            raise WeightsError(f"tensor {prefix + name!r} is {shape}, expected {expected[name]}")


def stored(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    """A parameter in the type it is stored as: `dtype`, or fp32 for PRECISE_NETS.

    Raises:
        WeightsError: it is not finite, or not in that type.
    """
    dtype = torch.float32 if name.startswith(PRECISE_NETS) else dtype
    converted = value.detach().cpu().to(dtype).contiguous()
    if not bool(converted.float().isfinite().all()):
        raise WeightsError(f"tensor {name!r} has values that are not finite in {dtype}")
    return converted
