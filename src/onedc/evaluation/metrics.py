"""Distances between one original and one decoded picture, each a number or a reason why there is none.

Pictures are [H,W,3] uint8. A metric that cannot be had (no weights, no package, picture too small) gives a
missing value; it never gives a number that is not its own. Sets of pictures are judged in `frechet`. torch is
imported by the metrics that need it.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onedc.errors import ConfigError, OneDCError
from onedc.files import file_sha256
from onedc.image import RGBArray
from onedc.pretrained.table import LPIPS_SQUEEZE_FILE

if TYPE_CHECKING:
    from torch import Tensor, nn

MS_SSIM_MIN_SIDE_PX = 176
"""Five scales with an 11-tap window: at 1/16 the side must still have 11 pixels."""

LPIPS_MIN_SIDE_PX = 32


@dataclass(frozen=True)
class Value:
    """A measured number, or None and the reason."""

    number: float | None
    reason: str = ""


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is written, which way is better, and which differences say nothing."""

    name: str
    label: str
    higher_is_better: bool
    digits: int
    unit: str = ""
    per_set: bool = False
    noise: float = 0.0  # differences up to this come of roundings and precision, not of the codec


class UnavailableError(Exception):
    """Why a metric, or a source of features, cannot be had here."""


METRICS = {
    info.name: info
    for info in (
        MetricInfo("psnr", "PSNR", True, 2, "dB", noise=0.02),
        MetricInfo("ms_ssim", "MS-SSIM", True, 4, noise=0.0005),
        MetricInfo("lpips_squeeze", "LPIPS-squeeze", False, 4, noise=0.001),
        MetricInfo("lpips_alex", "LPIPS-alex", False, 4, noise=0.001),
        MetricInfo("lpips_vgg", "LPIPS-vgg", False, 4, noise=0.001),
        MetricInfo("dists", "DISTS", False, 4, noise=0.001),
        MetricInfo("fd_mobilenet", "FDmb", False, 1, per_set=True, noise=1),
        MetricInfo("fid", "FID", False, 2, per_set=True, noise=0.2),
        MetricInfo("kid", "KID", False, 5, per_set=True, noise=0.0001),
        MetricInfo("inception_score", "Inception score", True, 3, per_set=True, noise=0.02),
    )
}


@dataclass(frozen=True)
class ImageMetric:
    """A metric of one pair. `identity` changes when its numbers may (package version, weights)."""

    name: str
    identity: str
    measure: Callable[[RGBArray, RGBArray], Value]


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple without repeats. Raises ConfigError for an unknown one."""
    unique = tuple(dict.fromkeys(names))
    for name in unique:
        if name not in METRICS:
            raise ConfigError(f"metric {name!r}: not one of {', '.join(METRICS)}")
    return unique


def load_image_metrics(names: Iterable[str], weights: Path | None = None) -> list[ImageMetric]:
    """The per-image metrics among `names`, ready to use; those that cannot be had give missing values.

    Raises:
        ConfigError: an unknown name.
        WeightsError: a weights file that is there but damaged.
    """
    return [_made(name, weights) for name in check_names(names) if not METRICS[name].per_set]


def _made(name: str, weights: Path | None) -> ImageMetric:
    try:
        return MAKERS[name](weights)
    except UnavailableError as error:
        reason = str(error)
    except OneDCError:
        raise
    except Exception as error:  # a plugin's
        reason = f"{name}: cannot be made ready: {type(error).__name__}: {error}"
    return ImageMetric(name, f"{name}: missing", lambda original, decoded: Value(None, reason))


def number_or_reason(measure: Callable[..., Value], *pictures: Any) -> Value:
    """What a metric gives: missing, with the reason, where it fails or its number is not finite.

    Raises:
        OneDCError: what the metric itself raises so.
    """
    try:
        value = measure(*pictures)
    except OneDCError:
        raise
    except Exception as error:  # metrics of others raise nearly anything
        return Value(None, f"{type(error).__name__}: {error}")
    if value.number is None or math.isfinite(value.number):
        return value
    return Value(None, f"came out as {value.number}")


def psnr(original: RGBArray, decoded: RGBArray) -> Value:
    """Peak signal to noise ratio in dB over all three channels, peak 255."""
    error = np.mean(np.square(original.astype(np.float64) - decoded))
    if error == 0:
        return Value(None, "the pictures are identical: PSNR is infinite")
    return Value(float(10 * np.log10(255.0**2 / error)))


def file_hash(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file."""
    return file_sha256(path)[:16]


def _ms_ssim_metric() -> ImageMetric:
    try:
        import torchmetrics
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim
    except ImportError as error:
        raise UnavailableError('torchmetrics is not installed: pip install "onedc[eval]"') from error

    def distance(original: RGBArray, decoded: RGBArray) -> Tensor:
        return ms_ssim(_unit_range(decoded), _unit_range(original), data_range=1.0)

    return _of_sides(
        "ms_ssim", f"ms_ssim torchmetrics {torchmetrics.__version__}", MS_SSIM_MIN_SIDE_PX, distance
    )


