"""What tests in several folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.graphs import SharedGraphs


@pytest.fixture(scope="module")
def models_stay_loaded() -> Iterator[None]:
    """Commands that run in this process share a model instead of loading it again each time."""
    from onedc import loading
    from onedc.batch import work

    load = cache(loading.load)
    with patch.object(loading, "load", load), patch.object(work, "load", load):
        yield


@pytest.fixture(scope="session")
def shared_graphs(tmp_path_factory: pytest.TempPathFactory) -> SharedGraphs:
    """`export_graphs` for tests of something else."""
    folder = tmp_path_factory.getbasetemp()
    return SharedGraphs(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture
def quick_export(shared_graphs: SharedGraphs, monkeypatch: pytest.MonkeyPatch) -> None:
    """`onedc export` and its like take graphs of the test run where there are any."""
    monkeypatch.setattr("onedc.train.export.export_graphs", shared_graphs)


@pytest.fixture(scope="session")
def with_graphs(tmp_path_factory: pytest.TempPathFactory, shared_graphs: SharedGraphs) -> Path:
    """FIXTURE, whose 8-bit floats numpy lacks, as a file with graphs, which onnxruntime takes."""
    import torch
    from tests.conformance.fixture_model import CONFIG, FIXTURE

    from onedc.weights.file import read_content, save_changed

    path = tmp_path_factory.mktemp("graphs") / FIXTURE.name
    metadata, tensors = read_content(FIXTURE)
    tensors = {
        name: value.to(torch.bfloat16) if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    save_changed((metadata, tensors), path, graphs=shared_graphs(CONFIG), force=False)
    return path
