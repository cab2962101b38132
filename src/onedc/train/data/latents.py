"""vae_latents on disk, computed once for each view of a photo: on a CPU the VAE is most of a training step.

A file for each view, named by the hash of its pixels and of the encoder, written whole or not at all, so
processes can share a folder and an interrupted run goes on where it was. No crops or recipes here.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onedc.engine.torch_engine import to_tensor
from onedc.errors import ConfigError
from onedc.files import make_folder, write_whole

Encode = Callable[[Tensor], Tensor]


class LatentCache:
    """Half-precision vae_latents [C,H/8,W/8] of uint8 pixels [H,W,3], by content."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / fingerprint

    def _path(self, pixels: NDArray[np.uint8]) -> Path:
        digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=12).hexdigest()
        return self.folder / digest[:2] / f"{digest}.npy"

    def has(self, pixels: NDArray[np.uint8]) -> bool:
        """Whether these pixels' latents are there."""
        return self._path(pixels).exists()

    def read(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The latents of these pixels, mapped from disk. Raises ConfigError: they were never computed."""
        try:
            latents: NDArray[np.float16] = np.load(self._path(pixels), mmap_mode="r")
        except (OSError, ValueError) as error:
            raise ConfigError(f"data.latent_cache: {self.folder} lacks a view; prepare it again") from error
        return latents

    def add(self, pixels: NDArray[np.uint8], encode: Encode, device: torch.device) -> None:
        """Compute and write the latents of these pixels. Raises OutputError: the folder cannot be written."""
        with torch.inference_mode():
            latents = encode(to_tensor(pixels).to(device))[0].half().cpu().numpy()
        path, data = self._path(pixels), io.BytesIO()
        np.save(data, latents)
        make_folder(path.parent)
        write_whole(path, data.getvalue(), force=True)


def fingerprint(vae: nn.Module) -> str:
    """A short name for the weights, as fp16, of an autoencoder's encoder; its decoder may learn."""
    digest = hashlib.blake2b(digest_size=6)
    for name, tensor in sorted(vae.state_dict().items()):
        if name.startswith(("decoder.", "post_quant_conv.")):
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()
