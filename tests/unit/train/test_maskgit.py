"""MaskGIT's tokenizer as teacher, and the paper's head: keys, shapes, and each against a plain formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tests.conformance.published import SHARED

from onedc.errors import ConfigError, WeightsError
from onedc.model.maskgit import MaskGITTokenizer
from onedc.train.config import NetsConfig, TrainConfig
from onedc.train.loop import Trainer
from onedc.train.losses.distill import DistillConfig, DistillHead, make_head
from onedc.train.networks.loading import load_tokenizer
from onedc.train.networks.swin import SwinHead, WindowAttention

MANIFEST = SHARED / "spec" / "manifest"
needs_manifest = pytest.mark.skipif(not MANIFEST.is_dir(), reason=f"published keys are not at {MANIFEST}")


@needs_manifest
def test_keys_and_shapes_are_the_published_files() -> None:
    with torch.device("meta"):
        ours = {k: list(t.shape) for k, t in MaskGITTokenizer().state_dict().items()}
    theirs = json.loads((MANIFEST / "maskgit_vqgan.json").read_text())
    assert ours == {k: shape for k, shape in theirs.items() if not k.startswith("decoder.")}


@needs_manifest
def test_the_head_has_the_papers_weights_but_masks() -> None:
    with torch.device("meta"):
        head = SwinHead(768, 1024, 16)
    theirs = json.loads((MANIFEST / "codeformer.json").read_text())
    wanted = [torch.Size(shape).numel() for k, shape in theirs.items() if not k.endswith("_mask")]
    assert sum(p.numel() for p in head.parameters()) == sum(wanted)
    assert sorted(p.numel() for p in head.parameters()) == sorted(wanted)


def small_tokenizer() -> MaskGITTokenizer:
    torch.manual_seed(0)
    return MaskGITTokenizer(widths=(32, 32, 64, 64, 64), codes=16, code_channels=8)


def test_indices_are_of_the_nearest_codes_at_one_32nd() -> None:
    tokenizer, x = small_tokenizer(), torch.rand(2, 3, 64, 128) * 2 - 1
    codes, indices = tokenizer(x)
    assert (codes.shape, indices.shape) == ((2, 8, 2, 4), (2, 2, 4))
    halved = (x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean(dim=(3, 5)) + 1) / 2  # 2x2 means: bilinear
    points = tokenizer.encoder(halved)
    for b in range(2):
        for row in range(2):
            for col in range(4):
                distances = (tokenizer.codebook - points[b, :, row, col]).square().sum(dim=1)
                assert int(indices[b, row, col]) == int(distances.argmin())
                assert torch.equal(codes[b, :, row, col], tokenizer.codebook[indices[b, row, col]])


def plain_attention(layer: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """Position by position: who sees whom is decided on the map before it is rolled."""
    side, shift = layer.window, layer.shift
    _, h, w, _ = x.shape
    q, k, v = layer.to_qkv(x).chunk(3, dim=-1)
    table = layer.pos_embedding
    out = torch.zeros_like(x)
    places = [(r, c) for r in range(h) for c in range(w)]
    cell = {(r, c): ((r + side - shift) // side, (c + side - shift) // side) for r, c in places}
    for (r, c), mine in cell.items():
        seen = [place for place, other in cell.items() if other == mine]
        for head in range(layer.heads):
            part = slice(head * q.shape[-1] // layer.heads, (head + 1) * q.shape[-1] // layer.heads)
            logits = torch.stack([(q[0, r, c, part] * k[0, i, j, part]).sum() for i, j in seen])
            logits = logits / (part.stop - part.start) ** 0.5
            if table is not None:
                row = r % side * side + c % side
                logits = logits + torch.stack([table[row, i % side * side + j % side] for i, j in seen])
            values = torch.stack([v[0, i, j, part] for i, j in seen])
            out[0, r, c, part] = logits.softmax(dim=0) @ values
    return layer.to_out(out)


@pytest.mark.parametrize(("shift", "positions"), [(False, True), (True, False), (False, False)])
def test_window_attention_position_by_position(shift: bool, positions: bool) -> None:
    torch.manual_seed(0)
    layer = WindowAttention(128, 4, shift=shift, positions=positions)
    assert layer.heads == 2
    x = torch.randn(1, 8, 12, 128)
    torch.testing.assert_close(layer(x), plain_attention(layer, x))


def test_the_head_doubles_the_resolution_and_names_what_it_cannot_tile() -> None:
    head = SwinHead(32, 40, 4)
    assert head(torch.randn(2, 32, 2, 4)).shape == (2, 40, 4, 8)
    with pytest.raises(ConfigError, match=r"distill\.window: 4 .* 128x192"):
        head(torch.randn(1, 32, 3, 2))


def test_a_head_is_made_as_configured(tiny: Callable[..., TrainConfig]) -> None:
    model = tiny().model
    assert isinstance(make_head(DistillConfig(head="swin", window=2), model, 16), SwinHead)
    assert isinstance(make_head(DistillConfig(), model, 16), DistillHead)
    with pytest.raises(ConfigError, match="neither"):
        DistillConfig(head="mlp")


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_a_file_is_maskgits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., TrainConfig], suffix: str
) -> None:
    monkeypatch.setattr("onedc.train.networks.loading.MaskGITTokenizer", small_tokenizer)
    tensors = {**small_tokenizer().state_dict(), "decoder.conv_in.bias": torch.zeros(3)}
    file = tmp_path / f"maskgit.{suffix}"
    if suffix == "bin":
        torch.save(tensors, file)
    else:
        save_file(tensors, file)
    teacher = load_tokenizer(NetsConfig(teacher=str(file)))
    assert torch.equal(teacher.codebook, small_tokenizer().codebook)
    settings = ("objective.distill.weight=0.1", "objective.distill.head=swin", "objective.distill.window=2")
    config = tiny(*settings, f"nets.teacher={file}", "run.steps=2", "run.validate_every=2")
    Trainer(config, tmp_path / "run", resume=False).run()
    assert '"distill_ce"' in (tmp_path / "run/log.jsonl").read_text()


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, file)
    with pytest.raises(WeightsError, match=r"other\.safetensors: not the maskgit-vqgan: weights \d+ missing"):
        load_tokenizer(NetsConfig(teacher=str(file)))
    torch.save({"model": F.relu}, tmp_path / "code.bin")
    with pytest.raises(WeightsError, match="refused: not a PyTorch file of plain tensors; nothing was run"):
        load_tokenizer(NetsConfig(teacher=str(tmp_path / "code.bin")))
