"""Distances between two sets of pictures, taken over the features of their patches.

Features are computed per picture and kept in the folders of runs, where they are found again by the pixels
and the network: a metric over any set of records comes from there, and needs no network. Knows no codecs.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onedc.errors import ConfigError
from onedc.evaluation.metrics import (
    MetricInfo,
    UnavailableError,
    Value,
    add_info,
    check_names,
    file_hash,
    number_or_reason,
    weights_file,
)
from onedc.evaluation.records import Record
from onedc.files import make_folder, write_whole
from onedc.image import RGBArray

if TYPE_CHECKING:
    from torch import Tensor

Features = NDArray[np.float32]
"""[patches, width]."""

MOBILENET_FILE = "mobilenet_v2_qat.safetensors"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""Names that the feature networks have in the folder given by --metric-weights."""

BATCH = 8
SEED = 20150205
"""Of the random subsets of KID and Inception score: the same features give the same number."""


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """Which patches of a picture are judged: `count` grids, each shifted by size/count from the last."""

    size: int = 256  # side of a patch, pixels
    count: int = 2  # number of grids

    def __post_init__(self) -> None:
        if self.size < 32:
            raise ConfigError(f"PatchGrid.size: {self.size} is below 32 pixels")
        if not 1 <= self.count <= self.size:
            raise ConfigError(f"PatchGrid.count: {self.count} is not in 1..{self.size}")

    def corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """(top, left) of every patch: grids from their corner on, incomplete borders dropped.

        Source: the OneDC paper's evaluation; grid i exists where both sides reach (2 - i/count) patches.
        """
        found = []
        for i in range(self.count):
            shift = i * self.size // self.count
            if i > 0 and min(height, width) * self.count < (2 * self.count - i) * self.size:
                continue
            for top in range(shift, height - self.size + 1, self.size):
                found += [(top, left) for left in range(shift, width - self.size + 1, self.size)]
        return found

    def cut(self, picture: RGBArray) -> list[RGBArray]:
        """The patches of a picture, each [size,size,3]."""
        s = self.size
        return [picture[top : top + s, left : left + s] for top, left in self.corners(*picture.shape[:2])]


@dataclass(frozen=True)
class FeatureSource:
    """A named network over patches: `extract` maps [H,W,3] patches to features [patches, width]."""

    name: str
    identity: str
    extract: Callable[[Sequence[RGBArray]], Features]


