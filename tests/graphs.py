"""Graphs of configurations, made once for all tests of a run: exporting takes seconds of the processor."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors.numpy import load_file, save_file

from onedc.config import ModelConfig


class SharedGraphs:
    """`export_graphs` whose results lie in a folder that the processes of a test run share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, config: ModelConfig) -> dict[str, bytes]:
        from onedc.engine.onnx_export import export_graphs

        path = (
            self.folder / f"graphs-{hashlib.sha256(config.to_json().encode()).hexdigest()[:16]}.safetensors"
        )
        with FileLock(f"{path}.lock"):
            if not path.exists():
                graphs = {
                    name: np.frombuffer(graph, np.uint8) for name, graph in export_graphs(config).items()
                }
                save_file(graphs, path)
        return {name: array.tobytes() for name, array in load_file(path).items()}
