"""The paper's model has the published networks' keys, shapes and parameter counts; nothing is allocated."""

from __future__ import annotations

import pytest
import torch
from tests.conformance.published import manifest, needs_recordings, ours
from torch import nn

from onedc.config import SD15
from onedc.interop.keys import codec_key, unet_key, vae_key
from onedc.model.onedc import OneDC

COUNTS = {
    "vae": 83_653_863,
    "g_a": 299_130_112,
    "h_a": 14_781_063,
    "fsq": 0,
    "h_s": 960_128,
    "prior": 4_211_712,
    "semantic": 39_185_792,
    "g_s": 35_878_976,
    "generator": 861_367_052,
}


@pytest.fixture(scope="module")
def model() -> OneDC:
    with torch.device("meta"):
        return OneDC(SD15)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_network_has_the_papers_parameter_count(model: OneDC) -> None:
    assert {name: count(module) for name, module in model.named_children()} == COUNTS


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("g_a.pix_emb", 0.0371),
        ("g_a.pix_fusion", 0.0630),
        ("g_a.conv_in", 15.899),
        ("g_a.trans_coding", 13.097),
        ("prior.fusion", 1.007),
        ("prior.reduction", 0.033),
        ("prior.adaptors.0", 0.529),
        ("prior.adaptors.1", 0.529),
        ("prior.adaptors.2", 0.529),
        ("prior.trunk", 1.586),
        ("g_s.trans_coding", 3.831),
        ("g_s.blocks", 19.935),
        ("g_s.sem_up", 10.901),
        ("g_s.conv_out", 1.212),
        ("generator.vae_reduction", 0.936),
        ("generator.unet.conv_in", 0.922),
    ],
)
def test_parts_have_the_papers_parameter_counts(model: OneDC, name: str, millions: float) -> None:
    assert count(model.get_submodule(name)) / 1e6 == pytest.approx(millions, abs=0.0006)


def test_the_analysis_unet_counts_its_replaced_input(model: OneDC) -> None:
    assert round((count(model.g_a.conv_in) + count(model.g_a.unet)) / 1e6, 3) == 285.933


def test_the_autoencoder_halves(model: OneDC) -> None:
    assert round((count(model.vae.encoder) + count(model.vae.quant_conv)) / 1e6, 3) == 34.164
    assert round((count(model.vae.decoder) + count(model.vae.post_quant_conv)) / 1e6, 3) == 49.490


@needs_recordings
def test_keys_and_shapes_equal_the_published_manifests(model: OneDC) -> None:
    assert dict(ours().shapes) == {key: tuple(t.shape) for key, t in model.state_dict().items()}


@needs_recordings
def test_the_z_only_files_have_the_same_keys_and_shapes() -> None:
    assert manifest("codec_model_zonly") == manifest("codec_model")


@needs_recordings
@pytest.mark.parametrize(
    ("name", "rename", "keys", "elements"),
    [
        ("codec_model", codec_key, 779, 394_147_783),
        ("feedforward_model", unet_key, 1252, 928_619_276),
        ("sd21_vae", vae_key, 248, 83_653_863),
    ],
)
def test_no_two_published_keys_share_a_name(name: str, rename: object, keys: int, elements: int) -> None:
    shapes = manifest(name)
    assert callable(rename)
    assert len({rename(key) for key in shapes}) == len(shapes) == keys
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == elements


@needs_recordings
def test_the_base_unet_differs_in_its_input_alone(model: OneDC) -> None:
    base = {unet_key(key): shape for key, shape in manifest("dmd2_sd15_unet").items()}
    whole = {f"generator.{key}": tuple(t.shape) for key, t in model.generator.state_dict().items()}
    generator = {key: shape for key, shape in whole.items() if not key.startswith("generator.vae_reduction.")}
    assert base.pop("generator.unet.conv_in.weight") == (320, 4, 3, 3)
    assert generator.pop("generator.unet.conv_in.weight") == (320, 320, 3, 3)
    assert base == generator
