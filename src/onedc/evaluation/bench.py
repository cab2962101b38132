"""How fast a model is and how much memory it takes, part by part, beside other ways to run the same networks.

Knows numbers; `bench_report` writes them down.
"""

from __future__ import annotations

import math
import multiprocessing
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onedc.codec import Codec
from onedc.config import SD15, SMALL, TINY, ModelConfig
from onedc.engine.device import fast_dtype, find_device
from onedc.engine.models import ModelSource
from onedc.engine.protocol import Precision
from onedc.engine.torch_engine import ready_model, torch_engine_of
from onedc.entropy.tables import load_tables
from onedc.errors import ConfigError, OneDCError
from onedc.evaluation.breakdown import Clock, count_flops, measure
from onedc.evaluation.other_ways import as_reference, guided_step
from onedc.image import RGBArray
from onedc.loading import load
from onedc.model.onedc import OneDC
from onedc.seam.conversion import seam_integers
from onedc.weights.file import Weights, seam_sha256

PRESETS = {"small": SMALL, "sd15": SD15, "tiny": TINY}
DIRECTIONS = ("encode", "decode")
SAMPLER_STEPS = (20, 50)
SEAM_STAGES = ("h_s", "prior")
"""These run in float64 whatever the precision."""

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure."""

    weights: Path | None = None  # None: the bundled ones, or random ones of the preset
    preset: str | None = None  # name of a configuration to fill with random weights
    device: str = "cpu"
    precision: Precision = "auto"
    threads: int | None = None
    sizes: tuple[Size, ...] = ((512, 512),)  # of pictures to time
    memory_sizes: tuple[Size, ...] = ()  # to find the peak memory of, each in a process of its own
    batches: tuple[int, ...] = ()  # batch sizes of the throughput
    runs: int = 3  # behind the warm-up; their median counts
    ways: tuple[str, ...] = ("onedc", "reference", "sampler")
    compile: bool = False  # through torch.compile
    busy: bool = False  # count processor time, see `Clock`

    def __post_init__(self) -> None:
        if self.preset is not None and (self.preset not in PRESETS or self.weights is not None):
            raise ConfigError(
                f"preset {self.preset!r} is none of {', '.join(PRESETS)}, or was given with weights"
            )
        if self.runs < 1 or min(self.batches, default=1) < 1:
            raise ConfigError(f"runs {self.runs} and batches {self.batches} must be at least 1")
        if unknown := set(self.ways) - {"onedc", "reference", "sampler"}:
            raise ConfigError(f"way {min(unknown)!r} is none of onedc, reference, sampler")

    @property
    def name(self) -> str:
        """What the model is called."""
        if self.preset is not None:
            return f"{self.preset}, random weights"
        return "bundled" if self.weights is None else self.weights.name


def bench(options: BenchOptions, tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure all that the options name; `tell` hears of each part before it begins.

    Returns:
        Plain values for JSON: "machine", "model", "rows" (one for each way, direction and size),
        "throughput" and "memory".

    Raises:
        OneDCError: a model, device or size that cannot be had.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = find_device(options.device)
    clock = Clock(device, busy=options.busy)
    peak = {name: measured_peak(clock, getattr(torch, name)) for name in ("float32", "bfloat16", "float64")}
    found: dict[str, Any] = {
        "machine": {
            "name": machine_name(device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "clock": "processor time" if options.busy else "wall clock",
            "peak_gflop_per_s": {name: rate and rate / 1e9 for name, rate in peak.items()},
        },
        "model": options.name,
        "rows": [],
        "throughput": [],
        "memory": [],
    }
    for size in options.memory_sizes:  # first, while this process holds no model
        tell(f"peak memory {named(size)}")
        found["memory"].append(peak_memory(options, size))
    for way in ("onedc", "reference"):
        if way in options.ways or (way == "onedc" and (options.batches or "sampler" in options.ways)):
            tell(f"{way}: loading")
            timing = _Timing(make_codec(options, way), way, options.runs, clock, peak)
            _time_way(timing, options, found, tell)
            del timing
    return found


def _time_way(
    timing: _Timing, options: BenchOptions, found: dict[str, Any], tell: Callable[[str], None]
) -> None:
    """Add one way's rows, and beside our own those of samplers and batches."""
    ours = timing.way == "onedc"
    for size in options.sizes:
        if timing.way in options.ways:
            tell(f"{timing.way}: {named(size)}")
            found["rows"] += [timing.row(direction, size) for direction in DIRECTIONS]
        if ours and "sampler" in options.ways:
            tell(f"sampler: {named(size)}")
            found["rows"] += timing.sampler_rows(size)
    for batch in options.batches if ours else ():
        tell(f"throughput of batches of {batch}")
        found["throughput"] += timing.throughput(options.sizes[0], batch)


