"""Models in onnxruntime against the same models in torch: bytes, symbols, pictures, refusals."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_package
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture
from tests.conformance.recording import recorded
from tests.graphs import SharedGraphs
from tests.unit.little_model import LITTLE, random_model

from onedc.cli.main import main
from onedc.codec import Codec
from onedc.config import SD15, TINY, ModelConfig
from onedc.engine import onnx_engine
from onedc.engine.graphs import FORMS
from onedc.engine.onnx_engine import OnnxEngine
from onedc.engine.onnx_export import export_graphs
from onedc.engine.torch_engine import TorchEngine
from onedc.errors import ConfigError, WeightsError
from onedc.loading import load
from onedc.model import tile_layout
from onedc.model.taef2 import TAEF2
from onedc.model.tiling import Overlap
from onedc.train.export import add_graphs
from onedc.weights import BUNDLED
from onedc.weights.arrays import read_arrays
from onedc.weights.file import load_weights, save_weights
from onedc.weights.layout import GRAPH

SIZES = [(64, 64), (90, 70), (1, 200), (300, 130)]
"""Width and height; graphs are traced at 192x128."""
CONFIGS = {
    "whole": TINY,
    "reduced": replace(LITTLE, attention_positions=16, attention_window=4),
}
"""Of the second, most pictures have attention in windows, whole ones and cut ones."""


@pytest.fixture(scope="module", params=CONFIGS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def weights(
    config: ModelConfig, shared_graphs: SharedGraphs, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp(config.name) / f"{config.name}.safetensors"
    save_weights(path, random_model(config), model_id=200, dtype=torch.int8, graphs=shared_graphs(config))
    return path


@pytest.fixture(scope="module")
def onnx(weights: Path) -> Codec:
    return load(weights, threads=1)


@pytest.fixture(scope="module")
def with_torch(weights: Path) -> Codec:
    return load(weights, engine="torch", precision="fp32")


def test_auto_takes_onnxruntime_where_there_are_graphs(onnx: Codec, with_torch: Codec) -> None:
    assert isinstance(onnx.model.engine, OnnxEngine)
    assert isinstance(with_torch.model.engine, TorchEngine)
    assert isinstance(load(FIXTURE).model.engine, TorchEngine)
    assert onnx.model.fingerprint == with_torch.model.fingerprint


def test_parameters_are_those_that_torch_reads(weights: Path) -> None:
    found, wanted = read_arrays(weights).parameters, load_weights(weights).nets.state_dict()
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], value.numpy()) for name, value in wanted.items())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quality", [0, 60])
def test_the_same_bytes_and_nearly_the_same_picture(
    onnx: Codec, with_torch: Codec, size: tuple[int, int], quality: float
) -> None:
    data = onnx.encode(picture(*size), quality=quality)
    assert data == with_torch.encode(picture(*size), quality=quality)
    decoded, symbols = [], []
    for codec in (onnx, with_torch):
        with recorded(codec) as recording:
            decoded.append(codec.decode(data, output="torch"))
        symbols.append(recording.arrays())
    assert decoded[0].shape == (3, size[1], size[0])
    assert (decoded[0] - decoded[1]).abs().max() < 1e-4
    for name, values in symbols[1].items():
        np.testing.assert_array_equal(symbols[0][name], values, err_msg=name)


def test_batches_previews_and_tensors(onnx: Codec) -> None:
    batch = [picture(90, 70), picture(128, 128)]
    files = onnx.encode_batch(batch, quality=40)
    assert files == [onnx.encode(x, quality=40) for x in batch]
    for one, data in zip(onnx.decode_batch(files, output="numpy"), files, strict=True):
        assert np.array_equal(one, onnx.decode(data, output="numpy"))
    assert np.array_equal(
        onnx.decode(files[0], preview=True, output="numpy"),
        onnx.decode(onnx.encode(batch[0], quality=0), output="numpy"),
    )
    tensor = torch.from_numpy(batch[0]).permute(2, 0, 1).float().mul(2 / 255).sub(1)
    assert onnx.encode(tensor, quality=40) == files[0]


def test_tiles_give_what_the_whole_picture_gives(onnx: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    x = picture(192, 800)
    data = onnx.encode(x)
    whole = onnx.decode(data, output="torch")
    monkeypatch.setattr(tile_layout, "WHOLE_PX", 2**12)
    monkeypatch.setattr(
        onnx_engine, "tiles", lambda *sides, **layout: tile_layout.tiles(*sides, **{**layout, "side": 20})
    )
    assert onnx.encode(x) == data
    assert (onnx.decode(data, output="torch") - whole).abs().max() < 1e-5


def test_blended_tiles_are_those_of_torch(
    onnx: Codec, with_torch: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = picture(320, 448)
    whole = onnx.decode(onnx.encode(x), output="torch")
    small = Overlap(256, 64)
    monkeypatch.setattr(TAEF2, "overlap", small)
    monkeypatch.setattr(onnx_engine, "Overlap", lambda side_px, shared_px: small)
    data = onnx.encode(x)
    assert data == with_torch.encode(x)
    pictures = [codec.decode(data, output="torch") for codec in (onnx, with_torch)]
    assert (pictures[0] - pictures[1]).abs().max() < 1e-4
    assert not torch.equal(pictures[0], whole)


def test_effort_is_that_of_torch(onnx: Codec, with_torch: Codec) -> None:
    x = picture(64, 64)
    assert onnx.encode(x, effort=1) == with_torch.encode(x, effort=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnx", "device": "cuda"}, "device 'cuda' needs torch"),
        ({"engine": "onnx", "precision": "bf16"}, "precision 'bf16' needs torch"),
        ({"engine": "onnx", "metric_weights": "nets"}, "LPIPS needs torch"),
        ({"engine": "numpy"}, "engine 'numpy' is none of"),
    ],
)
def test_what_onnxruntime_cannot_do(weights: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(weights, **options)


def test_models_without_graphs_are_refused(onnx: Codec) -> None:
    with pytest.raises(ConfigError, match=r"fixture\.safetensors holds no graphs"):
        load(FIXTURE, engine="onnx")
    with pytest.raises(ConfigError, match="compiling the networks needs torch"):
        onnx.compile()
    with pytest.raises(ConfigError, match="runs in torch only"):
        export_graphs(SD15)


def test_damaged_graphs_are_refused_in_one_line(weights: Path, tmp_path: Path) -> None:
    with safe_open(str(weights), framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    bad = tmp_path / "bad.safetensors"
    name = f"{GRAPH}stem"
    for changed, message in (
        ({name: tensors[name][:-9].clone()}, "a graph is damaged"),
        ({name: tensors[name] + 1}, "a graph is damaged"),
        ({name: None}, "the graph 'stem' is missing"),
        ({"seam.thresholds": tensors["seam.thresholds"] + 1}, "do not match their digest"),
    ):
        kept = {key: value for key, value in (tensors | changed).items() if value is not None}
        save_file(kept, bad, metadata=metadata)
        with pytest.raises(WeightsError, match=message) as caught:
            load(bad)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", ["reduced"], indirect=True)
def test_graphs_depend_on_the_configuration_alone(config: ModelConfig, weights: Path, tmp_path: Path) -> None:
    stored, again = read_arrays(weights).graphs, tmp_path / "again.safetensors"
    assert stored.keys() == FORMS.keys()
    assert main(["export", str(weights), "-o", str(again)]) == 0
    assert all(read_arrays(again).graphs[name] == graph for name, graph in stored.items())
    assert main(["export", str(weights), "-o", str(again), "--storage", "int8"]) == 2


def test_no_graph_parts_what_a_convolution_made(weights: Path) -> None:
    """Both halves of a feed-forward layer in one map would be the largest of all."""
    found = Counter[str]()
    for graph in read_arrays(weights).graphs.values():
        nodes = onnx_package.load_from_string(graph).graph.node
        kinds = {name: node.op_type for node in nodes for name in node.output}
        found.update(kinds.get(node.input[0], "parameter") for node in nodes if node.op_type == "Split")
    assert found["parameter"] and not found["Conv"]


def test_the_graphs_of_the_bundled_model_made_anew_give_the_same(tmp_path: Path) -> None:
    new, photo, files = tmp_path / "new.safetensors", picture(300, 200), []
    add_graphs(BUNDLED, new, force=False)
    for path in (BUNDLED, new):
        codec = load(path, engine="onnx")
        files.append(codec.encode(photo))
        files.append(codec.decode(files[0], output="numpy").tobytes())
    assert files[:2] == files[2:]


WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class NoTorch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "torch" else find(name, package)
from onedc.cli.main import main
status = main(sys.argv[1:])
assert "torch" not in sys.modules
raise SystemExit(status)
"""


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_commands_run_without_torch(weights: Path, with_torch: Codec, tmp_path: Path) -> None:
    from PIL import Image

    photo, coded, decoded = tmp_path / "a.png", tmp_path / "a.1dc", tmp_path / "b.png"
    Image.fromarray(picture(90, 70)).save(photo)
    done = without_torch("encode", photo, "-o", coded, "--weights", weights)
    assert done.returncode == 0, done.stderr
    assert coded.read_bytes() == with_torch.encode(picture(90, 70))
    done = without_torch("decode", coded, "-o", decoded, "--weights", weights)
    assert done.returncode == 0, done.stderr
    reference = with_torch.decode(coded, output="numpy").astype(int)
    assert abs(np.asarray(Image.open(decoded)).astype(int) - reference).max() <= 1


