"""The networks of a model in onnxruntime, on the processor, without torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from onedc.constants import Y_PX
from onedc.effort.level import Effort
from onedc.engine import cores
from onedc.engine.graphs import (
    ANALYSIS,
    FORMS,
    HALO,
    HYPER,
    LATENTS,
    PIXELS,
    SHARED,
    SIDE,
    STEM,
    STEP,
    TILE,
    parameters_in,
)
from onedc.engine.models import ModelSource, ReadyModel
from onedc.engine.protocol import Engine
from onedc.entropy.z_prior import z_prior_of
from onedc.errors import ConfigError, WeightsError, one_line
from onedc.image.forms import Pixels
from onedc.image.samples import to_bytes, to_floats
from onedc.model.tile_layout import Tile, tiles
from onedc.model.tiling import Overlap, blended
from onedc.seam.fixed_point import Hyper, Seam
from onedc.seam.slices import NUMPY
from onedc.weights.arrays import Arrays, read_arrays
from onedc.weights.layout import fingerprint


class Sessions:
    """One onnxruntime session for each graph, made when it is first run, and anew in a forked process.

    Args:
        graphs: by name, without their parameters.
        parameters: float32, by name.
        threads: of each session; None: as many as the process has cores.

    Raises:
        WeightsError: graphs missing.
    """

    def __init__(
        self, graphs: Mapping[str, bytes], parameters: Mapping[str, NDArray[np.float32]], threads: int | None
    ) -> None:
        missing = sorted(FORMS.keys() - graphs.keys())
        if missing:
            raise WeightsError(
                f"the graph {missing[0]!r} is missing: onedc export makes a weights file's graphs anew"
            )
        self._graphs = graphs
        self._parameters = parameters
        self.threads = threads or cores.available()
        self._lock = Lock()
        self._made: dict[tuple[int, str], Any] = {}
        self._values: dict[str, dict[str, Any]] = {}  # which sessions point into

    def run(self, name: str, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs of one graph; its memory is given back: a codec at rest holds its parameters alone."""
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        feed = dict(zip(FORMS[name].inputs, inputs, strict=True))
        outputs: list[NDArray[Any]] = self[name].run(None, feed, options)
        return outputs

    def facts(self, name: str) -> dict[str, int]:
        """What a graph says of itself: see `graphs.STEP`."""
        return {key: int(value) for key, value in self[name].get_modelmeta().custom_metadata_map.items()}

    def __getitem__(self, name: str) -> Any:
        key = os.getpid(), name  # a fork has the session's memory but not its threads
        with self._lock:
            if key not in self._made:
                self._made[key] = self._session(name)
            return self._made[key]

    def _session(self, name: str) -> Any:
        _register_arena()
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        graph = self._graphs[name]
        if name not in self._values:
            asked = parameters_in(graph, self._parameters)
            value_of = onnxruntime.OrtValue.ortvalue_from_numpy
            self._values[name] = {key: value_of(self._parameters[key]) for key in asked}
        values = self._values[name]
        options.add_external_initializers(list(values), list(values.values()))
        try:
            return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common root
            raise WeightsError(f"the graph {name!r} cannot be run: {one_line(error)}") from error


