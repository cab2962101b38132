"""bf16 against fp32 on recorded latents: the generator's and the autoencoder's shares, in dB."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.conformance.published import RECORDED, needs_recordings, network
from torch import Tensor, nn

from onedc.model.onedc import PRECISE_NETS

pytestmark = [needs_recordings, pytest.mark.large]

LEAST_DB = 50.0


def in_bf16(net: nn.Module, name: str) -> nn.Module:
    """The network as the codec has it in bf16."""
    for key, parameter in net.named_parameters():
        precise = f"{name}.{key}".startswith(PRECISE_NETS)
        parameter.data = parameter.data.to(torch.float32 if precise else torch.bfloat16)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def distance_db(x: Tensor, y: Tensor) -> float:
    """PSNR of pictures in [-1,1]."""
    return 10 * math.log10(4 / float((x.float().clamp(-1, 1) - y.float().clamp(-1, 1)).square().mean()))


@torch.inference_mode()
def test_bf16_stays_near_fp32() -> None:
    with np.load(RECORDED / "256" / "tensors.npz") as arrays:
        recorded = {key: torch.from_numpy(arrays[key]) for key in ("x_hat", "y_semantic", "x0", "image_out")}
    half = {key: value.bfloat16() for key, value in recorded.items()}
    quality = torch.zeros(1, dtype=torch.int64)
    generator = network("generator")
    exact = generator(recorded["x_hat"], recorded["y_semantic"], quality)
    rounded = in_bf16(generator, "generator")(half["x_hat"], half["y_semantic"], quality)
    vae = network("vae")
    pictures = {"generator": vae.decode(rounded)}  # type: ignore[operator]
    whole = vae.decode(exact)  # type: ignore[operator]
    in_bf16(vae, "vae")
    pictures["autoencoder"] = vae.decode(exact.bfloat16())  # type: ignore[operator]
    pictures["both"] = vae.decode(rounded.bfloat16())  # type: ignore[operator]
    for name, picture in pictures.items():
        print(f"bf16 in {name}: {distance_db(picture, whole):.1f} dB from fp32")
        assert distance_db(picture, whole) > LEAST_DB