def module_source(name: str, identity: str, module: Callable[[Tensor], Tensor], width: int) -> FeatureSource:
    """A feature source from any module that maps [B,3,H,W] in [-1,1] to [B,width]."""
    import torch

    from onedc.engine.torch_engine import to_tensor

    def extract(patches: Sequence[RGBArray]) -> Features:
        rows = [np.empty((0, width), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(patches), BATCH):
                batch = torch.cat([to_tensor(patch) for patch in patches[start : start + BATCH]])
                rows.append(module(batch).float().numpy())
        return np.concatenate(rows)

    return FeatureSource(name, identity, extract)


def load_sources(names: Sequence[str], weights: Path | None) -> tuple[list[FeatureSource], dict[str, str]]:
    """The feature sources that the set metrics among `names` need, and a reason for each missing source.

    Raises:
        ConfigError: an unknown metric.
        WeightsError: a weights file that is there but damaged.
    """
    wanted = dict.fromkeys(SET_METRICS[name].source for name in check_names(names) if name in SET_METRICS)
    sources, missing = [], {}
    for source in wanted:
        try:
            sources.append(SOURCES[source](weights))
        except UnavailableError as error:
            missing[source] = str(error)
    return sources, missing


def _mobilenet(weights: Path | None) -> FeatureSource:
    from onedc.pretrained.loading import load_mobilenet_v2

    path = weights_file(weights, MOBILENET_FILE)
    net = load_mobilenet_v2(path)
    return module_source("mobilenet", f"mobilenet {file_hash(path)}", net, net.width)


def _inception(source: str, layer: str, width: int, weights: Path | None) -> FeatureSource:
    """Inception v3 as torchmetrics' FID has it, by the optional package torch-fidelity and a local file."""
    path = weights_file(weights, INCEPTION_FILE)
    try:
        importlib.import_module("torch_fidelity")
        fid = importlib.import_module("torchmetrics.image.fid")
        net = fid.NoTrainInceptionV3("inception-v3-compat", [layer], str(path))
    except Exception as error:  # packages of others and a file of the user's
        raise UnavailableError(
            f'Inception v3 by torch-fidelity cannot be used: {error}; pip install "onedc[metrics]"'
        ) from error
    # The network wants uint8 in 0..255.
    return module_source(
        source, f"{source} {file_hash(path)}", lambda x: net(((x + 1) * 127.5).round().byte()), width
    )


def frechet_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features [n,width] and [m,width].

    The trace of the root of the product of covariances is the sum of the singular values of the product of
    the centred feature matrices, which stays exact where there are fewer samples than features.

    Raises:
        ConfigError: fewer than two samples, or different widths.
    """
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
        raise ConfigError(f"Frechet distance: cannot compare features {a.shape} with {b.shape}")
    centred, traces = [], []
    for features in (a, b):
        rows = features.astype(np.float64)
        rows = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
        centred.append(rows)
        traces.append(np.square(rows).sum())
    means = a.mean(axis=0, dtype=np.float64) - b.mean(axis=0, dtype=np.float64)
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    return float(np.square(means).sum() + sum(traces) - 2 * cross)


@dataclass(frozen=True)
class SetMetric:
    """A metric over sets: `distance` of the features [n,width] of originals and of decoded pictures."""

    source: str  # key of SOURCES
    distance: Callable[[Features, Features], Value]


def _by_torchmetrics(name: str, original: Features, decoded: Features) -> Value:
    try:
        importlib.import_module("torchmetrics")
    except ImportError:
        return Value(None, 'torchmetrics is not installed: pip install "onedc[eval]"')
    import torch

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "will save all extracted features in buffer"
        torch.manual_seed(SEED)
        return Value(_torchmetrics_value(name, torch.from_numpy(original), torch.from_numpy(decoded)))


def _torchmetrics_value(name: str, original: Tensor, decoded: Tensor) -> float:
    """FID, KID or Inception score of given features, by torchmetrics."""
    from torch import nn
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    given: Any = nn.Identity()  # in place of a feature network: the features are there already
    given.num_features = original.shape[1]
    if name == "inception_score":
        score = InceptionScore(feature=given, splits=min(10, len(decoded)))
        score.update(decoded)
        return float(score.compute()[0])
    if name == "kid":
        metric: Any = KernelInceptionDistance(
            feature=given, subset_size=min(1000, len(original), len(decoded))
        )
    else:
        metric = FrechetInceptionDistance(feature=given)
    metric.update(original, real=True)
    metric.update(decoded, real=False)
    result = metric.compute()
    return float(result[0] if isinstance(result, tuple) else result)


SOURCES: dict[str, Callable[[Path | None], FeatureSource]] = {
    "mobilenet": _mobilenet,
    "inception": partial(_inception, "inception", "2048", 2048),
    "inception_logits": partial(_inception, "inception_logits", "logits_unbiased", 1008),
}
"""How each feature source is made ready, given the folder of weights."""

SET_METRICS = {
    "fd_mobilenet": SetMetric("mobilenet", lambda a, b: Value(frechet_distance(a, b))),
    "fid": SetMetric("inception", partial(_by_torchmetrics, "fid")),
    "kid": SetMetric("inception", partial(_by_torchmetrics, "kid")),
    "inception_score": SetMetric("inception_logits", partial(_by_torchmetrics, "inception_score")),
}
"""How each metric over a set is computed from features."""


def register_set_metric(
    info: MetricInfo, metric: SetMetric, make: Callable[[Path | None], FeatureSource] | None = None
) -> None:
    """Add a metric over sets, and the source of its features unless that is known.

    `make` gets the folder of --metric-weights, and raises UnavailableError where it lacks something.

    Raises:
        ConfigError: a name that is taken, or an unknown source without `make`.
    """
    if (metric.source in SOURCES) == (make is not None):
        raise ConfigError(
            f"feature source {metric.source!r}: a new source needs `make`, a known one must not have it"
        )
    add_info(replace(info, per_set=True))
    SET_METRICS[info.name] = metric
    if make is not None:
        SOURCES[metric.source] = make


class FeatureStore:
    """The features in the folders of one or more runs; new ones go to the first."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [folder / "features" for folder in folders]

    def has(self, picture_hash: str, made_by: str) -> bool:
        """Whether the features of a picture are there; `made_by` names the network and the patches."""
        return self._find(picture_hash, made_by) is not None

    def save(self, picture_hash: str, made_by: str, features: Features) -> None:
        """Write features [patches,width] as .npy, whole or not at all."""
        path = self.folders[0] / _file_name(picture_hash, made_by)
        buffer = io.BytesIO()
        np.save(buffer, features)
        make_folder(path.parent)
        write_whole(path, buffer.getvalue(), force=True)

    def measure(self, name: str, records: Sequence[Record]) -> Value:
        """A metric over the originals and the decoded pictures of records."""
        source = SET_METRICS[name].source
        for record in records:
            if source not in record.features:
                return Value(None, f"{record.image}: {record.missing.get(name, 'not measured')}")
        made_by = {record.features[source] for record in records}
        if len(made_by) != 1:
            return Value(None, f"features of {' and of '.join(sorted(made_by))} cannot be mixed")
        ordered = sorted(records, key=lambda record: record.image)
        try:
            original = self._load([r.image_hash for r in ordered], *made_by)
            decoded = self._load([r.decoded_hash for r in ordered], *made_by)
        except FileNotFoundError:
            return Value(None, "features were not kept")
        if min(len(original), len(decoded)) < 2:
            return Value(None, "fewer than two patches")
        return number_or_reason(SET_METRICS[name].distance, original, decoded)

    def _load(self, hashes: Sequence[str], made_by: str) -> Features:
        paths = [self._find(picture_hash, made_by) for picture_hash in hashes]
        if None in paths:
            raise FileNotFoundError
        return np.concatenate([np.load(path) for path in paths if path is not None])

    def _find(self, picture_hash: str, made_by: str) -> Path | None:
        paths = (folder / _file_name(picture_hash, made_by) for folder in self.folders)
        return next((path for path in paths if path.exists()), None)


def _file_name(picture_hash: str, made_by: str) -> str:
    return hashlib.sha256(f"{picture_hash} {made_by}".encode()).hexdigest()[:24] + ".npy"
