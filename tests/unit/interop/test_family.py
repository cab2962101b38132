"""Family files: what is shared is stored once, and the quality byte chooses the rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from safetensors import safe_open

from onedc.config import TINY
from onedc.engine.models import ModelSource
from onedc.entropy.tables import load_tables
from onedc.errors import ConfigError, FormatError, WeightsError
from onedc.interop.convert import Options
from onedc.interop.family import Rate, write_family
from onedc.loading import load
from onedc.model.lora import ALPHA
from onedc.model.onedc import OneDC
from onedc.pretrained.checkpoint import from_tensors
from onedc.seam.conversion import seam_integers
from onedc.weights.family_file import ADAPTER_DOWN, ADAPTER_UP, load_member, read_family
from onedc.weights.file import save_weights

CONFIG = replace(TINY, quality_knots=0)
ADAPTED = "generator.unet.conv_in.weight"
FP32 = Options(storage="fp32", model_id=200)


def opened(index: int, folder: Path, *, z_only: bool = False) -> Rate:
    """One rate: a tiny model that shares all of its generator but an adapter and one bias."""
    torch.manual_seed(0)
    shared = OneDC(CONFIG).state_dict()
    torch.manual_seed(100 + index)
    config = replace(CONFIG, z_only=z_only)
    model = OneDC(config).eval()
    state = model.state_dict()
    state |= {key: value for key, value in shared.items() if key.startswith(("generator.", "vae."))}
    state["generator.unet.conv_in.bias"] = torch.randn(32)
    down, up = torch.randn(4, 32, 3, 3), torch.randn(32, 4, 1, 1)
    unmerged = {ADAPTED: state[ADAPTED], ADAPTED + ADAPTER_DOWN: down, ADAPTED + ADAPTER_UP: up}
    state[ADAPTED] = state[ADAPTED] + ALPHA / 4 * (up.flatten(1) @ down.flatten(1)).view(32, 32, 3, 3)
    model.load_state_dict(state)
    file = folder / f"rate{index}"
    file.write_bytes(bytes([index]))
    save_weights(folder / f"{index}.safetensors", model, model_id=200, dtype=torch.float32)
    return Rate(
        rate=str(index),
        origin={"codec": {"file": file.name, "sha256": str(index)}},
        config=config,
        weights=from_tensors("tiny", state),
        unmerged=from_tensors("tiny", unmerged),
        integers=seam_integers(model.h_s, model.prior, SCALES),
    )


SCALES = load_tables().scale.tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family of a rate for z only and two others, and each rate by itself."""
    folder = tmp_path_factory.mktemp("family")
    rates = [opened(0, folder, z_only=True), opened(1, folder), opened(2, folder)]
    write_family(rates, folder / "family.safetensors", FP32)
    return folder


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)


def test_every_rate_codes_as_it_does_alone(folder: Path) -> None:
    family = load(folder / "family.safetensors", precision="fp32")
    assert [family.models.member_of(byte) for byte in (0, 1, 255)] == [0, 1, 2]
    alone = [load(folder / f"{rate}.safetensors", precision="fp32") for rate in range(3)]
    files, pictures = [], []
    for rate, quality in ((0, 0), (1, 1), (1, 40), (2, 60), (2, 100)):
        data = family.encode(picture(), quality=quality)
        assert data == alone[rate].encode(picture(), quality=quality)
        shown = family.decode(data, output="torch")
        assert torch.allclose(shown, alone[rate].decode(data, output="torch"), atol=1e-5)
        files.append(data)
        pictures.append(shown)
    for x, shown in zip(family.decode_batch(files, output="torch"), pictures, strict=True):
        assert torch.allclose(x, shown, atol=1e-5)


def test_a_target_chooses_the_rate(folder: Path) -> None:
    family = load(folder / "family.safetensors", precision="fp32")
    sizes = {quality: len(family.encode(picture(), quality=quality)) for quality in (0, 100)}
    for quality, size in sizes.items():
        data = family.encode_to_size(picture(), size, shrink=False)
        assert data == family.encode(picture(), quality=quality)
    with pytest.raises(ConfigError, match="cannot fit"):
        family.encode_to_size(picture(), sizes[0] - 1, shrink=False)


def test_what_is_shared_is_stored_once(folder: Path) -> None:
    with safe_open(folder / "family.safetensors", "pt") as file:
        names = set(file.keys())
    generator = {name.partition(".")[2] for name in names if "generator." in name}
    own = {
        name.partition(".")[2] for name in names if name[:2] in ("0.", "1.", "2.") and "generator." in name
    }
    assert own == {ADAPTED + ADAPTER_DOWN, ADAPTED + ADAPTER_UP, "generator.unet.conv_in.bias"}
    assert f"shared.{ADAPTED}" in names
    assert len(generator) > 50
    alone = sum((folder / f"{i}.safetensors").stat().st_size for i in range(3))
    assert (folder / "family.safetensors").stat().st_size < 0.9 * alone


@pytest.mark.parametrize(
    ("z_only", "bounds"),
    [(True, {0: 0, 1: 1, 127: 1, 129: 2, 255: 2}), (False, {0: 0, 1: 0, 64: 0, 66: 1, 128: 1, 255: 2})],
)
def test_quality_bytes_are_spread_over_the_rates(z_only: bool, bounds: dict[int, int], folder: Path) -> None:
    first, *rest = (member.config for member in read_family(folder / "family.safetensors").members)
    family = ModelSource([replace(first, z_only=z_only), *rest], 200, lambda member: ANY)
    assert {byte: family.member_of(byte) for byte in bounds} == bounds


def test_a_file_of_one_rate_is_refused_by_another(folder: Path) -> None:
    family = load(folder / "family.safetensors", precision="fp32")
    data = bytearray(family.encode(picture(), quality=100))
    other = load(folder / "1.safetensors", precision="fp32")
    with pytest.raises(FormatError):
        other.decode(bytes(data))
    with pytest.raises(FormatError):
        other.verify(bytes(data))
    family.encode(picture(), quality=0)
    family.verify(bytes(data))


def test_damaged_families_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    data = (folder / "family.safetensors").read_bytes()
    damaged = tmp_path / "family.safetensors"
    damaged.write_bytes(data[:-100])
    with pytest.raises(WeightsError, match="not a readable"):
        load(damaged)
    for lost in (b"0.seam.thresholds", b"conv_in.weight.adapter_up"):
        damaged.write_bytes(data.replace(lost, lost[:-1] + b"x"))
        with pytest.raises(WeightsError) as caught:
            file = read_family(damaged)
            for index in range(3):
                load_member(file, index)
        assert "\n" not in str(caught.value)


def test_the_model_for_z_only_comes_first(tmp_path: Path) -> None:
    rates, output = [opened(1, tmp_path), opened(0, tmp_path, z_only=True)], tmp_path / "out"
    with pytest.raises(WeightsError, match="must be the family's first"):
        write_family(rates, output, FP32)
    assert not output.exists()


def test_a_rate_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    rate = opened(1, tmp_path)
    with pytest.raises(WeightsError, match="the same codec twice"):
        write_family([rate, opened(2, tmp_path), rate], tmp_path / "family.safetensors", FP32)
