"""Published files: tensors only, one clear line for everything else, and nothing in them is run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from onedc.errors import WeightsError
from onedc.pretrained.checkpoint import from_tensors, open_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2, dtype=torch.bfloat16)}


def refused(path: Path) -> str:
    """The message a file is refused with; one line that names it."""
    with pytest.raises(WeightsError) as caught:
        checkpoint = open_checkpoint(path)
        for key in checkpoint.shapes:
            checkpoint.tensor(key)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["x.safetensors", "x.bin", "misnamed.bin"])
def test_both_formats_give_the_tensors_whatever_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.bin":
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    checkpoint = open_checkpoint(path)
    assert dict(checkpoint.shapes) == {"a.weight": (2, 3), "a.bias": (2,)}
    assert all(torch.equal(checkpoint.tensor(key), value) for key, value in TENSORS.items())


class Malicious:
    """Pickled, it creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    trace, path = tmp_path / "trace", tmp_path / "model.bin"
    torch.save({"a": Malicious(trace)}, path, _use_new_zipfile_serialization=not legacy)
    assert "nothing was run" in refused(path)
    path.write_bytes(pickle.dumps(Malicious(trace)))
    refused(path)
    assert not trace.exists()


@pytest.mark.parametrize("keep", [0, 4, 20, 100, -1])
@pytest.mark.parametrize("safe", [True, False])
def test_truncated_files_are_refused(tmp_path: Path, safe: bool, keep: int) -> None:
    path = tmp_path / "model"
    save_file(TENSORS, path) if safe else torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    assert "cannot be opened" in refused(path)
    for data in (b"<html>not found</html>", bytes(200), b"\x80\x04hello", b"PK\x03\x04" + bytes(50)):
        path.write_bytes(data)
        refused(path)
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    refused(path)
    for value in (TENSORS["a.bias"], [1], {"a": 1}, {1: TENSORS["a.bias"]}):
        torch.save(value, path)
        assert "not a plain table of tensors" in refused(path)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_file({"a": torch.tensor([1.0, float("nan")])}, path)
    assert "'a'" in refused(path)


def test_two_keys_that_become_one_are_refused() -> None:
    checkpoint = from_tensors("both", {"key.a": torch.ones(1), "to_k.a": torch.ones(1)})
    with pytest.raises(WeightsError, match="the same weight"):
        checkpoint.renamed(lambda key: key.replace("key", "to_k"))
