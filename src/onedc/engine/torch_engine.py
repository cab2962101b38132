"""The networks in torch: on a processor or a GPU, in fp32 or bf16, compiled or not, with effort."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from onedc.constants import DOWNSAMPLING_PX
from onedc.effort.level import Effort
from onedc.effort.refine import Search
from onedc.engine import cores
from onedc.engine.device import fast_dtype, find_device, prepare_compiler, runs_seam
from onedc.engine.models import ModelSource, ReadyModel
from onedc.entropy.z_prior import z_prior_of
from onedc.errors import ConfigError
from onedc.image.forms import Pixels, padded
from onedc.model.blocks import as_floats
from onedc.model.hyperprior import FSQ
from onedc.model.lpips import LPIPS
from onedc.pretrained.table import LPIPS_SQUEEZE_FILE
from onedc.seam.conversion import arrays_of
from onedc.seam.fixed_point import Hyper, Seam
from onedc.seam.slices import NUMPY, SLICE_ELEMENTS, Library
from onedc.seam.units import UNITS
from onedc.weights.family_file import is_family, load_member, read_family
from onedc.weights.file import Weights, float_prior, load_weights
from onedc.weights.layout import fingerprint


def _one_thread() -> None:
    """The threads that OpenMP had are not in a forked process, which would wait for them for ever."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread)


class TorchEngine:
    """See `protocol.Engine`. Threads may share one.

    Args:
        weights: the model.
        device: where the networks run; the seam runs there too on a GPU that has float64, else in numpy.
        dtype: precision of the float networks.
        lpips: what effort judges decoded pictures by; None: the autoencoder's own features.
    """

    name = "torch"

    def __init__(
        self,
        weights: Weights,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        lpips: LPIPS | None = None,
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        nets: Any = weights.nets
        self.nets = nets.to_precision(dtype).to(self.device, memory_format=torch.channels_last)
        library = (
            torch_library(self.device) if runs_seam(self.device) else NUMPY._replace(threads=self.threads)
        )
        self.seam = Seam(arrays_of(weights.seam_integers), library)
        self._config, self._seam_integers = weights.config, weights.seam_integers
        self._lpips = None if lpips is None else lpips.to(self.device)

    @property
    def on_cpu(self) -> bool:
        """See `protocol.Engine`."""
        return self.device.type == "cpu"

    @property
    def precision(self) -> str:
        """See `protocol.Engine`."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def threads(self) -> int:
        """See `protocol.Engine`."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def analyse(self, pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `protocol.Engine`."""
        if pixels.dtype == np.uint8:  # as floats they would take four times the memory
            x = torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)[None].to(self.device)
        else:
            x = self._on_device(to_tensor(pixels))
        y, z_hat = self.nets.encode(x)
        return y[0].float().cpu().numpy(), FSQ.to_indices(z_hat)[0].cpu().numpy()

    @torch.inference_mode(False)
    def refine(
        self, pixels: Pixels, y: NDArray[np.float32], hyper: Hyper, quality: int, effort: Effort
    ) -> NDArray[np.float64]:
        """See `protocol.Engine`."""
        with torch.no_grad():
            search = Search(
                nets=self.nets,
                prior=float_prior(self._config, self._seam_integers).to(self.device),
                lpips=self._lpips,
                x=to_tensor(pixels).to(self.device),
                vae_latents=self._wanted_latents(pixels),
                y=torch.from_numpy(y).to(self.device),
                hyper=torch.from_numpy(hyper.features / UNITS).to(self.device, torch.float32),
                z_semantic=self._on_device(torch.from_numpy(hyper.z_semantic)),
            )
        found = search.run(quality, effort.steps, effort.progress)
        refined: NDArray[np.float64] = found.double().cpu().numpy()
        return refined

    def _wanted_latents(self, pixels: Pixels) -> Tensor | None:
        """The latents [1,C,h/8,w/8] that the generator should make, where the encoder still makes those."""
        if self._config.reduced:
            return None
        vae_latents: Tensor = self.nets.vae.encode(self._on_device(to_tensor(padded(pixels))))
        return vae_latents.float()

    @torch.inference_mode()
    def synthesise(
        self,
        y_hat: NDArray[np.float32],
        z_semantic: NDArray[np.float32],
        qualities: NDArray[np.int64],
        *,
        as_floats: bool,
    ) -> Pixels:
        """See `protocol.Engine`."""
        x_hat = self.nets.decode(
            self._on_device(torch.from_numpy(y_hat)),
            self._on_device(torch.from_numpy(z_semantic)),
            torch.from_numpy(qualities).to(self.device),
            _within_range if as_floats else to_bytes,
        ).cpu()
        pictures: Pixels = (x_hat if as_floats else x_hat.permute(0, 2, 3, 1).contiguous()).numpy()
        return pictures

    def compile(self) -> None:
        """See `protocol.Engine`. Kernels are made at the first picture of each size, which takes minutes, and
        come from the user's cache at the next start. The seam stays as it is.

        Raises:
            ConfigError: no C++ compiler, which kernels for the CPU need.
        """
        prepare_compiler(self.device)
        for name in self.nets.compiled_parts():
            self.nets.set_submodule(name, torch.compile(self.nets.get_submodule(name), dynamic=False))

    def _on_device(self, values: Tensor) -> Tensor:
        """As the networks take it."""
        return values.to(self.device, self.dtype, memory_format=torch.channels_last)


