"""What a run is asked to measure, and the rows that come of it.

Options and rows only: nothing is loaded or measured here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from onedc.engine.protocol import Precision
from onedc.errors import ConfigError
from onedc.evaluation.baselines import codec_names
from onedc.evaluation.codecs import Rule
from onedc.evaluation.frechet import PatchGrid
from onedc.evaluation.metrics import check_names
from onedc.evaluation.recon import folder_labels

OURS = "onedc"


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What a run measures."""

    output: Path  # folder of the results, the coded files and the features
    codecs: tuple[str, ...] = (OURS,)
    name: str = OURS  # what onedc is called in results, so that several models can stand beside each other
    qualities: tuple[float, ...] = ()  # in each codec's own units
    targets_bpp: tuple[float, ...] = ()  # rates that every codec is matched to
    targets_bytes: tuple[int, ...] = ()  # file sizes that every codec is matched to
    against: tuple[str, ...] = ()  # codecs matched to the files that others make at `qualities` or brought
    rule: Rule = Rule.AT_MOST
    metrics: tuple[str, ...] = ("psnr", "ms_ssim")
    metric_weights: Path | None = None
    patches: PatchGrid = field(default_factory=PatchGrid)
    recon: tuple[Path, ...] = ()  # folders of pictures that a codec decoded elsewhere, one for each rate
    sizes: tuple[Path, ...] = ()  # CSV of image,bytes for each of them
    recon_name: str = "recon"
    weights: Path | None = None  # of onedc
    device: str = "cpu"
    precision: Precision = "auto"
    threads: int | None = None  # of the processor; part of the key, since bytes may depend on it
    keep_decoded: bool = False
    cache: Path | None = None  # folder of file sizes for rate matching
    plugins: tuple[Path, ...] = ()  # Python files that worker processes run first

    def __post_init__(self) -> None:
        check_names(self.metrics)
        for name in (*self.codecs, *self.against):
            if name not in codec_names():
                raise ConfigError(f"codec {name!r}: not one of {', '.join(codec_names())}")
        for name in (self.name, self.recon_name):
            _check_shown(name)
        self._check_points()
        self._check_numbers()

    def _check_points(self) -> None:
        if len(self.recon) != len(self.sizes):
            raise ConfigError("--recon and --sizes need each other: one CSV for each folder")
        if len(set(folder_labels(self.recon))) != len(self.recon):
            raise ConfigError("--recon: a folder is given twice")
        if self.codecs and not (self.qualities or self.targets_bpp or self.targets_bytes):
            raise ConfigError("nothing to measure: give --quality, --bpp or --bytes")
        if not (self.codecs or self.recon):
            raise ConfigError("nothing to measure: name a codec")
        if self.against and not (self.qualities or self.recon):
            raise ConfigError("--against needs --quality or --recon: the files to match")
        if self.recon and OURS in self.codecs and self.name == self.recon_name:
            raise ConfigError(f"name {self.name!r}: of onedc and of the reconstructions")

    def _check_numbers(self) -> None:
        for target in self.targets_bpp:
            if not 0 < target < math.inf:
                raise ConfigError(f"targets_bpp: {target} is not a rate above 0")
        if min(self.targets_bytes, default=1) < 1:
            raise ConfigError(f"targets_bytes: {min(self.targets_bytes)} is not above 0")
        for quality in self.qualities:
            if not math.isfinite(quality):
                raise ConfigError(f"qualities: {quality} is not a number")

    def shown_as(self, codec: str) -> str:
        """What the results call a codec."""
        return self.name if codec == OURS else codec


def _check_shown(name: str) -> None:
    if not re.fullmatch(r"[\w.+-]+( [\w.+-]+)*", name):
        raise ConfigError(f"name {name!r}: letters, digits, spaces and . _ + - only")
    if name in codec_names() and name != OURS:
        raise ConfigError(f"name {name!r}: is that of another codec")


@dataclass(frozen=True)
class Entry:
    """One row of the results: a codec at its own quality, at a rate, at a size, or at another's file."""

    group: str
    codec: str
    quality: float | None = None
    bpp: float | None = None
    bytes: int | None = None
    reference: Entry | None = None


def entries(options: EvaluationOptions) -> list[Entry]:
    """The rows of a run in the order of its tables, each once; a reference stands before its followers."""
    rows = []
    for quality in options.qualities:
        for name in map(options.shown_as, options.codecs):
            group = f"{name} q={quality:g}" if options.against else f"q={quality:g}"
            rows += _with_others(options, Entry(group, name, quality=quality))
    for index, label in enumerate(folder_labels(options.recon)):
        first = Entry(f"{options.recon_name} {label}", options.recon_name, quality=float(index))
        rows += _with_others(options, first)
    codecs = [options.shown_as(codec) for codec in dict.fromkeys((*options.codecs, *options.against))]
    for bpp in options.targets_bpp:
        rows += [Entry(f"{bpp:g} bpp", codec, bpp=bpp) for codec in codecs]
    for size in options.targets_bytes:
        rows += [Entry(f"{size} bytes", codec, bytes=size) for codec in codecs]
    return list(dict.fromkeys(rows))


def _with_others(options: EvaluationOptions, first: Entry) -> list[Entry]:
    """A row and those of the codecs that are brought to its files."""
    others = [name for name in map(options.shown_as, options.against) if name != first.codec]
    return [first, *(Entry(first.group, name, reference=first) for name in others)]
