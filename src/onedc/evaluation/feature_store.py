"""Features of patches, kept in the folders of runs and found again by the picture's pixels and the network.

A metric over any set of records comes from here, whichever runs measured them; no network is needed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onedc.evaluation.frechet import SET_METRICS, Features, set_metric
from onedc.evaluation.metrics import Value, number_or_reason
from onedc.evaluation.records import Record
from onedc.files import make_folder, write_whole


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
        return number_or_reason(set_metric, name, original, decoded)

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
