"""From the networks in torch to ONNX graphs, for all configurations but those round Stable Diffusion."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from onedc.config import ModelConfig
from onedc.engine.graphs import (
    ANALYSIS,
    FORMS,
    HALO,
    HYPER,
    LATENTS,
    PIXELS,
    SHARED,
    SIDE,
    STEM,
    STEP,
    TILE,
    parameters_in,
)
from onedc.errors import ConfigError, optional
from onedc.model.hyperprior import FSQ
from onedc.model.onedc import OneDC
from onedc.model.windows import shared_grids
from onedc.weights.file import SEAM_NETS

OPSET = 17
EXTERNAL_FILE = "weights"
"""Parameters say that they lie in a file of this name; engines hand them over instead."""
_ROWS, _COLUMNS = 2, 3  # of positions of z in what is traced; any others do as well


class _Part(nn.Module):
    """A function of a model's networks as a module, whose parameters have their names in OneDC."""

    def __init__(self, nets: OneDC, compute: Callable[..., Any]) -> None:
        super().__init__()
        for name, net in nets.named_children():
            self.add_module(name, net)
        self._compute = compute

    def forward(self, *inputs: Tensor) -> Any:
        return self._compute(self, *inputs)


def _stem(nets: Any, x: Tensor) -> Tensor:
    return torch.cat([nets.g_a.pix_emb(x), nets.vae.neighbourhoods(x)], dim=1)


def _analysis(nets: Any, features: Tensor) -> tuple[Tensor, Tensor]:
    embedded, seen = features.split([nets.g_a.pix_emb.out_channels, nets.vae.width], dim=1)
    y, sem = nets.g_a.behind_pixels(embedded, nets.vae.behind_pixels(seen))
    return y, sem


def _hyper(nets: Any, y: Tensor, sem: Tensor) -> Tensor:
    return FSQ.to_indices(nets.fsq(nets.h_a(y, sem)))


def _latents(nets: Any, y_hat: Tensor, z_semantic: Tensor, quality: Tensor) -> Tensor:
    tokens = nets.semantic(z_semantic)
    return nets.vae.before_pixels(nets.generator(nets.g_s(y_hat, tokens, quality), tokens, quality))


def _pixels(nets: Any, features: Tensor) -> Tensor:
    return nets.vae.picture(features)


_PARTS: dict[str, Callable[..., Any]] = {
    STEM: _stem,
    ANALYSIS: _analysis,
    HYPER: _hyper,
    LATENTS: _latents,
    PIXELS: _pixels,
}
"""What each graph computes."""


def can_export(config: ModelConfig) -> bool:
    """Whether graphs can be made of such a model."""
    return config.vae != "sd"


@torch.no_grad()
def export_graphs(config: ModelConfig) -> dict[str, bytes]:
    """The graphs of a configuration, by name; see `graphs.FORMS`.

    Raises:
        ConfigError: one round the autoencoder of Stable Diffusion.
        MissingExtraError: the package onnx is not installed.
    """
    if not can_export(config):
        raise ConfigError(f"model {config.name!r}: Stable Diffusion's autoencoder runs in torch only")
    nets = OneDC(config)
    with torch.random.fork_rng([]):
        for parameter in nets.parameters():
            parameter.normal_()  # the tracer would take equal ones for one
    metadata = _layouts(nets)
    parameters = set(nets.state_dict())
    graphs = {
        name: _graph(name, _Part(nets, _PARTS[name]).eval(), inputs, parameters, metadata.get(name, {}))
        for name, inputs in _traced(config, nets).items()
    }
    asked = [parameter for graph in graphs.values() for parameter in parameters_in(graph, parameters)]
    assert sorted(asked) == sorted(name for name in parameters if not name.startswith(SEAM_NETS))
    return graphs


def _layouts(nets: Any) -> dict[str, dict[str, str]]:
    """How the graphs that run in tiles are tiled."""
    blended = {TILE: str(nets.vae.overlap.side_px), SHARED: str(nets.vae.overlap.shared_px)}
    exact = {
        name: {STEP: "8", HALO: str(tiling.halo), SIDE: str(tiling.side)}
        for name, tiling in ((STEM, nets.vae.tiles_in), (PIXELS, nets.vae.tiles_out))
    }
    return {**exact, ANALYSIS: blended, LATENTS: blended}


