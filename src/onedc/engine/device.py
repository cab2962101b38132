"""What a device can do: which one, how fast in bf16, whether in float64. Knows no networks."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch

from onedc.errors import ConfigError
from onedc.files import user_cache


def find_device(device: str | torch.device) -> torch.device:
    """A device that works here.

    Raises:
        ConfigError: unknown to torch, or not available.
    """
    try:
        target = torch.device(device)
        torch.empty(1, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used: {reason}") from error
    return target


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the hardware multiplies it, else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = bool(features.get("amx_bf16") or features.get("avx512_bf16"))
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def runs_seam(device: torch.device) -> bool:
    """Whether the integer seam runs there in torch: numpy is as fast on a processor, in less memory."""
    return device.type in ("cuda", "xpu")  # which have float64


def prepare_compiler(device: torch.device) -> None:
    """Have torch.compile keep its kernels in the user's cache, over the process's end.

    Raises:
        ConfigError: no C++ compiler, which the CPU's kernels need.
    """
    if device.type == "cpu" and not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        raise ConfigError("compiling the networks for a processor needs a C++ compiler, and there is none")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache() / "compiled"))
