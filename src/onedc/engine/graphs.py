"""The ONNX graphs that take the place of a light model's networks: their names, inputs and outputs.

Parameters are not part of a graph but come by name from the weights file, so that a graph depends on the
configuration alone. Knows neither torch nor onnxruntime.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GraphForm:
    """What goes into a graph and what comes out; heights and widths are free.

    Attributes:
        parameters: what the names of its parameters begin with.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...]


STEM, ANALYSIS, LATENTS, PIXELS = "stem", "analysis", "latents", "pixels"
FORMS = {
    STEM: GraphForm(inputs=("x",), outputs=("features",), parameters=("g_a.stem.",)),
    ANALYSIS: GraphForm(
        inputs=("features",),
        outputs=("y", "z_idx"),
        parameters=("g_a.trunk.", "g_a.conv_out.", "g_a.to_semantic.", "h_a."),
    ),
    LATENTS: GraphForm(
        inputs=("y_hat", "z_semantic", "quality"),
        outputs=("vae_latents",),
        parameters=("semantic.", "g_s.", "generator."),
    ),
    PIXELS: GraphForm(inputs=("vae_latents",), outputs=("x",), parameters=("vae.",)),
}
"""Graphs by name, in the order the data walks. Maps are [1,C,h,w] and float32, with `features` at 1/16,
`vae_latents` at 1/8; `z_idx` is int64 [1,H/64,W/64], `quality` int64 [1]."""
HALO = "halo"
"""Key of a graph's metadata: positions that a position of the coarser map depends on to each side."""