def _traced(config: ModelConfig, nets: Any) -> dict[str, tuple[Tensor, ...]]:
    """Inputs of each graph, of a small size."""

    def maps(channels: int, positions: int) -> Tensor:
        return torch.zeros(1, channels, _ROWS * positions, _COLUMNS * positions)

    return {
        STEM: (maps(3, 64),),
        ANALYSIS: (maps(config.pixel_channels + nets.vae.width, 8),),
        HYPER: (maps(config.y_channels, 4), maps(config.analysis_unet.widths[-1], 1)),
        LATENTS: (maps(config.y_channels, 4), maps(config.hyper_channels, 1), torch.tensor([100])),
        PIXELS: (maps(nets.vae.width, 8),),
    }


def _graph(
    name: str, module: nn.Module, inputs: tuple[Tensor, ...], parameters: set[str], metadata: dict[str, str]
) -> bytes:
    onnx = optional("onnx", "train")
    form = FORMS[name]
    sides = {1: "h", 2: "w"}, {2: "h", 3: "w"}
    maps = [key for key in (*form.inputs, *form.outputs) if key != "quality"]
    traced = io.BytesIO()
    with warnings.catch_warnings(), shared_grids():
        warnings.simplefilter("ignore")  # the tracer warns of each Python number; sizes are tested
        torch.onnx.export(
            module,
            inputs,
            traced,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=form.inputs,
            output_names=form.outputs,
            dynamic_axes={
                key: {axis: f"{key}_{side}" for axis, side in sides[key != "z_idx"].items()} for key in maps
            },
            do_constant_folding=False,  # else parameters lose their names
        )
    model = onnx.load_from_string(traced.getvalue())
    external = [tensor for tensor in model.graph.initializer if tensor.name in parameters]
    for tensor in external:
        _make_external(tensor, onnx.TensorProto.EXTERNAL)
    for node in model.graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
    _drop_repeats(model.graph)
    _split_before_convolving(model.graph)
    onnx.helper.set_model_props(model, metadata)
    serialised: bytes = model.SerializeToString()
    return serialised


def _make_external(tensor: Any, external: int) -> None:
    """Take a parameter's values out of a graph; its name and shape stay."""
    facts = {"location": EXTERNAL_FILE, "offset": "0", "length": str(len(tensor.raw_data))}
    tensor.ClearField("raw_data")
    tensor.data_location = external
    for key, value in facts.items():
        tensor.external_data.add(key=key, value=value)


def _split_before_convolving(graph: Any) -> None:
    """A convolution whose channels are parted becomes one for each part: their common map is never made.

    In the feed-forward layers it is the largest of all, and activations can then be fused.
    """
    users = Counter(name for node in graph.node for name in node.input)
    made = {name: node for node in graph.node for name in node.output}
    nodes: list[Any] = []
    for node in graph.node:
        whole = made.get(node.input[0]) if node.op_type == "Split" else None
        if whole is None or whole.op_type != "Conv" or users[node.input[0]] > 1:
            nodes.append(node)
            continue
        nodes.remove(whole)
        parts = []  # of weight and bias
        for name in whole.input[1:]:
            cut = type(node).FromString(node.SerializeToString())
            cut.input[0] = name
            cut.output[:] = [f"{name}/{index}" for index in range(len(node.output))]
            axis = next(attribute for attribute in cut.attribute if attribute.name == "axis")
            axis.i = 0
            nodes.append(cut)
            parts.append(list(cut.output))
        for output, *names in zip(node.output, *parts, strict=True):
            part = type(whole).FromString(whole.SerializeToString())
            part.input[1:] = names
            part.output[:] = [output]
            nodes.append(part)
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_repeats(graph: Any) -> None:
    """Of nodes that compute the same leave the first: half of the tracer's repeat constants or sizes."""
    first: dict[tuple[object, ...], list[str]] = {}
    renamed: dict[str, str] = {}
    kept, results = [], {result.name for result in graph.output}
    for node in graph.node:
        inputs = [renamed.get(name, name) for name in node.input]
        node.input[:] = inputs
        facts = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        outputs = first.setdefault((node.op_type, *inputs, *facts), list(node.output))
        if outputs == list(node.output) or results.intersection(node.output):
            kept.append(type(node).FromString(node.SerializeToString()))
        else:
            renamed.update(zip(node.output, outputs, strict=True))
    del graph.node[:]
    graph.node.extend(kept)
