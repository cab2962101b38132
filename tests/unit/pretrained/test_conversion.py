"""Published files to the files that recipes read, on made-up data of the published form."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from onedc.cli.main import main
from onedc.errors import OneDCError, WeightsError
from onedc.model.lpips import LPIPS
from onedc.pretrained import loading
from onedc.pretrained.conversion import check_network, convert_network
from onedc.pretrained.fetching import fetch_network
from onedc.pretrained.loading import Layout, clip_text, newer_attention, read_lpips
from onedc.pretrained.table import Network, Source, find_networks

VAE = {
    "mid.attentions.0.to_q.weight": (4, 4),
    "mid.attentions.0.to_out.0.bias": (4,),
    "conv.weight": (4, 3, 1, 1),
}
OLD = {"to_q": "query", "to_out.0": "proj_attn"}


def network(name: str) -> Network:
    return find_networks([name])[0]


def random(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {key: torch.rand(shape) for key, shape in shapes.items()}


def torchvision_and_lpips(folder: Path, backbone: str) -> tuple[list[str], LPIPS]:
    """A classifier and linear weights as they are published, and the network that they make."""
    torch.manual_seed(0)
    net = LPIPS(backbone)
    state = net.state_dict()
    classifier = {key.removeprefix("net."): t for key, t in state.items() if key.startswith("net.")}
    torch.save({**classifier, "classifier.1.weight": torch.ones(2)}, folder / "backbone.pth")
    linear = {
        key.replace(".weight", ".model.1.weight"): t for key, t in state.items() if key.startswith("lin")
    }
    torch.save(linear, folder / "linear.pth")
    return [str(folder / "backbone.pth"), str(folder / "linear.pth")], net


@pytest.mark.parametrize("backbone", ["squeeze", "alex"])
def test_lpips_is_made_of_a_classifier_and_linear_weights(tmp_path: Path, backbone: str) -> None:
    files, net = torchvision_and_lpips(tmp_path, backbone)
    path, notes = convert_network(network(f"lpips-{backbone}"), files, tmp_path / "nets")
    made = read_lpips(path, backbone)
    x, y = (torch.rand(1, 3, 64, 64) * 2 - 1 for _ in range(2))
    assert made(x, y) == net(x, y)
    assert notes == ("1 other tensors passed over",)
    state = check_network(network(f"lpips-{backbone}"), tmp_path / "nets")
    assert (state.there, state.fault, state.known) == (True, "", False)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["origin"])[0]["file"] == "backbone.pth"


@pytest.fixture
def small_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layouts of the published form that take no space."""
    text = partial(clip_text, width=32, layers=1, words=100, length=16)
    own = {
        "sd-vae": Layout(lambda: VAE, newer_attention),
        "sd15-unet": Layout(lambda: {"conv_in.weight": (4, 4, 3, 3), "conv_in.bias": (4,)}),
        "sd15-text": Layout(text, ignored=("embeddings.position_ids",)),
        "maskgit-vqgan": Layout(lambda: {"encoder.conv_in.weight": (4,)}, ignored=("decoder.",)),
    }
    for name, layout in own.items():
        monkeypatch.setitem(loading.LAYOUTS, name, layout)


@pytest.mark.usefixtures("small_layouts")
@pytest.mark.parametrize("old", [False, True])
def test_both_attention_namings_of_the_autoencoder_are_read(tmp_path: Path, old: bool) -> None:
    tensors = random(VAE)
    published = dict(tensors)
    if old:
        published = {
            k.replace("to_q", OLD["to_q"]).replace("to_out.0", OLD["to_out.0"]): t for k, t in tensors.items()
        }
    (tmp_path / "vae").mkdir()
    save_file(published, tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    path, _ = convert_network(network("sd-vae"), [str(tmp_path)], tmp_path / "nets")
    made = load_file(path)
    assert made.keys() == VAE.keys()
    assert all(torch.equal(made[key], t) for key, t in tensors.items())


@pytest.mark.usefixtures("small_layouts")
def test_shards_are_joined_and_half_precision_stays_and_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    halves = {key: t.half() for key, t in random(loading.LAYOUTS["sd15-unet"].build()).items()}
    for key, t in halves.items():
        save_file({key: t}, folder / f"{key}.safetensors")
    index = {"metadata": {}, "weight_map": {key: f"{key}.safetensors" for key in halves}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    path, _ = convert_network(network("sd15-unet"), [str(tmp_path)], tmp_path / "nets")
    assert {t.dtype for t in load_file(path).values()} == {torch.float16}
    index["weight_map"]["conv_in.bias"] = "../elsewhere.safetensors"
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="is not a file beside it"):
        convert_network(network("sd15-unet"), [str(tmp_path)], tmp_path / "nets")
    (folder / "diffusion_pytorch_model.safetensors.index.json").unlink()
    save_file(halves, folder / "diffusion_pytorch_model.fp16.safetensors")
    _, notes = convert_network(network("sd15-unet"), [str(tmp_path)], tmp_path / "nets")
    assert notes == ("a half-precision variant (diffusion_pytorch_model.fp16.safetensors)",)


@pytest.mark.usefixtures("small_layouts")
def test_a_trainers_file_is_read_by_what_it_holds(tmp_path: Path) -> None:
    weights = {"module.encoder.conv_in.weight": torch.ones(4), "module.decoder.conv_in.weight": torch.ones(3)}
    mean = {key: 2 * t for key, t in weights.items()}
    torch.save({"step": 3, "model": weights, "ema": mean, "optimizer": {"lr": 0.1}}, tmp_path / "run.pt")
    path, notes = convert_network(network("maskgit-vqgan"), [str(tmp_path / "run.pt")], tmp_path / "nets")
    assert load_file(path)["encoder.conv_in.weight"].tolist() == [2, 2, 2, 2]
    assert "the running mean (EMA) under 'ema.module.' was taken" in notes
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["origin"])[0]["file"] == "run.pt"


