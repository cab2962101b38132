"""The frozen tables: the right ones, whole, read-only, and near the normal distribution they stand for."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from onedc.entropy import tables as tables_module
from onedc.entropy.tables import load_tables
from onedc.errors import WeightsError


def test_tables_are_the_frozen_ones() -> None:
    tables = load_tables()
    assert hashlib.sha256(tables.cdf.astype("<i4").tobytes()).hexdigest() == tables.sha256
    assert tables.sha256.startswith("681191522681e23f")
    assert (tables.cdf.shape, tables.length.shape, tables.scale.shape) == ((256, 103), (256,), (256,))


def test_every_bin_has_a_frequency_and_rows_are_symmetric_in_length() -> None:
    tables = load_tables()
    for index in range(256):
        freq = tables.freq[index]
        assert freq.min() >= 1
        assert freq.sum() == 65536
        assert len(freq) == 2 * -tables.offset[index] + 2
        assert not tables.cdf[index, tables.length[index] :].any()
    assert set(tables.offset[:64].tolist()) == {-2}
    assert set(tables.offset[192:].tolist()) == {-50}


def test_scales_grow_by_equal_factors() -> None:
    scale = load_tables().scale
    assert scale[0] == 0.11
    assert scale[-1] == 64.0
    assert np.allclose(np.diff(np.log(scale)), math.log(64 / 0.11) / 255, atol=1e-12)


def test_frequencies_follow_the_normal_distribution() -> None:
    tables = load_tables()
    for index in (0, 100, 200, 255):
        c = -int(tables.offset[index])
        edges = [k - 0.5 for k in range(-c, c + 2)]
        phi = [0.5 * (1 + math.erf(x / tables.scale[index] / math.sqrt(2))) for x in edges]
        assert np.abs(tables.freq[index][:-1] - 65536 * np.diff(phi)).max() < 5


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_tables().cdf[0, 0] = 1


def test_a_damaged_installation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "CDF_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="reinstall"):
        load_tables.__wrapped__()
