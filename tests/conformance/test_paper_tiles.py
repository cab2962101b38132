"""The paper's networks in tiles against the whole picture: 1024x1024, full widths, random weights."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from onedc.config import SD15
from onedc.engine.device import fast_dtype
from onedc.engine.torch_engine import TorchEngine, to_tensor
from onedc.evaluation.bench import random_weights, sample_picture
from onedc.model.tiling import Overlap
from onedc.model.vae_kl import AutoencoderKL

pytestmark = pytest.mark.large

SIDE = 1024
SMALLER = Overlap(640, 128)
NEAR = 16
"""Pixels to each side of a border that count as near."""


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    dtype = fast_dtype(torch.device("cpu"))
    return TorchEngine(random_weights(SD15, dtype), dtype=dtype)


@torch.inference_mode()
def test_tiles_differ_no_more_at_their_borders(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    x = to_tensor(sample_picture((SIDE, SIDE), 0)).to(engine.dtype)
    z_semantic = torch.randn(1, SD15.hyper_channels, SIDE // 64, SIDE // 64).to(engine.dtype)
    quality = torch.full((1,), 255)

    def walk(fed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each network's output; it sees what is in `fed`, else what came before."""
        nets = engine.nets
        vae_latents = nets.vae.encode(x)
        y, _ = nets._in_tiles(nets.g_a, [x, fed.get("vae_latents", vae_latents)], SIDE, SIDE)
        generated = nets.synthesise(fed.get("y", y), z_semantic, quality).to(engine.dtype)
        picture = nets.vae.decode(fed.get("generated", generated))
        return {"vae_latents": vae_latents, "y": y, "generated": generated, "picture": picture}

    whole = walk({})
    monkeypatch.setattr(AutoencoderKL, "overlap", SMALLER)
    assert [span.start for span in SMALLER.spans(SIDE)] == [0, 512]
    for name, tiled in walk(whole).items():
        difference = (tiled.float() - whole[name].float()).abs().mean(dim=(0, 1))
        near = near_a_border(SIDE // len(difference), len(difference))
        ratio = difference[near].mean() / difference[~near].mean()
        relative = difference.norm() / whole[name].float().abs().mean(dim=(0, 1)).norm()
        print(f"{name}: {relative:.2e} off; near borders {ratio:.3f} times what it is elsewhere")
        assert ratio < 1.1, name


def near_a_border(scale_px: int, positions: int) -> Tensor:
    """[h,w] bool: where a map of that scale is near an edge of a tile inside the picture."""
    spans = SMALLER.spans(SIDE)
    edges = [edge for span in spans for edge in (span.start, span.stop) if 0 < edge < SIDE]
    centres = (torch.arange(positions) + 0.5) * scale_px
    reach = max(NEAR, scale_px)
    near = torch.stack([(centres - edge).abs() < reach for edge in edges]).any(dim=0)
    return near[:, None] | near[None, :]
