"""The ONNX graphs that take the place of a model's networks: their names, inputs and outputs.

Parameters are not part of a graph but come by name from the weights file, so that a graph depends on the
configuration alone. Knows neither torch nor onnxruntime.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GraphForm:
    """What goes into a graph and what comes out; heights and widths are free."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


STEM, ANALYSIS, HYPER, LATENTS, PIXELS = "stem", "analysis", "hyper", "latents", "pixels"
FORMS = {
    STEM: GraphForm(inputs=("x",), outputs=("features",)),
    ANALYSIS: GraphForm(inputs=("features",), outputs=("y", "sem")),
    HYPER: GraphForm(inputs=("y", "sem"), outputs=("z_idx",)),
    LATENTS: GraphForm(inputs=("y_hat", "z_semantic", "quality"), outputs=("vae_latents",)),
    PIXELS: GraphForm(inputs=("vae_latents",), outputs=("x",)),
}
"""Graphs by name, in the order the data walks.

Maps are [1,C,h,w] and float32; `z_idx` is int64 [1,H/64,W/64], `quality` int64 [1]. What goes from STEM to
ANALYSIS and from LATENTS to PIXELS is the model's own affair.
"""
STEP, HALO, SIDE = "step_px", "halo", "side"
"""Keys of the metadata of STEM and PIXELS, which run in tiles: see `model.tile_layout.tiles`."""
TILE, SHARED = "tile_px", "shared_px"
"""Keys of that of ANALYSIS and LATENTS, which run in blended tiles: see `model.tiling.Overlap`."""


def parameters_in(graph: bytes, names: Iterable[str]) -> list[str]:
    """Those of the names that a graph asks for: names of its tensors, each behind its length."""
    found = {graph[at.end() + 1 : at.end() + 1 + at[1][0]] for at in _TENSOR_NAME.finditer(graph)}
    return [name for name in names if name.encode() in found]


_TENSOR_NAME = re.compile(b"B(?=(.))", re.DOTALL)
"""The key of field 8 of onnx.TensorProto, and the length behind it."""
