"""What a run is asked to measure, and the rows that come of it.

Options and rows only: nothing is loaded or measured here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from onedc.errors import ConfigError
from onedc.evaluation.baselines import CODEC_NAMES
from onedc.evaluation.frechet import PatchGrid
from onedc.evaluation.matching import Rule
from onedc.evaluation.metrics import check_names


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run measures."""

    output: Path  # folder of the results, the coded files and the features
    codecs: tuple[str, ...] = ("onedc",)
    qualities: tuple[float, ...] = ()  # in each codec's own units
    targets_bpp: tuple[float, ...] = ()  # rates that every codec is matched to
    against: tuple[str, ...] = ()  # codecs matched to the files that `codecs` make at `qualities`
    rule: Rule = Rule.AT_MOST
    metrics: tuple[str, ...] = ("psnr", "ms_ssim")
    metric_weights: Path | None = None
    patches: PatchGrid = field(default_factory=PatchGrid)
    recon: Path | None = None  # folder of decoded pictures from elsewhere, measured instead of `codecs`
    sizes: Path | None = None  # CSV of image,bytes for them
    recon_name: str = "recon"
    weights: Path | None = None  # of onedc
    device: str = "cpu"
    precision: str = "auto"
    threads: int | None = None  # of the processor; part of the key, since bytes may depend on it
    keep_decoded: bool = False
    cache: Path | None = None  # folder of file sizes for rate matching

    def __post_init__(self) -> None:
        check_names(self.metrics)
        for name in (*self.codecs, *self.against):
            if name not in CODEC_NAMES:
                raise ConfigError(f"codec {name!r}: not one of {', '.join(CODEC_NAMES)}")
        if (self.recon is None) != (self.sizes is None):
            raise ConfigError("--recon and --sizes need each other")
        if self.recon is None and not (self.qualities or self.targets_bpp):
            raise ConfigError("nothing to measure: give --quality or --bpp")
        if self.against and not self.qualities:
            raise ConfigError("--against needs --quality: the files to match")
        for target in self.targets_bpp:
            if not 0 < target < math.inf:
                raise ConfigError(f"targets_bpp: {target} is not a rate above 0")
        for quality in self.qualities:
            if not math.isfinite(quality):
                raise ConfigError(f"qualities: {quality} is not a number")


@dataclass(frozen=True)
class Entry:
    """One row of the results: a codec at its own quality, at a rate, or at the rate of another's file."""

    group: str
    codec: str
    quality: float | None = None
    bpp: float | None = None
    reference: str | None = None


def entries(options: Options) -> list[Entry]:
    """The rows of a run in the order of its tables; a reference stands before those that refer to it."""
    if options.recon is not None:
        return [Entry(options.recon_name, options.recon_name)]
    rows = []
    for quality in options.qualities:
        for codec in options.codecs:
            group = f"{codec} q={quality:g}" if options.against else f"q={quality:g}"
            rows.append(Entry(group, codec, quality=quality))
            rows += [Entry(group, other, reference=codec) for other in options.against if other != codec]
    for bpp in options.targets_bpp:
        rows += [Entry(f"{bpp:g} bpp", codec, bpp=bpp) for codec in (*options.codecs, *options.against)]
    return rows
