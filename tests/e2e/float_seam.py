"""The seam in floats, which onedc does not have: it shows that the exactness test can fail."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onedc.codec import Codec
from onedc.engine.torch_engine import torch_engine_of
from onedc.entropy.tables import load_tables
from onedc.entropy.z_prior import levels_of
from onedc.model.onedc import OneDC
from onedc.seam.conversion import seam_floats
from onedc.seam.fixed_point import Code, Hyper


class FloatSeam:
    """Stands in for a `Seam`, with floats made from its integers."""

    def __init__(self, codec: Codec, dtype: torch.dtype = torch.bfloat16) -> None:
        engine = torch_engine_of(codec.model)
        nets = OneDC(codec.config).requires_grad_(False)
        floats = seam_floats(nets.h_s, nets.prior, engine._seam_integers, codec.config.quality_knots)
        assert not nets.load_state_dict(floats, strict=False).unexpected_keys
        self.h_s, self.prior, self.dtype = nets.h_s.to(dtype), nets.prior.to(dtype), dtype
        self.scales = torch.tensor(load_tables().scale.tolist(), dtype=torch.float64)

    def hyper(self, z_idx: NDArray[np.int64]) -> Hyper:
        z_hat = torch.from_numpy(levels_of(z_idx)).movedim(-1, 1) / 2 - 1
        features, z_semantic = self.h_s(z_hat.to(self.dtype))
        return Hyper(features.double().numpy(), z_semantic.float().numpy())

    def gained(self, y: NDArray[np.float32], quality: int) -> NDArray[np.float64]:
        qualities = torch.full((len(y),), quality)
        return self.prior.gained(torch.from_numpy(y).to(self.dtype), qualities).double().numpy()

    def scan(
        self, features: NDArray[np.float64], qualities: NDArray[np.int64], code: Code
    ) -> NDArray[np.float32]:
        def visit(part: int, scale: Tensor, mean: Tensor) -> Tensor:
            table_idx = torch.bucketize(scale.double(), self.scales[1:], right=True).to(torch.uint8)
            symbols = torch.from_numpy(code(part, table_idx.numpy(), mean.double().numpy()))
            return symbols.to(self.dtype) + mean

        hyper = torch.from_numpy(features).to(self.dtype)
        return self.prior.scan(hyper, torch.from_numpy(qualities), visit).float().numpy()