def make_codec(options: BenchOptions, way: str = "onedc") -> Codec:
    """The codec of the options, as onedc runs it or as the reference does (fp32 parameters)."""
    precision = "fp32" if way == "reference" else options.precision
    if options.preset is None:
        codec = load(options.weights, engine="torch", device=options.device, precision=precision)
    else:
        device = find_device(options.device)
        dtypes = {"auto": fast_dtype(device), "fp32": torch.float32, "bf16": torch.bfloat16}
        model = random_weights(PRESETS[options.preset], dtypes[precision])
        codec = Codec(ModelSource.of_one(ready_model(model, device=device, dtype=dtypes[precision])))
    if way == "reference":
        as_reference(codec)
    elif options.compile:
        codec.compile()
    return codec


@torch.no_grad()
def random_weights(config: ModelConfig, dtype: torch.dtype) -> Weights:
    """A model of a configuration with random weights that keep the size of what passes through.

    It costs what a trained one does but for the entropy coder, since its symbols are not.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        nets = OneDC(config)
    for name, parameter in list(nets.named_parameters()):
        owner, _, key = name.rpartition(".")
        precise = name.startswith(("h_s.", "prior."))
        value = torch.zeros(parameter.shape, dtype=torch.float32 if precise else dtype)
        if parameter.dim() > 1 and key == "weight":
            value.normal_(std=1 / math.sqrt(parameter[0].numel()), generator=generator)
        elif key == "weight":
            value.fill_(1)
        setattr(nets.get_submodule(owner), key, torch.nn.Parameter(value, requires_grad=False))
    integers = seam_integers(nets.h_s, nets.prior, load_tables().scale.tolist())
    del nets.h_s, nets.prior
    nets.to_precision(dtype).eval()
    digest = seam_sha256(integers)
    return Weights(config=config, model_id=0, seam_sha256=digest, nets=nets, seam_integers=integers)


@dataclass(frozen=True)
class _Timing:
    """One codec, run one way, and how to time it."""

    codec: Codec
    way: str
    runs: int
    clock: Clock
    peak: dict[str, float | None]  # by the type of numbers, see `measured_peak`

    def row(self, direction: str, size: Size) -> dict[str, Any]:
        """Median time of each stage of one picture, with its operations."""
        work = self._work(direction, size, batch=1)
        flops = count_flops(self.codec, work)  # also the warm-up
        timed = [measure(self.codec, work, self.clock) for _ in range(self.runs)]
        stages = []
        for name, count in flops.items():
            ms = statistics.median(run.get(name, 0.0) for run in timed)
            dtype = "float64" if name in SEAM_STAGES else self.dtype
            stages.append({"name": name, "ms": ms, **self._operations(count, ms, dtype)})
        ms = statistics.median(sum(run.values()) for run in timed)
        whole = self._operations(sum(flops.values()), ms, self.dtype)
        return self._fields(direction, size, ms, stages) | whole

    def _operations(self, count: float, ms: float, dtype: str) -> dict[str, float | None]:
        """How many, and which share of what the device can do in that time; None where that is not known."""
        possible = (self.peak[dtype] or 0.0) * ms / 1000
        return {"gflop": count / 1e9, "of_peak": count / possible if possible else None}

    def sampler_rows(self, size: Size) -> Iterator[dict[str, Any]]:
        """Samplers of several steps: so many times the median step, and the autoencoder's decoder once."""
        codec, (width, height) = self.codec, (-(-side // 64) * 64 for side in size)
        engine = torch_engine_of(codec.model)
        step = guided_step(codec, height, width)
        latents = torch.randn(1, codec.config.vae_channels, height // 8, width // 8)
        latents = latents.to(engine.device, engine.dtype, memory_format=torch.channels_last)
        step_ms = self._median_ms(step)
        decode_ms = self._median_ms(lambda: engine.nets.vae.decode(latents))
        for steps in SAMPLER_STEPS:
            stages = [
                {"name": "two of unet", "ms": step_ms, "times": steps},
                {"name": "vae.decode", "ms": decode_ms, "times": 1},
            ]
            fields = self._fields("decode", size, steps * step_ms + decode_ms, stages)
            yield fields | {"way": f"sampler, {steps} steps"}

    def throughput(self, size: Size, batch: int) -> Iterator[dict[str, Any]]:
        """Pictures a second of one batch size."""
        for direction in DIRECTIONS:
            rate = 1000 * batch / self._median_ms(self._work(direction, size, batch))
            yield {"direction": direction, "size": list(size), "batch": batch, "pictures_per_s": rate}

    @property
    def dtype(self) -> str:
        """Of the float networks."""
        return self.codec.model.engine.precision

    def _fields(self, direction: str, size: Size, ms: float, stages: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "way": self.way, "direction": direction, "size": list(size), "dtype": self.dtype, "ms": ms,
            "stages": stages,
        }  # fmt: skip

    def _work(self, direction: str, size: Size, batch: int) -> Callable[[], object]:
        """Encoding a batch of sample pictures, or decoding its files."""
        pictures = [sample_picture(size, seed) for seed in range(batch)]
        if direction == "encode":
            return lambda: self.codec.encode_batch(pictures)
        files = self.codec.encode_batch(pictures)
        return lambda: self.codec.decode_batch(files, output="numpy", max_pixels=math.prod(size))

    def _median_ms(self, work: Callable[[], object]) -> float:
        """Median of some runs behind a first one that does not count."""
        times = [sum(measure(self.codec, work, self.clock).values()) for _ in range(self.runs + 1)]
        return statistics.median(times[1:])


def peak_memory(options: BenchOptions, size: Size) -> dict[str, Any]:
    """Peak memory of encoding and of decoding one picture, in MB.

    Raises:
        OneDCError: the process ended early, as for want of memory.
    """
    found: dict[str, Any] = {"size": list(size)}
    file = None
    for direction in DIRECTIONS:
        try:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                found[f"{direction}_mb"], file = pool.submit(_peak_of, options, size, file).result()
        except BrokenProcessPool as error:
            raise OneDCError(f"{direction} {named(size)}: the process ended; too little memory?") from error
    return found


def _peak_of(options: BenchOptions, size: Size, file: bytes | None) -> tuple[float, bytes]:
    """In a new process: encode a test picture, or decode `file`; the peak so far in MB, and the file."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    codec = make_codec(options)
    if file is None:
        file = codec.encode(sample_picture(size, 0))
    else:
        codec.decode(file, output="numpy", max_pixels=math.prod(size))
    if not codec.model.engine.on_cpu:
        return torch.cuda.max_memory_allocated(options.device) / 1e6, file
    return resident_peak_mb(), file


def resident_peak_mb() -> float:
    """Most memory that this process has held, in MB. Raises ConfigError where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the parent's
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError as error:
        raise ConfigError("peak memory cannot be measured on this system") from error
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def sample_picture(size: Size, seed: int) -> RGBArray:
    """[H,W,3]: smooth fields of colour with noise on them."""
    random = np.random.default_rng(seed)
    width, height = size
    coarse = random.integers(0, 256, (height // 64 + 2, width // 64 + 2, 3), dtype=np.uint8)
    smooth = coarse.repeat(64, axis=0).repeat(64, axis=1)[:height, :width]
    return smooth // 2 + random.integers(0, 64, smooth.shape, dtype=np.uint8)


def measured_peak(clock: Clock, dtype: torch.dtype, side: int = 0) -> float | None:
    """Floating-point operations a second, at best, of six products of matrices or those done in 1 s.

    None where the device has no such numbers.
    """
    side = side or (8192 if clock.device.type == "cuda" else 1536)
    times: list[float] = []
    try:
        a, b = (torch.randn(side, side, device=clock.device).to(dtype) for _ in range(2))
        while len(times) < 6 and sum(times[1:]) < 1000:
            start = clock.mark()
            torch.mm(a, b)
            times.append(clock.between(start, clock.mark()))
    except (RuntimeError, TypeError):  # no float64 on some devices
        return None
    return 2000 * side**3 / min(times)


def machine_name(device: torch.device) -> str:
    """What the processor or the accelerator calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def named(size: Size) -> str:
    """A size as people write it."""
    return f"{size[0]}x{size[1]}"