@pytest.mark.usefixtures("small_layouts")
def test_the_text_encoder_is_a_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for part in ("text_encoder", "tokenizer"):
        (source / part).mkdir(parents=True)
    weights = {f"text_model.{key}": t for key, t in random(loading.LAYOUTS["sd15-text"].build()).items()}
    save_file(weights, source / "text_encoder" / "model.safetensors")
    with pytest.raises(WeightsError, match=r"no config\.json"):
        convert_network(network("sd15-text"), [str(source)], tmp_path / "nets")
    (source / "text_encoder" / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"no tokenizer_config\.json"):
        convert_network(network("sd15-text"), [str(source)], tmp_path / "nets")
    (source / "tokenizer" / "tokenizer_config.json").write_text("{}")
    target, notes = convert_network(network("sd15-text"), [str(source)], tmp_path / "nets")
    assert notes == ("under 'text_model.'",)
    assert check_network(network("sd15-text"), tmp_path / "nets").fault == ""
    (target / "text_encoder" / "model.safetensors").write_bytes(b"damaged")
    assert "neither a safetensors file" in check_network(network("sd15-text"), tmp_path / "nets").fault


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Network]:
    """LPIPS over AlexNet, its published files served over HTTP."""
    (tmp_path / "web").mkdir()
    files, _ = torchvision_and_lpips(tmp_path / "web", "alex")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    sources = tuple(Source(place=address + Path(file).name, size=1) for file in files)
    yield replace(network("lpips-alex"), sources=sources)
    server.shutdown()
    server.server_close()


def test_fetching_brings_converts_and_does_not_bring_twice(tmp_path: Path, published: Network) -> None:
    said: list[str] = []
    path, _ = fetch_network(published, tmp_path / "nets", said.append)
    assert len(said) == 2
    assert read_lpips(path).backbone == "alex"
    path.unlink()
    fetch_network(published, tmp_path / "nets", said.append)
    assert len(said) == 2


def test_what_is_not_the_known_file_is_not_kept(tmp_path: Path, published: Network) -> None:
    first, second = published.sources
    other = replace(published, sources=(replace(first, sha256="7be5be79"), second))
    with pytest.raises(WeightsError, match="unexpected file"):
        fetch_network(other, tmp_path / "nets", str)
    gone = replace(published, sources=(replace(first, place=first.place + ".gone"), second))
    with pytest.raises(OneDCError, match="cannot be fetched"):
        fetch_network(gone, tmp_path / "nets", str)
    huge = replace(published, sources=(replace(first, size=1 << 60), second))
    with pytest.raises(OneDCError, match="are free"):
        fetch_network(huge, tmp_path / "nets", str)
    assert not list((tmp_path / "nets").rglob("*.*"))


def test_the_command_lists_converts_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nets", "list"]) == 0
    assert "sd2-community" in capsys.readouterr().out
    files, _ = torchvision_and_lpips(tmp_path, "squeeze")
    nets = str(tmp_path / "nets")
    command = ["nets", "convert", "lpips-squeeze", *files, "--to", nets]
    assert main(command) == 0
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--force"]) == main(["nets", "check", nets]) == 0
    assert main(["nets", "check", nets, "lpips-squeeze", "sd-vae"]) == 1
    assert "sd-vae: not there" in capsys.readouterr().out
    (tmp_path / "nets" / "sd_vae.safetensors").write_bytes(b"damaged")
    assert main(["nets", "check", nets]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "lpips-vgg", "a", "b", "c", "--to", "x"],
        ["convert", "paper", "a", "--to", "x"],
        ["fetch", "paper", "--to", "x", "--from", "a/b"],
        ["list", "vgg"],
        ["check", "no-such-folder"],
    ],
)
def test_command_lines_that_make_no_sense(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nets", *command]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_cannot_be_made_here_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nets", "fetch", "mobilenet-v2", "--to", str(tmp_path)]) == 1
    assert "mobilenet-v2: not fetched: published for TensorFlow Lite" in capsys.readouterr().err
    assert main(["nets", "fetch", "paper", "--to", str(tmp_path), "--estimate"]) == 0
    assert "6 of 6 networks to fetch, 8.5 GB" in capsys.readouterr().err