def _of_sides(
    name: str, identity: str, least_px: int, distance: Callable[[RGBArray, RGBArray], Tensor]
) -> ImageMetric:
    """A metric of pictures with sides of `least_px` at least, from a distance in torch."""
    import torch

    def measure(original: RGBArray, decoded: RGBArray) -> Value:
        if min(original.shape[:2]) < least_px:
            return Value(None, f"{METRICS[name].label} needs sides of at least {least_px} pixels")
        with torch.inference_mode():
            return Value(float(distance(original, decoded)))

    return ImageMetric(name, identity, measure)


def _unit_range(picture: RGBArray) -> Tensor:
    """[H,W,3] -> [1,3,H,W] in [0,1]."""
    from onedc.engine.torch_engine import to_tensor

    return (to_tensor(picture) + 1) / 2


def weights_file(weights: Path | None, name: str) -> Path:
    """A file of the folder of weights. Raises UnavailableError where there is none."""
    if weights is None:
        raise UnavailableError(f"no weights: give a folder with {name} as --metric-weights")
    if not (weights / name).is_file():
        raise UnavailableError(f"{weights / name}: no such file")
    return weights / name


def _lpips_file_metric(backbone: str, path: Path) -> ImageMetric:
    """LPIPS over a backbone, from a file of `onedc nets`."""
    from onedc.engine.torch_engine import to_tensor
    from onedc.pretrained.loading import read_lpips

    name, net = f"lpips_{backbone}", read_lpips(path, backbone)
    recent: tuple[RGBArray, list[Tensor]] | None = None  # a run judges many versions of one original in turn

    def distance(original: RGBArray, decoded: RGBArray) -> Tensor:
        nonlocal recent
        if recent is None or recent[0] is not original:
            recent = original, net.features(to_tensor(original))
        return net.distance(recent[1], net.features(to_tensor(decoded)))

    return _of_sides(name, f"{name} {file_hash(path)}", LPIPS_MIN_SIDE_PX, distance)


def _package_metric(
    name: str, module: str, pattern: str, build: Callable[[Any], nn.Module], *, unit_range: bool = False
) -> ImageMetric:
    """A metric of an optional package whose backbone is in torch's download cache under `pattern`.

    Nothing is fetched.
    """
    import torch

    from onedc.engine.torch_engine import to_tensor

    cache = Path(torch.hub.get_dir()) / "checkpoints"
    if not any(cache.glob(pattern)):
        raise UnavailableError(f"no {pattern} in {cache}, torch's cache; use {module} once while online")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision's own deprecations
            package = importlib.import_module(module)
            net = build(package).eval()
    except Exception as error:  # packages of others raise nearly anything
        raise UnavailableError(f'{module} cannot be used: {error}; pip install "onedc[metrics]"') from error
    tensor = _unit_range if unit_range else to_tensor
    identity = f"{name} {module} {getattr(package, '__version__', '')}".rstrip()
    return _of_sides(name, identity, LPIPS_MIN_SIDE_PX, lambda *pair: net(*map(tensor, pair)))


def _lpips_metric(net: str, pattern: str, weights: Path | None) -> ImageMetric:
    """LPIPS over AlexNet or VGG: from its file in that folder, else by the optional package `lpips`."""
    file = f"lpips_{net}.safetensors"
    if weights is not None and (weights / file).is_file():
        return _lpips_file_metric(net, weights / file)
    return _package_metric(
        f"lpips_{net}", "lpips", pattern, lambda lpips: lpips.LPIPS(net=net, verbose=False)
    )


def _dists_metric() -> ImageMetric:
    """DISTS by the optional package `DISTS_pytorch`."""
    package = "DISTS_pytorch"
    return _package_metric("dists", package, "vgg16-*.pth", lambda dists: dists.DISTS(), unit_range=True)


MAKERS: dict[str, Callable[[Path | None], ImageMetric]] = {
    "psnr": lambda weights: ImageMetric("psnr", "psnr", psnr),
    "ms_ssim": lambda weights: _ms_ssim_metric(),
    "lpips_squeeze": lambda weights: _lpips_file_metric("squeeze", weights_file(weights, LPIPS_SQUEEZE_FILE)),
    "lpips_alex": lambda weights: _lpips_metric("alex", "alexnet-owt-*.pth", weights),
    "lpips_vgg": lambda weights: _lpips_metric("vgg", "vgg16-*.pth", weights),
    "dists": lambda weights: _dists_metric(),
}
"""How each metric of one image is made ready, given the folder of weights."""


def register_metric(info: MetricInfo, make: Callable[[Path | None], ImageMetric]) -> None:
    """Add a metric of one image; `make` gets the folder of --metric-weights and may raise UnavailableError.

    Raises:
        ConfigError: a name that is taken.
    """
    add_info(replace(info, per_set=False))
    MAKERS[info.name] = make


def add_info(info: MetricInfo) -> None:
    """Make a metric's name known. Raises ConfigError for one that is taken."""
    if info.name in METRICS:
        raise ConfigError(f"metric {info.name!r}: this name is taken")
    METRICS[info.name] = info
