"""From a weights file to a codec: onnxruntime where it can, else torch; and the bundled model.

Each engine is imported when it is chosen.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Unpack

from onedc.codec import Codec
from onedc.container.packing import DEFAULT_MAX_PIXELS, File
from onedc.engine.protocol import Engine, EngineName, Precision
from onedc.errors import ConfigError, MissingExtraError
from onedc.image.forms import Output, Picture
from onedc.options import EncodeOptions
from onedc.target_size import DEFAULT_QUALITY
from onedc.weights import BUNDLED
from onedc.weights.arrays import has_graphs

if TYPE_CHECKING:
    import torch


TORCH_MISSING = 'torch is not installed: pip install "onedc[torch]"'


def load(
    weights: str | Path | None = None,
    *,
    engine: EngineName = "auto",
    device: str | torch.device = "cpu",
    precision: Precision = "auto",
    threads: int | None = None,
    metric_weights: str | Path | None = None,
) -> Codec:
    """Load a model.

    Args:
        weights: a weights file, or a family file of several rates; None is the bundled model.
        engine: what runs the networks: "onnx" (onnxruntime: models whose weights file holds graphs, on the
            processor, in fp32), "torch", or "auto": the first where it can do what is asked for.
        device: a torch device.
        precision: of the float networks; "auto" is bf16 where torch runs them and is fast at it, else fp32.
        threads: CPU threads, with torch of the whole process from now on; None: as many as there are cores.
        metric_weights: a folder with LPIPS_SQUEEZE_FILE, by which an effort above 0 judges decoded pictures;
            None: by the features of the model's own autoencoder.

    Raises:
        WeightsError: a weights file that is missing, damaged or of another kind; so for metric_weights.
        ConfigError: an unknown or unavailable device, an unknown precision or engine, one that cannot do what
            is asked for, or fewer than one thread.
        MissingExtraError: what is asked for needs torch, which is not installed.
    """
    weights = BUNDLED if weights is None else weights
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
        return Codec(onnx_engine.open_models(weights, threads=threads, with_torch=with_torch))
    if find_spec("torch") is None:
        raise MissingExtraError(f"{reason}; {TORCH_MISSING}" if reason else TORCH_MISSING)
    from onedc.engine import torch_engine

    return Codec(
        torch_engine.open_models(
            weights, device=device, precision=precision, threads=threads, metric_weights=metric_weights
        )
    )


def encode(image: Picture, *, quality: float = DEFAULT_QUALITY, **options: Unpack[EncodeOptions]) -> bytes:
    """One picture to .1dc bytes with the bundled model; see `Codec.encode_batch`."""
    return bundled_codec().encode(image, quality=quality, **options)


def decode(data: File, *, output: Output = "pil", max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Any:
    """One .1dc file to a picture with the bundled model; see `Codec.decode_batch`."""
    return bundled_codec().decode(data, output=output, max_pixels=max_pixels)


def bundled_codec() -> Codec:
    """The bundled model on the CPU, loaded once, however many threads ask for it."""
    with _bundled_lock:
        return _load_bundled()


_bundled_lock = Lock()
_load_bundled = cache(load)


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
