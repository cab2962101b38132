"""One picture through every codec and metric of a run, by way of real files.

A bench lives in one process; `run` decides which pictures it gets and keeps what it yields.
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from onedc.errors import ConfigError, MissingExtraError, OneDCError
from onedc.evaluation.baselines import CODEC_NAMES, BaselineError, EvaluatedCodec, load_codec
from onedc.evaluation.frechet import Features, FeatureSource, PatchGrid, load_sources
from onedc.evaluation.matching import Rule, SizeCache, match_rate
from onedc.evaluation.metrics import ImageMetric, check_names, load_image_metrics
from onedc.evaluation.records import Failure, Record
from onedc.files import write_whole
from onedc.image import READABLE_SUFFIXES, RGBArray, read_image, write_image


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
    threads: int | None = None
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
        if any(target <= 0 for target in self.targets_bpp):
            raise ConfigError(f"targets_bpp: {min(self.targets_bpp)} is not above 0")


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


@dataclass(frozen=True)
class Picture:
    """An original with its name and the hash of its pixels."""

    name: str
    pixels: RGBArray
    hash: str

    @classmethod
    def read(cls, path: Path) -> Picture:
        """Read a picture file. Raises ImageError."""
        pixels = read_image(path)
        return cls(
            path.name, pixels, hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        )

    @property
    def pixel_count(self) -> int:
        return self.pixels.shape[0] * self.pixels.shape[1]


@dataclass(frozen=True)
class Coded:
    """A coded and decoded picture."""

    size_bytes: int
    decoded: RGBArray
    setting: float | None = None
    target_bytes: int | None = None
    reached: bool = True
    encode_s: float | None = None
    decode_s: float | None = None


class Bench:
    """Loaded codecs, metrics and feature networks of a run.

    `unavailable` says why codecs were left out; `missing_sources` why features are.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self.entries = entries(options)
        self.codecs, self.unavailable = self._load_codecs()
        self.metrics: list[ImageMetric] = load_image_metrics(options.metrics, options.metric_weights)
        self.sources: list[FeatureSource]
        self.sources, self.missing_sources = load_sources(options.metrics, options.metric_weights)
        self.recon = _Reconstructions(options) if options.recon is not None else None

    def _load_codecs(self) -> tuple[dict[str, EvaluatedCodec], dict[str, str]]:
        options, codecs, unavailable = self.options, {}, {}
        for name in dict.fromkeys(entry.codec for entry in self.entries if options.recon is None):
            try:
                codecs[name] = load_codec(
                    name, weights=options.weights, device=options.device, precision=options.precision
                )
            except MissingExtraError as error:
                unavailable[name] = str(error)
        return codecs, unavailable

    def measure(self, path: Path, done: Mapping[str, Record]) -> Iterator[Record | Failure]:
        """All rows of one picture; those whose key is in `done` (with their features) are not made again."""
        try:
            picture = Picture.read(path)
        except OneDCError as error:
            yield Failure(path.name, "", str(error))
            return
        sizes: dict[tuple[str, str], int] = {}
        for entry in self.entries:
            if entry.codec in self.unavailable:
                continue
            key = self.key(entry, picture)
            record = done.get(key)
            if record is None or not all(self.features_path(key, s).exists() for s in self.sources):
                try:
                    record = self._measure(entry, key, picture, sizes)
                except OneDCError as error:
                    yield Failure(path.name, entry.codec, str(error))
                    continue
            sizes[entry.group, entry.codec] = record.bytes
            yield record

    def key(self, entry: Entry, picture: Picture) -> str:
        """Hash of all that an entry's numbers on a picture depend on."""
        reference = self.codecs[entry.reference].identity if entry.reference in self.codecs else ""
        grid = self.options.patches
        facts = [
            [picture.hash, picture.name, entry.group, entry.codec, self._identity(entry.codec)],
            [entry.quality, entry.bpp, reference, str(self._rule(entry))],
            sorted(metric.identity for metric in self.metrics),
            [[source.identity, grid.size, grid.count] for source in self.sources],
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]

    def _identity(self, codec: str) -> str:
        return self.recon.identity if self.recon is not None else self.codecs[codec].identity

    def features_path(self, key: str, source: FeatureSource) -> Path:
        """Where the features of a row's decoded picture are kept."""
        return self.options.output / "features" / f"{key}-{source.name}.npy"

    def original_features_path(self, image_hash: str, source: FeatureSource) -> Path:
        """Where the features of an original are kept."""
        grid = self.options.patches
        digest = hashlib.sha256(f"{image_hash} {source.identity} {grid.size} {grid.count}".encode())
        return self.options.output / "features" / f"original-{digest.hexdigest()[:24]}-{source.name}.npy"

    def _measure(
        self, entry: Entry, key: str, picture: Picture, sizes: Mapping[tuple[str, str], int]
    ) -> Record:
        """Code, decode and judge one row. Raises OneDCError."""
        coded = self.recon.find(picture) if self.recon else self._code(entry, picture, sizes)
        if coded.decoded.shape != picture.pixels.shape:
            sizes_px = ["x".join(map(str, p.shape[1::-1])) for p in (coded.decoded, picture.pixels)]
            raise BaselineError(f"{entry.codec}: decoded to {sizes_px[0]}, the original has {sizes_px[1]}")
        if self.options.keep_decoded:
            write_image(self._file(entry, picture, ".png", "decoded"), coded.decoded, force=True)
        self._store_features(key, picture, coded.decoded)
        return self._record(entry, key, picture, coded)

    def _record(self, entry: Entry, key: str, picture: Picture, coded: Coded) -> Record:
        values = {metric.name: metric.measure(picture.pixels, coded.decoded) for metric in self.metrics}
        codec = self.codecs.get(entry.codec)
        return Record(
            key=key,
            image=picture.name,
            image_hash=picture.hash,
            width_px=picture.pixels.shape[1],
            height_px=picture.pixels.shape[0],
            group=entry.group,
            codec=entry.codec,
            identity=self._identity(entry.codec),
            setting=coded.setting,
            setting_name=codec.setting_name if codec is not None else "",
            target_bytes=coded.target_bytes,
            rule=None if coded.target_bytes is None else str(self._rule(entry)),
            reached=coded.reached,
            bytes=coded.size_bytes,
            bpp=8 * coded.size_bytes / picture.pixel_count,
            encode_s=coded.encode_s,
            decode_s=coded.decode_s,
            metrics={name: value.number for name, value in values.items()},
            missing={name: value.reason for name, value in values.items() if value.number is None},
        )

    def _rule(self, entry: Entry) -> Rule:
        return Rule.AT_MOST if entry.reference is None else self.options.rule

    def _code(self, entry: Entry, picture: Picture, sizes: Mapping[tuple[str, str], int]) -> Coded:
        """Encode to a file, read it back, decode. The file stays in the output folder."""
        codec = self.codecs[entry.codec]
        target = self._target_bytes(entry, picture, sizes)
        try:
            if target is None:
                setting, reached = codec.nearest_setting(entry.quality or 0.0), True
            else:
                cache = SizeCache(self.options.cache, codec, picture.pixels, picture.hash)
                match = match_rate(codec, target, self._rule(entry), cache.size_of)
                setting, reached = match.setting, match.reached
            start_s = time.perf_counter()
            data = codec.encode(picture.pixels, setting)
            encode_s = time.perf_counter() - start_s
            path = self._file(entry, picture, codec.suffix, "files")
            write_whole(path, data, force=True)
            stored = path.read_bytes()
            start_s = time.perf_counter()
            decoded = codec.decode(stored, *picture.pixels.shape[:2])
            decode_s = time.perf_counter() - start_s
        except OneDCError:
            raise
        except Exception as error:  # encoders of others raise nearly anything
            raise BaselineError(f"{codec.name}: {type(error).__name__}: {error}") from error
        size = path.stat().st_size
        return Coded(size, decoded, setting, target, reached, encode_s, decode_s)

    def _target_bytes(
        self, entry: Entry, picture: Picture, sizes: Mapping[tuple[str, str], int]
    ) -> int | None:
        if entry.bpp is not None:
            return int(entry.bpp * picture.pixel_count / 8)
        if entry.reference is None:
            return None
        if (entry.group, entry.reference) not in sizes:
            raise BaselineError(f"{entry.codec}: no file of {entry.reference} to match")
        return sizes[entry.group, entry.reference]

    def _file(self, entry: Entry, picture: Picture, suffix: str, folder: str) -> Path:
        path = kept_file(self.options.output / folder, entry.group, entry.codec, picture.name, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _store_features(self, key: str, picture: Picture, decoded: RGBArray) -> None:
        for source in self.sources:
            original = self.original_features_path(picture.hash, source)
            for path, pixels in ((original, picture.pixels), (self.features_path(key, source), decoded)):
                if path is not original or not path.exists():
                    save_features(path, source.extract(self.options.patches.cut(pixels)))


def kept_file(folder: Path, group: str, codec: str, image: str, suffix: str) -> Path:
    """Where a run keeps a coded (folder "files") or decoded (folder "decoded", .png) picture."""
    return folder / codec / group.replace(" ", "_").replace("=", "") / (Path(image).stem + suffix)


def save_features(path: Path, features: Features) -> None:
    """Write features [patches,width] as .npy, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, features)
    part.replace(path)


class _Reconstructions:
    """Decoded pictures and file sizes of a codec that runs elsewhere."""

    def __init__(self, options: Options) -> None:
        assert options.recon is not None and options.sizes is not None
        self.name = options.recon_name
        if not options.recon.is_dir():
            raise ConfigError(f"{options.recon}: no such folder")
        files = [p for p in sorted(options.recon.iterdir()) if p.suffix.lower() in READABLE_SUFFIXES]
        self.files = {path.stem: path for path in files}
        self.bytes = _read_sizes(options.sizes)
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.read_bytes())
        digest.update(json.dumps(self.bytes, sort_keys=True).encode())
        self.identity = f"{self.name} {digest.hexdigest()[:16]}"

    def find(self, picture: Picture) -> Coded:
        """The reconstruction of a picture by its stem. Raises OneDCError."""
        stem = Path(picture.name).stem
        if stem not in self.files:
            raise BaselineError(f"{self.name}: no reconstruction named {stem}")
        if stem not in self.bytes:
            raise BaselineError(f"{self.name}: no size for {stem}")
        return Coded(self.bytes[stem], read_image(self.files[stem]))


def _read_sizes(path: Path) -> dict[str, int]:
    """Bytes by stem from a CSV with the columns image and bytes. Raises ConfigError."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {Path(row["image"]).stem: int(row["bytes"]) for row in csv.DictReader(file)}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a CSV with the columns image and bytes ({error})") from error