@pytest.mark.parametrize("config", ["reduced"], indirect=True)
def test_what_needs_torch_is_refused_without_it(weights: Path, onnx: Codec, tmp_path: Path) -> None:
    from PIL import Image

    photo, coded = tmp_path / "a.png", tmp_path / "a.1dc"
    Image.fromarray(picture(90, 70)).save(photo)
    coded.write_bytes(onnx.encode(picture(90, 70)))
    for refused, message in (
        (["encode", photo, "-o", tmp_path / "c.1dc", "--weights", FIXTURE], 'pip install "onedc[torch]"'),
        (["encode", photo, "-o", tmp_path / "c.1dc", "--weights", weights, "--effort", 2], "needs torch"),
        (["decode", coded, "-o", tmp_path / "c.png", "--engine", "torch"], "torch is not installed"),
    ):
        done = without_torch(*refused)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and message in done.stderr, done.stderr


def test_the_command_line_names_an_engine(weights: Path, tmp_path: Path) -> None:
    from PIL import Image

    photo, coded = tmp_path / "a.png", tmp_path / "a.1dc"
    Image.fromarray(picture(64, 64)).save(photo)
    assert main(["encode", str(photo), "--weights", str(weights), "--engine", "onnx"]) == 0
    assert coded.exists()
    assert main(["encode", str(photo), "--force", "--engine", "onnx", "--weights", str(FIXTURE)]) == 2