def torch_library(device: torch.device) -> Library:
    """torch on a device with float64; to start a GPU's kernel takes as long for few positions as for many."""
    return Library(partial(torch.as_tensor, device=device), lambda t: t.cpu().numpy(), 16 * SLICE_ELEMENTS)


def torch_engine_of(model: ReadyModel) -> TorchEngine:
    """The engine of a model, for those who need the networks themselves.

    Raises:
        ConfigError: it is not torch.
    """
    if not isinstance(model.engine, TorchEngine):
        raise ConfigError("this needs the networks in torch: load the model with engine='torch'")
    return model.engine


def ready_model(
    weights: Weights,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    lpips: LPIPS | None = None,
) -> ReadyModel:
    """A loaded model with its networks in torch; arguments as of `TorchEngine`."""
    return ReadyModel(
        config=weights.config,
        model_id=weights.model_id,
        fingerprint=fingerprint(weights.seam_sha256),
        engine=TorchEngine(weights, device=device, dtype=dtype, lpips=lpips),
        z_prior=z_prior_of(arrays_of(weights.z_prior)),
    )


@torch.inference_mode(False)
def open_models(
    weights: str | Path,
    *,
    device: str | torch.device,
    precision: str,
    threads: int | None,
    metric_weights: str | Path | None,
) -> ModelSource:
    """The models of a weights file or a family file; arguments as of `loading.load`.

    Raises:
        WeightsError, ConfigError: as `loading.load`.
    """
    target = find_device(device)
    dtypes = {"auto": fast_dtype(target), "fp32": torch.float32, "bf16": torch.bfloat16}
    torch.set_num_threads(threads or min(torch.get_num_threads(), cores.available()))
    dtype = dtypes[precision]
    if is_family(weights):
        family = read_family(weights)

        def member(index: int) -> ReadyModel:
            return ready_model(load_member(family, index, dtype=dtype), device=target, dtype=dtype)

        configs = [member.config for member in family.members]
        return ModelSource(configs, family.model_id, member)
    lpips = None
    if metric_weights is not None:
        from onedc.pretrained.loading import read_lpips

        lpips = read_lpips(Path(metric_weights) / LPIPS_SQUEEZE_FILE, "squeeze")
    return ModelSource.of_one(
        ready_model(load_weights(weights, dtype=dtype), device=target, dtype=dtype, lpips=lpips)
    )


def to_tensor(picture: NDArray[Any]) -> Tensor:
    """[H,W,3] uint8, or [3,H,W] float32 in [-1,1] -> [1,3,H,W] float32 on the CPU, a copy."""
    if picture.dtype != np.uint8:
        return torch.tensor(picture)[None]
    return as_floats(torch.tensor(picture).permute(2, 0, 1)[None].contiguous(), torch.float32)


def pad(x: Tensor, multiple: int = DOWNSAMPLING_PX, *, reflect: bool = False) -> Tensor:
    """[B,C,H,W] extended right and bottom to multiples of `multiple`, by repeating the border.

    With `reflect` mirrored at the border, as the reference's z-only model has it: for comparisons with that,
    and only for sides that are longer than what is added.
    """
    height, width = x.shape[-2:]
    mode = "reflect" if reflect else "replicate"
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode=mode)


def to_bytes(x: Tensor) -> Tensor:
    """Floats -> uint8; [-1,1] becomes 0..255, halves up, values beyond are clamped."""
    return _within_range(x).add_(1).mul_(127.5).add_(0.5).to(torch.uint8)


def _within_range(x: Tensor) -> Tensor:
    return x.float().clamp(-1, 1)
