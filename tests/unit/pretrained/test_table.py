"""The table of networks: complete, and its layouts are those of the published files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from tests.conformance.published import SHARED, manifest

from onedc.errors import ConfigError
from onedc.pretrained.loading import LAYOUTS
from onedc.pretrained.table import NETWORKS, SETS, find_networks
from onedc.train.config import NetsConfig

needs_manifest = pytest.mark.skipif(
    not (SHARED / "spec" / "manifest").is_dir(), reason=f"published keys are not at {SHARED}"
)


def test_every_network_has_a_place_a_licence_a_layout_and_a_setting() -> None:
    settings = {field.name for field in fields(NetsConfig)}
    for network in NETWORKS:
        assert network.sources and network.licence and network.size > 0
        assert network.setting in {*settings, ""}
        assert network.name in LAYOUTS
    assert len({network.file for network in NETWORKS}) == len(NETWORKS) == len(LAYOUTS)
    assert {name for names in SETS.values() for name in names} < LAYOUTS.keys()


def test_networks_are_found_by_name_and_set() -> None:
    assert [network.name for network in find_networks(["sd-vae", "paper"])][:2] == ["sd-vae", "lpips-vgg"]
    assert find_networks([]) == list(NETWORKS)
    with pytest.raises(ConfigError, match="no network 'vgg'; there are lpips-squeeze"):
        find_networks(["vgg"])


@needs_manifest
@pytest.mark.parametrize(
    ("name", "published"),
    [("sd-vae", "sd21_vae"), ("dmd2-unet", "dmd2_sd15_unet"), ("maskgit-vqgan", "maskgit_vqgan")],
)
def test_layouts_are_those_of_the_published_files(name: str, published: str) -> None:
    layout = LAYOUTS[name]
    theirs = {layout.rename(key): shape for key, shape in manifest(published).items()}
    assert layout.build() == {
        k: s for k, s in theirs.items() if not (layout.ignored and k.startswith(layout.ignored))
    }


def test_the_text_encoder_has_its_published_size() -> None:
    count = 0
    for shape in LAYOUTS["sd15-text"].build().values():
        size = 1
        for side in shape:
            size *= side
        count += size
    assert count == 123_060_480  # CLIP ViT-L/14, text half


def test_the_page_names_every_network_its_file_and_its_place() -> None:
    page = (Path(__file__).parents[3] / "docs" / "networks.md").read_text(encoding="utf-8")
    for network in NETWORKS:
        assert f"`{network.name}`" in page
        assert f"`{network.file}`" in page
