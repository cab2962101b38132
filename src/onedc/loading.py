"""From a weights file to a codec, and the bundled model's two verbs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Unpack

from onedc.codec import Codec
from onedc.container.packing import DEFAULT_MAX_PIXELS, File
from onedc.engine.choice import open_models
from onedc.engine.protocol import EngineName, Precision
from onedc.image.forms import Output, Picture
from onedc.options import EncodeOptions
from onedc.target_size import DEFAULT_QUALITY
from onedc.weights import BUNDLED

if TYPE_CHECKING:
    import torch


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
    source = open_models(
        BUNDLED if weights is None else weights,
        engine=engine,
        device=device,
        precision=precision,
        threads=threads,
        metric_weights=metric_weights,
    )
    return Codec(source)


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
