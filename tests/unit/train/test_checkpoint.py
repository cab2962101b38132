from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from onedc.errors import OutputError, WeightsError
from onedc.pretrained.runs import read_state
from onedc.train import checkpoint as ck
from onedc.train.config import OptimConfig
from onedc.train.optim.optimizer import GroupOptimizer
from onedc.train.stages.stage import OptimizerGroup


def write(folder: ck.CheckpointFolder, step: int, value: float = 1.0, **state: float) -> None:
    folder.save(step, {"model": {"w": torch.full((3,), value)}}, {"step": step, **state})


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    folder = ck.CheckpointFolder(tmp_path, keep=2)
    write(folder, 10, validation=0.5)
    write(folder, 20, validation=0.6)
    assert folder.best() == ck.Best(0.5, 10)
    write(folder, 30)
    write(folder, 40)
    assert folder.steps() == [10, 30, 40]
    assert folder.best() == ck.Best(0.5, 10)
    assert ck.find_checkpoint(tmp_path) == folder.path(10)
    write(folder, 50, validation=0.4)
    assert folder.steps() == [40, 50]
    assert read_state(folder.path(40)) == {"step": 40}
    assert torch.equal(ck.read_tensors(folder.path(40), "model")["w"], torch.ones(3))


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    folder = ck.CheckpointFolder(tmp_path, keep=1)
    write(folder, 10)
    (folder.path(10) / "state.json").write_text("")
    with pytest.raises(WeightsError, match=r"step-00000010: not a checkpoint"):
        folder.best()


def test_values_that_are_not_finite_are_not_read(tmp_path: Path) -> None:
    folder = ck.CheckpointFolder(tmp_path, keep=1)
    write(folder, 10, float("inf"))
    with pytest.raises(WeightsError, match=r"10/model\.safetensors: .w. holds .* not finite; delete"):
        ck.read_tensors(folder.path(10), "model")


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ck.CheckpointFolder(tmp_path, keep=1)
    write(folder, 10)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ck, "write_safetensors", full)
    with pytest.raises(OutputError, match="No space left"):
        write(folder, 20)
    assert folder.steps() == [10]
    assert [p.name for p in folder.folder.iterdir()] == ["step-00000010"]


def test_tensors_of_every_type_go_round(tmp_path: Path) -> None:
    folder = ck.CheckpointFolder(tmp_path, keep=1)
    types = (
        torch.float32,
        torch.bfloat16,
        torch.float16,
        torch.float64,
        torch.int64,
        torch.uint8,
        torch.bool,
    )
    tensors = {str(dtype): torch.arange(6).view(2, 3).to(dtype) for dtype in types}
    tensors["one"] = torch.tensor(3.0)
    tensors["last"] = torch.randn(2, 4, 3, 3).to(memory_format=torch.channels_last)
    folder.save(1, {"model": tensors}, {"step": 1})
    found = ck.read_tensors(folder.path(1), "model")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_an_interrupted_write_is_no_checkpoint(tmp_path: Path) -> None:
    folder = ck.CheckpointFolder(tmp_path, keep=1)
    left = tmp_path / "checkpoints/.step-00000010.part"
    left.mkdir(parents=True)
    (left / "optim.safetensors").write_bytes(b"half")
    assert folder.steps() == []
    write(folder, 10, 2.0)  # a second attempt starts afresh
    assert float(ck.read_tensors(folder.path(10), "model")["w"][0]) == 2.0
    assert {path.name for path in folder.path(10).iterdir()} == {"model.safetensors", "state.json"}


def test_damaged_and_foreign_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a checkpoint"):
        read_state(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        ck.read_tensors(tmp_path, "model")
    with pytest.raises(WeightsError, match="does not fit"):
        ck.fill_modules({"a": nn.Linear(2, 2)}, {"a.weight": torch.ones(3, 2)}, tmp_path)


def test_optimiser_state_goes_round(tmp_path: Path) -> None:
    def made(*names: str) -> GroupOptimizer:
        parameters = {name: nn.Parameter(torch.ones(2 + len(name))) for name in names}
        return GroupOptimizer(OptimizerGroup("codec", parameters, OptimConfig(lr=0.1)), Accelerator(cpu=True))

    first, second = made("a.b", "c"), made("a.b", "c")
    for p in first.parameters:
        p.grad = torch.arange(len(p)).float()
    first.optimizer.step()
    tensors = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second.fill(tensors, tmp_path)
    for p, q in zip(first.parameters, second.parameters, strict=True):
        q.data.copy_(p.data)
        p.grad = q.grad = torch.ones_like(p)
    first.optimizer.step()
    second.optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(first.parameters, second.parameters, strict=True))
    with pytest.raises(WeightsError, match="unknown parameter"):
        made("a.b").fill(tensors, tmp_path)
