"""The weights file: what goes in comes out, and whatever does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.conformance.fixture_model import CONFIG, FIXTURE, MODEL_ID, build
from torch import Tensor

from onedc.errors import WeightsError
from onedc.model.onedc import OneDC
from onedc.seam.conversion import arrays_of
from onedc.seam.fixed_point import Seam
from onedc.weights.file import load_weights, save_weights, seam_sha256, trainable_tensors
from onedc.weights.layout import digested

Content = tuple[dict[str, Tensor], dict[str, str]]
Change = Callable[[dict[str, Tensor], dict[str, str]], object]

ZERO = sum(2 * 4**dimension for dimension in range(7))
"""Codebook index of z_hat 0."""


@pytest.fixture(scope="module")
def content() -> Content:
    """Tensors and metadata of the fixture file."""
    with safe_open(str(FIXTURE), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def rewritten(
    path: Path, content: Content, change: Callable[[dict[str, Tensor], dict[str, str]], object]
) -> Path:
    """A copy of the fixture file after `change(tensors, metadata)`."""
    tensors, metadata = dict(content[0]), dict(content[1])
    change(tensors, metadata)
    save_file(tensors, str(path), metadata=metadata)
    return path


def test_saved_and_loaded_networks_are_the_same(tmp_path: Path) -> None:
    model = build()
    save_weights(tmp_path / "m.safetensors", model, model_id=200, dtype=torch.float32)
    loaded = load_weights(tmp_path / "m.safetensors")
    assert (loaded.config, loaded.model_id) == (CONFIG, 200)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.nets.state_dict().items())
    assert not hasattr(loaded.nets, "h_s")
    z_semantic = Seam(arrays_of(loaded.seam_integers)).hyper(np.full((1, 1, 2), ZERO)).z_semantic
    assert (torch.from_numpy(z_semantic) - model.h_s(torch.zeros(1, 7, 1, 2))[1]).abs().max() < 1e-3


def test_the_digest_depends_on_every_integer_and_on_nothing_else(tmp_path: Path, content: Content) -> None:
    first = load_weights(FIXTURE)
    assert first.model_id == MODEL_ID
    model = build()
    model.generator.unet.conv_in.bias.add_(1)
    save_weights(tmp_path / "a.safetensors", model, model_id=0)
    assert load_weights(tmp_path / "a.safetensors").seam_sha256 == first.seam_sha256
    model.h_s.feat_in[0].bias[0] += 0.01
    save_weights(tmp_path / "b.safetensors", model, model_id=0)
    assert load_weights(tmp_path / "b.safetensors").seam_sha256 != first.seam_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, _: tensors.pop("g_a.pix_emb.weight"), "'g_a.pix_emb.weight' is missing"),
        (lambda tensors, _: tensors.update(extra=torch.zeros(1)), "unexpected tensor 'extra'"),
        (lambda tensors, _: tensors.update({"g_a.pix_emb.bias": torch.zeros(1)}), "'g_a.pix_emb.bias' is"),
        (lambda tensors, _: tensors["seam.thresholds"].add_(1), "do not match their digest"),
        (lambda _, metadata: metadata.update(format="other"), "not a onedc weights file"),
        (lambda _, metadata: metadata.pop("config"), "unusable metadata"),
        (lambda _, metadata: metadata.update(config="{}"), "unusable metadata"),
        (lambda _, metadata: metadata.update(model_id="one"), "unusable metadata"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path,
    content: Content,
    change: Change,
    message: str,
) -> None:
    content = ({name: value.clone() for name, value in content[0].items()}, content[1])
    with pytest.raises(WeightsError, match=message):
        load_weights(rewritten(tmp_path / "w.safetensors", content, change))


REDUCTION = "seam.prior.reduction.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(REDUCTION), f"tensor '{REDUCTION}' is missing"),
        (lambda tensors: tensors.update({"seam.extra": torch.zeros(1)}), "unexpected tensor 'seam.extra'"),
        (lambda tensors: tensors.update({REDUCTION: tensors[REDUCTION][:8]}), rf"'{REDUCTION}' is \(8, "),
        (
            lambda tensors: tensors.update({REDUCTION: tensors[REDUCTION].float()}),
            "float32, expected integers",
        ),
        (lambda tensors: tensors["seam.prior.reduction.bias"].fill_(2**53), "sums can leave the exact range"),
    ],
)
def test_integers_that_do_not_fit_the_configuration_are_refused(
    tmp_path: Path, content: Content, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    def with_digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
        change(tensors)
        metadata["seam_sha256"] = seam_sha256(digested(tensors)).hex()

    content = ({name: value.clone() for name, value in content[0].items()}, content[1])
    with pytest.raises(WeightsError, match=message):
        load_weights(rewritten(tmp_path / "w.safetensors", content, with_digest))


def test_a_seam_of_another_depth_is_refused(tmp_path: Path, content: Content) -> None:
    """Its integers make a seam by themselves, but not that of the configuration."""

    def deeper(_: dict[str, Tensor], metadata: dict[str, str]) -> None:
        metadata["config"] = replace(CONFIG, prior_blocks=CONFIG.prior_blocks + 1).to_json()

    with pytest.raises(WeightsError, match=rf"'seam\.prior\.trunk\.{CONFIG.prior_blocks}\..* is missing"):
        load_weights(rewritten(tmp_path / "w.safetensors", content, deeper))


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(FIXTURE.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_weights(tmp_path / "cut.safetensors")


def test_values_that_are_not_finite_are_not_exported(tmp_path: Path) -> None:
    model = OneDC(CONFIG)
    model.g_a.pix_emb.weight.data[0] = 1e9
    with pytest.raises(WeightsError, match=r"not finite in torch\.float16"):
        save_weights(tmp_path / "m.safetensors", model, model_id=0)
    with pytest.raises(WeightsError, match="model id 256"):
        save_weights(tmp_path / "m.safetensors", model, model_id=256)
    assert list(tmp_path.iterdir()) == []


def test_eight_bits_halve_the_file_and_keep_the_networks(tmp_path: Path) -> None:
    model = build()
    for name, dtype in (("fp16", torch.float16), ("int8", torch.int8)):
        save_weights(tmp_path / name, model, model_id=200, dtype=dtype)
    fine, coarse = (load_weights(tmp_path / name) for name in ("fp16", "int8"))
    assert coarse.seam_sha256 == fine.seam_sha256
    assert (tmp_path / "int8").stat().st_size < 0.75 * (tmp_path / "fp16").stat().st_size
    kept, packed = fine.nets.state_dict(), coarse.nets.state_dict()
    for name, value in kept.items():
        error = (packed[name] - value).abs().max()
        assert error <= value.abs().max() / 240, name
        if name.startswith("vae."):
            assert error == 0


def test_training_can_go_on_from_a_weights_file(tmp_path: Path) -> None:
    model = build()
    save_weights(tmp_path / "m.safetensors", model, model_id=200, dtype=torch.float32)
    config, tensors = trainable_tensors(tmp_path / "m.safetensors")
    assert config == CONFIG
    again = OneDC(config)
    again.load_state_dict(tensors)
    for name, value in model.state_dict().items():
        assert (tensors[name] - value).abs().max() <= 2e-4 * value.abs().max() + 1e-4, name
    save_weights(tmp_path / "again.safetensors", again, model_id=200, dtype=torch.float32)
    loaded = (load_weights(tmp_path / f"{name}.safetensors") for name in ("m", "again"))
    first, second = (
        Seam(arrays_of(weights.seam_integers)).hyper(np.full((1, 1, 2), ZERO)) for weights in loaded
    )
    np.testing.assert_array_equal(first.features, second.features)
