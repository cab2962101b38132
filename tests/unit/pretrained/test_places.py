"""Where weights lie: files, folders in diffusers' layout, shards, half-precision variants."""

from __future__ import annotations

from pathlib import Path

import pytest

from onedc.errors import WeightsError
from onedc.pretrained.places import find_weights

STEM = "diffusion_pytorch_model"


def make(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_weights_are_found_by_file_and_folder(tmp_path: Path) -> None:
    file = make(tmp_path, f"vae/{STEM}.safetensors")
    for place in (file, file.parent, tmp_path):
        assert find_weights(str(place), "vae") == file
    for place in (str(tmp_path / "none"), "a/b/c", "no such thing"):
        with pytest.raises(WeightsError, match="no such file"):
            find_weights(place, "vae")
    file.unlink()
    with pytest.raises(WeightsError, match="in this folder"):
        find_weights(str(tmp_path), "vae")


def test_the_best_variant_is_taken(tmp_path: Path) -> None:
    names = (".fp16.safetensors", ".bin.index.json", ".bin", ".safetensors.index.json", ".safetensors")
    for end in names:  # each is better than those before it
        file = make(tmp_path, f"unet/{STEM}{end}")
        assert find_weights(str(tmp_path), "unet") == file
    assert find_weights(str(make(tmp_path, "text_encoder/model.safetensors").parent), "text_encoder")
