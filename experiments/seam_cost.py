"""What it costs in bytes that the networks between z and y run in integers, measured on pictures.

    python experiments/seam_cost.py --unet UNET --codec CODEC --vae VAE IMAGES...

The same y is coded twice, with the published floats and with the integers that `onedc convert` makes of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onedc.cli.jobs import exit_status
from onedc.coding import y_writer
from onedc.config import ModelConfig
from onedc.engine.torch_engine import pad, to_tensor
from onedc.entropy.coder import SymbolEncoder
from onedc.entropy.tables import load_tables
from onedc.image import read_image
from onedc.interop.convert import Published, build_network, read_published
from onedc.model.hyperprior import FSQ, HyperSynthesis, SpatialPrior
from onedc.pretrained.checkpoint import Checkpoint
from onedc.pretrained.places import find_weights
from onedc.seam.conversion import arrays_of, seam_integers
from onedc.seam.fixed_point import Code, Seam

_RATE = torch.ones(1, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class SeamCost:
    """Bytes of y, over all pictures."""

    float_bytes: int
    integer_bytes: int

    @property
    def percent(self) -> float:
        """How much more the integers take."""
        return 100 * (self.integer_bytes / self.float_bytes - 1)


@torch.inference_mode()
def measure_seam(config: ModelConfig, weights: Checkpoint, pictures: Sequence[NDArray[np.uint8]]) -> SeamCost:
    """Code pictures with the float and with the integer prior of a model.

    Args:
        weights: under our keys; the networks are in memory one after another.
        pictures: at least one, [H,W,3] uint8.
    Raises:
        WeightsError: a prior that has no fixed-point form.
    """
    xs = [pad(to_tensor(picture)) for picture in pictures]
    vae: Any = build_network(config, weights, "vae")
    pairs = [(x, vae.encode(x)) for x in xs]
    del vae
    g_a = build_network(config, weights, "g_a")
    features = [g_a(*pair) for pair in pairs]
    del g_a
    h_a = build_network(config, weights, "h_a")
    latents = [(y, FSQ()(h_a(y, sem))) for y, sem in features]
    h_s, prior = (build_network(config, weights, name) for name in ("h_s", "prior"))
    return compare_seam(h_s, prior, latents)  # type: ignore[arg-type]


@torch.inference_mode()
def compare_seam(
    h_s: HyperSynthesis, prior: SpatialPrior, latents: Sequence[tuple[Tensor, Tensor]]
) -> SeamCost:
    """Code pairs of y [1,N,H/16,W/16] and z_hat [1,7,H/64,W/64] with both forms of h_s and prior."""
    scales = torch.tensor(load_tables().scale)
    seam = Seam(arrays_of(seam_integers(h_s, prior, scales.tolist())))
    totals = [0, 0]
    for y, z_hat in latents:
        floats, integers = SymbolEncoder(), SymbolEncoder()
        code = y_writer([floats], y.numpy())

        def visit(part: int, scale: Tensor, mean: Tensor, code: Code = code) -> Tensor:
            table_idx = torch.bucketize(scale, scales[1:].to(scale), right=True).to(torch.uint8)
            return torch.from_numpy(code(part, table_idx.numpy(), mean.numpy())) + mean

        prior.scan(h_s(z_hat)[0], _RATE, visit)
        hyper = seam.hyper(FSQ.to_indices(z_hat).numpy())
        seam.scan(hyper.features, _RATE.numpy(), y_writer([integers], y.double().numpy()))
        totals = [
            total + len(stream.finish()) for total, stream in zip(totals, (floats, integers), strict=True)
        ]
    return SeamCost(float_bytes=totals[0], integer_bytes=totals[1])


def main() -> None:
    """Measure on the pictures that are named, and print both sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--unet", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--vae", required=True, help="file, folder or hub id, as of `onedc convert`")
    parser.add_argument("images", nargs="+")
    args = parser.parse_args()
    published = Published(unet=args.unet, codec=args.codec, vae=find_weights(args.vae, "vae"))
    pictures = [read_image(name) for name in args.images]
    cost = measure_seam(*read_published(published), pictures)
    print(
        f"y of {len(pictures)} pictures takes {cost.float_bytes} bytes with floats, "
        f"{cost.integer_bytes} with integers ({cost.percent:+.3f} %)"
    )


if __name__ == "__main__":
    sys.exit(exit_status(main))