class OnnxEngine:
    """See `protocol.Engine`. Threads may share one.

    Args:
        arrays: a weights file with graphs.
        threads: of the networks; None: all cores of the process.
        with_torch: makes an engine that can refine; None: there is none.

    Raises:
        WeightsError: integers or graphs missing or damaged.
    """

    name = "onnx"
    on_cpu = True
    precision = "float32"

    def __init__(
        self,
        arrays: Arrays,
        *,
        threads: int | None = None,
        with_torch: Callable[[], Engine] | None = None,
    ) -> None:
        self._sessions = Sessions(arrays.graphs, arrays.parameters, threads)
        self.seam = Seam(arrays.seam, NUMPY._replace(threads=self.threads))
        self._with_torch = with_torch

    @property
    def threads(self) -> int:
        """See `protocol.Engine`."""
        return self._sessions.threads

    def analyse(self, pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `protocol.Engine`."""
        rows = pixels if pixels.dtype == np.uint8 else pixels.transpose(1, 2, 0)
        step, features = self._sessions.facts(STEM)[STEP], np.empty(0, np.float32)
        for tile, part in self._in_tiles(STEM, rows, _stem_input):
            if not features.size:
                sides = (side // step for side in rows.shape[:2])
                features = np.empty((1, part.shape[1], *sides), np.float32)
            features[:, :, tile.rows.wanted(1), tile.columns.wanted(1)] = part
        y, sem = self._blended(ANALYSIS, features, step_px=step)
        (z_idx,) = self._sessions.run(HYPER, y, sem)
        return y[0], z_idx[0]

    def refine(
        self, pixels: Pixels, y: NDArray[np.float32], hyper: Hyper, quality: int, effort: Effort
    ) -> NDArray[np.float64]:
        """See `protocol.Engine`; by torch, which takes gradients.

        Raises:
            ConfigError: there is no torch.
        """
        if self._with_torch is None:
            raise ConfigError('an effort above 0 needs torch: pip install "onedc[torch]"')
        return self._with_torch().refine(pixels, y, hyper, quality, effort)

    def synthesise(
        self,
        y_hat: NDArray[np.float32],
        z_semantic: NDArray[np.float32],
        qualities: NDArray[np.int64],
        *,
        as_floats: bool,
    ) -> Pixels:
        """See `protocol.Engine`."""
        batch, _, height, width = y_hat.shape
        pictures = np.empty((batch, Y_PX * height, Y_PX * width, 3), np.float32 if as_floats else np.uint8)
        step = self._sessions.facts(PIXELS)[STEP]
        for row, out in enumerate(pictures):
            one = slice(row, row + 1)
            maps = y_hat[one], z_semantic[one]
            (latents,) = self._blended(LATENTS, *maps, step_px=Y_PX, last=(qualities[one],))
            for tile, part in self._in_tiles(PIXELS, np.moveaxis(latents[0], 0, -1), _maps):
                place = out[tile.rows.wanted(step), tile.columns.wanted(step)]
                place[:] = np.clip(np.moveaxis(part[0], 0, -1), -1, 1) if as_floats else to_bytes(part[0])
        return pictures.transpose(0, 3, 1, 2) if as_floats else pictures

    def compile(self) -> None:
        """See `protocol.Engine`.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("compiling the networks needs torch: load the model with engine='torch'")

    def _blended(
        self, name: str, *maps: NDArray[np.float32], step_px: int, last: tuple[NDArray[Any], ...] = ()
    ) -> Sequence[NDArray[np.float32]]:
        """The outputs of a graph that sees the whole picture.

        Args:
            maps: [1,C,h,w], its first inputs; those of a tile are cut out of them.
            step_px: pixels a side of a position of the first map.
            last: the other inputs, the same for each tile.
        """
        facts = self._sessions.facts(name)

        def run(*parts: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            return self._sessions.run(name, *(np.ascontiguousarray(part) for part in parts), *last)

        height, width = (side * step_px for side in maps[0].shape[-2:])
        overlap = Overlap(facts[TILE], facts[SHARED])
        return blended(run, maps, height, width, overlap=overlap, put=np.asarray)

    def _in_tiles(
        self, name: str, rows: NDArray[Any], prepare: Callable[[NDArray[Any]], NDArray[np.float32]]
    ) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        """The tiles of a picture and a graph's output [1,C,h,w] on each, without what lies round it.

        Args:
            rows: [h,w,C]; what `prepare` makes the graph's input of, tile by tile.
        """
        facts = self._sessions.facts(name)
        step = facts[STEP]
        per_in, per_out = (step, 1) if name == STEM else (1, step)
        height, width = rows.shape[0] // per_in, rows.shape[1] // per_in
        for tile in tiles(height, width, step_px=step, side=facts[SIDE], halo=facts[HALO]):
            down, across = tile
            (out,) = self._sessions.run(name, prepare(rows[down.computed(per_in), across.computed(per_in)]))
            yield tile, out[:, :, down.inside(per_out), across.inside(per_out)]


def open_models(
    weights: str | Path,
    *,
    threads: int | None = None,
    with_torch: Callable[[], Engine] | None = None,
) -> ModelSource:
    """The model of a weights file with graphs; arguments as of `OnnxEngine`.

    Raises:
        WeightsError: a file that is missing, damaged or of another kind, or without graphs.
    """
    arrays = read_arrays(weights)
    try:
        engine = OnnxEngine(arrays, threads=threads, with_torch=with_torch)
    except WeightsError as error:
        raise WeightsError(f"{weights}: {error}") from error
    return ModelSource.of_one(
        ReadyModel(
            config=arrays.identity.config,
            model_id=arrays.identity.model_id,
            fingerprint=fingerprint(arrays.identity.seam_sha256),
            engine=engine,
            z_prior=z_prior_of(arrays.z_prior),
        )
    )


def _stem_input(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of a picture [h,w,3], bytes or floats, as [1,3,h,w] in [-1,1]."""
    return to_floats(rows)[None] if rows.dtype == np.uint8 else _maps(rows)


def _maps(rows: NDArray[Any]) -> NDArray[np.float32]:
    """[h,w,C] -> [1,C,h,w]."""
    return np.ascontiguousarray(np.moveaxis(rows, -1, 0)[None])


@cache
def _register_arena() -> None:
    """Have all sessions of the process share an arena that grows by what is asked for, not doubling."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    settings = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(memory, settings)
