"""The fixture model for engines other than torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance.fixture_model import CONFIG, FIXTURE


@pytest.fixture(scope="session")
def with_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FIXTURE, whose 8-bit floats numpy lacks, as a file with graphs, which onnxruntime takes."""
    import torch

    from onedc.engine.onnx_export import export_graphs
    from onedc.weights.file import read_content, save_changed

    path = tmp_path_factory.mktemp("graphs") / FIXTURE.name
    metadata, tensors = read_content(FIXTURE)
    tensors = {
        name: value.to(torch.bfloat16) if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    save_changed((metadata, tensors), path, graphs=export_graphs(CONFIG), force=False)
    return path
