"""Published files of full size through `onedc convert`, and the converted model as a codec.

Writes 5.6 GB of published files and 8 GB of converted ones into pytest's temporary folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from experiments.seam_cost import compare_seam
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from tests.conformance.published import RECORDED, needs_recordings, network, ours, published
from torch import Tensor

from onedc.cli.main import main
from onedc.config import SD15, ModelConfig
from onedc.entropy.tables import load_tables
from onedc.loading import load
from onedc.seam.conversion import seam_integers

pytestmark = [needs_recordings, pytest.mark.large]

FILES = {
    "unet": ("model.safetensors", "feedforward_model", "unet"),
    "codec": ("model_1.safetensors", "codec_model", "codec"),
    "vae": ("vae.safetensors", "sd21_vae", "vae"),
}
INPUT = RECORDED / "256" / "input.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three published files."""
    folder = tmp_path_factory.mktemp("published")
    for file, name, net in FILES.values():
        source = published(name, net)
        save_file({key: source.tensor(key) for key in source.shapes}, folder / file)
    return folder


def convert(folder: Path, output: str, *options: str) -> Path:
    path = folder / output
    files = [part for flag, (file, _, _) in FILES.items() for part in (f"--{flag}", str(folder / file))]
    assert main(["convert", *files, "-o", str(path), *options]) == 0
    return path


def test_fp32_conversion_loses_nothing(folder: Path) -> None:
    path = convert(folder, "fp32.safetensors", "--storage", "fp32", "--lambda", "4.6")
    integers = seam_integers(network("h_s"), network("prior"), load_tables().scale.tolist())  # type: ignore[arg-type]
    with safe_open(path, "pt") as file:
        keys = set(file.keys())
        assert ModelConfig.from_json(file.metadata()["config"]) == SD15
        assert file.metadata()["lambda"] == "4.6"
        for key in ours().shapes:
            if not key.startswith(("h_s.", "prior.")):
                assert torch.equal(file.get_tensor(key), ours().tensor(key)), key
                keys.remove(key)
        for key, value in integers.items():
            assert torch.equal(file.get_tensor(f"seam.{key}"), value), key
            keys.remove(f"seam.{key}")
    assert not keys
    path.unlink()


def test_the_converted_model_codes_a_picture(folder: Path) -> None:
    path = convert(folder, "bf16.safetensors")
    with Image.open(INPUT) as image:
        picture = np.array(image.convert("RGB"))
    codec = load(path, precision="fp32")
    data = codec.encode(picture)
    decoded = codec.decode(data, output="numpy")
    recorded = np.array(Image.open(RECORDED / "256" / "output.png").convert("RGB"))
    error = np.mean((decoded.astype(float) - recorded) ** 2)
    print(f"{len(data)} bytes; {10 * np.log10(255**2 / error):.1f} dB from the reference's picture")
    # The header and z are smaller than the reference's, y is coded at the same rate.
    assert abs(len(data) - (RECORDED / "256" / "stream.bin").stat().st_size) < 100
    z_only = codec.encode(picture, quality=0)
    assert len(z_only) < 50
    assert codec.decode(z_only, output="numpy").shape == picture.shape


@pytest.mark.parametrize("name", ["256", "200x330"])
def test_integers_cost_next_to_nothing(name: str) -> None:
    with np.load(RECORDED / name / "tensors.npz") as arrays:
        latents: list[Tensor] = [torch.from_numpy(arrays[key]) for key in ("y", "z_hat")]
    cost = compare_seam(network("h_s"), network("prior"), [(latents[0], latents[1])])  # type: ignore[arg-type]
    print(f"{name}: {cost} {cost.percent:+.3f} %")
    assert abs(cost.percent) < 0.1
