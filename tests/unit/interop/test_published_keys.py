"""Keys of the published files, with and without what trainers put before them, against our networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conformance.published import SHARED, published

from onedc.config import SD15
from onedc.errors import WeightsError
from onedc.interop.convert import expected_keys
from onedc.interop.keys import codec_key, merge_lora, unet_key, vae_key
from onedc.pretrained.fitting import fit
from onedc.pretrained.loading import LAYOUTS

pytestmark = pytest.mark.skipif(
    not (SHARED / "spec" / "manifest").is_dir(), reason=f"published keys are not at {SHARED}"
)


@pytest.mark.parametrize(
    ("file", "part", "rename"),
    [
        ("feedforward_model", "unet", unet_key),
        ("codec_model", "codec", codec_key),
        ("codec_model_zonly", "codec", codec_key),
        ("sd21_vae", "vae", vae_key),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
def test_published_files_fit(file: str, part: str, rename: Callable[[str], str], prefix: str) -> None:
    opened = published(file, part).renamed(lambda key: prefix + key)
    if part == "unet":
        opened = merge_lora(opened)
    expected = expected_keys(SD15)[part]
    found = fit(opened, file, expected, rename)
    assert found.weights.shapes.keys() == expected.keys()
    assert found.prefix == ("module." if prefix else "")


def test_stage_2_holds_the_unet_twice() -> None:
    with pytest.raises(WeightsError, match=r"2 times, under 'fake_unet\.', 'real_unet\.'; keep one"):
        fit(published("stage2_guidance", "unet"), "sd15-unet", LAYOUTS["sd15-unet"].build())
