"""From the networks in torch to ONNX graphs, for any configuration of the light kind."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from onedc.config import LightConfig, ModelConfig
from onedc.engine.graphs import ANALYSIS, FORMS, HALO, LATENTS, PIXELS, STEM
from onedc.errors import ConfigError, optional
from onedc.model.hyperprior import FSQ
from onedc.model.onedc import OneDC

OPSET = 17
EXTERNAL_FILE = "weights"
"""Parameters say that they lie in a file of this name; engines hand them over instead."""
_ROWS, _COLUMNS = 2, 3  # of positions of z in what is traced; any others do as well


class _Stem(nn.Module):
    def __init__(self, nets: OneDC) -> None:
        super().__init__()
        self.g_a = nets.g_a

    def forward(self, x: Tensor) -> Tensor:
        return self.g_a.stem(x)  # type: ignore[operator]


class _Analysis(nn.Module):
    def __init__(self, nets: OneDC) -> None:
        super().__init__()
        self.g_a, self.h_a, self.fsq = nets.g_a, nets.h_a, nets.fsq

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        y, sem = self.g_a.behind_stem(features)  # type: ignore[operator]
        return y, FSQ.to_indices(self.fsq(self.h_a(y, sem)))


class _Latents(nn.Module):
    def __init__(self, nets: OneDC) -> None:
        super().__init__()
        self.semantic, self.g_s, self.generator = nets.semantic, nets.g_s, nets.generator

    def forward(self, y_hat: Tensor, z_semantic: Tensor, quality: Tensor) -> Tensor:
        tokens = self.semantic(z_semantic)
        return self.generator(self.g_s(y_hat, tokens, quality), tokens, quality)


class _Pixels(nn.Module):
    def __init__(self, nets: OneDC) -> None:
        super().__init__()
        self.vae = nets.vae

    def forward(self, vae_latents: Tensor) -> Tensor:
        return self.vae.decoder(vae_latents)  # type: ignore[operator]


def can_export(config: ModelConfig) -> bool:
    """Whether graphs can be made of such a model."""
    return config.light is not None


@torch.no_grad()
def export_graphs(config: ModelConfig) -> dict[str, bytes]:
    """The graphs of a light configuration, by name; see `graphs.FORMS`.

    Raises:
        ConfigError: a configuration of another kind.
        MissingExtraError: the package onnx is not installed.
    """
    light = config.light
    if light is None:
        raise ConfigError(f"model {config.name!r}: only light models can run without torch")
    nets = OneDC(config)
    with torch.random.fork_rng([]):
        for parameter in nets.parameters():
            parameter.normal_()  # the tracer would take equal ones for one
    halos = {STEM: int(nets.g_a.halo), PIXELS: int(nets.vae.halo)}  # type: ignore[arg-type]
    modules = {STEM: _Stem, ANALYSIS: _Analysis, LATENTS: _Latents, PIXELS: _Pixels}
    parameters = set(nets.state_dict())
    graphs = {}
    for name, inputs in _traced(config, light).items():
        metadata = {HALO: str(halos[name])} if name in halos else {}
        graphs[name] = _graph(name, modules[name](nets).eval(), inputs, parameters, metadata)
    return graphs


def _traced(config: ModelConfig, light: LightConfig) -> dict[str, tuple[Tensor, ...]]:
    """Inputs of each graph, of a small size."""

    def maps(channels: int, positions: int) -> Tensor:
        return torch.zeros(1, channels, _ROWS * positions, _COLUMNS * positions)

    return {
        STEM: (maps(3, 64),),
        ANALYSIS: (maps(light.analysis_widths[2], 4),),
        LATENTS: (maps(config.y_channels, 4), maps(config.hyper_channels, 1), torch.tensor([100])),
        PIXELS: (maps(config.vae_channels, 8),),
    }


def _graph(
    name: str, module: nn.Module, inputs: tuple[Tensor, ...], parameters: set[str], metadata: dict[str, str]
) -> bytes:
    onnx = optional("onnx", "train")
    form = FORMS[name]
    sides = {1: "h", 2: "w"}, {2: "h", 3: "w"}
    maps = [key for key in (*form.inputs, *form.outputs) if key != "quality"]
    traced = io.BytesIO()
    with warnings.catch_warnings():
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
    wanted = {key for key in parameters if key.startswith(form.parameters)}
    assert {tensor.name for tensor in external} == wanted, name
    for tensor in external:
        _make_external(tensor, onnx.TensorProto.EXTERNAL)
    for node in model.graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
    _drop_repeats(model.graph)
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
