"""Which engine runs a model's networks: onnxruntime where it can do what is asked for, else torch.

Each engine is imported when it is chosen.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from onedc.engine.models import ModelSource
from onedc.engine.protocol import Engine, EngineName, Precision
from onedc.errors import ConfigError, MissingExtraError
from onedc.weights.arrays import has_graphs

if TYPE_CHECKING:
    import torch

TORCH_MISSING = 'torch is not installed: pip install "onedc[torch]"'


def open_models(
    weights: str | Path,
    *,
    engine: EngineName,
    device: str | torch.device,
    precision: Precision,
    threads: int | None,
    metric_weights: str | Path | None,
) -> ModelSource:
    """The models of a weights file behind an engine; arguments and errors as of `loading.load`."""
    if engine not in ("auto", "onnx", "torch"):
        raise ConfigError(f"engine {engine!r} is none of 'auto', 'onnx', 'torch'")
    if precision not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"precision {precision!r} is none of 'auto', 'fp32', 'bf16'")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads {threads} must be at least 1")
    reason = _why_torch(weights, device, precision, metric_weights)
    if engine == "onnx" and reason:
        raise ConfigError(f"engine 'onnx': {reason}; use engine 'torch'")
    if engine != "torch" and not reason:
        from onedc.engine import onnx_engine

        with_torch = None if find_spec("torch") is None else cache(lambda: _torch_engine(weights))
        return onnx_engine.open_models(weights, threads=threads, with_torch=with_torch)
    if find_spec("torch") is None:
        raise MissingExtraError(f"{reason}; {TORCH_MISSING}" if reason else TORCH_MISSING)
    from onedc.engine import torch_engine

    return torch_engine.open_models(
        weights, device=device, precision=precision, threads=threads, metric_weights=metric_weights
    )


def _why_torch(
    weights: str | Path,
    device: str | torch.device,
    precision: Precision,
    metric_weights: str | Path | None,
) -> str:
    """What onnxruntime cannot do of what is asked for; empty: it can."""
    if str(device) != "cpu":
        return f"device {str(device)!r} needs torch"
    if precision == "bf16":
        return "precision 'bf16' needs torch"
    if metric_weights is not None:
        return "an effort that is judged by LPIPS needs torch"
    if not has_graphs(weights):
        return f"{weights} holds no graphs, so its networks need torch"
    if find_spec("onnxruntime") is None:
        return "onnxruntime is not installed (pip install onnxruntime), so the networks need torch"
    return ""


def _torch_engine(weights: str | Path) -> Engine:
    from onedc.engine.torch_engine import ready_model
    from onedc.weights.file import load_weights

    return ready_model(load_weights(weights)).engine
