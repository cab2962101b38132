"""The seam in torch, on a processor or a GPU, for the codec."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onedc.model.fsq import FSQ
from onedc.seam.networks import Seam
from onedc.seam.protocol import Code, Hyper


class TorchSeam:
    """`networks.Seam` behind `protocol.Seam`.

    Args:
        module: on its device.
    """

    def __init__(self, module: Seam) -> None:
        self.module = module

    def hyper(self, z_idx: NDArray[np.int64]) -> Hyper:
        """See `protocol.Seam`."""
        features, z_semantic = self.module.hyper(FSQ.from_indices(torch.from_numpy(z_idx)))
        return Hyper(features.cpu().numpy(), z_semantic.cpu().numpy())

    @torch.inference_mode()
    def gained(self, y: NDArray[np.float32], quality: int) -> NDArray[np.float64]:
        """See `protocol.Seam`."""
        gained: NDArray[np.float64] = (
            self.module.gained(torch.from_numpy(y), torch.full((len(y),), quality)).cpu().numpy()
        )
        return gained

    def scan(
        self, features: NDArray[np.float64], qualities: NDArray[np.int64], code: Code
    ) -> NDArray[np.float32]:
        """See `protocol.Seam`."""

        def visit(part: int, table_idx: Tensor, mean: Tensor) -> Tensor:
            return torch.from_numpy(code(part, table_idx.cpu().numpy(), mean.cpu().numpy()))

        device = self.module.thresholds.device
        y_hat = self.module.scan(torch.from_numpy(features).to(device), torch.from_numpy(qualities), visit)
        found: NDArray[np.float32] = y_hat.cpu().numpy()
        return found
