"""One picture through every codec and metric of a run, by way of real files.

A workbench lives in one process; `run` decides which pictures it gets and keeps what it yields.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from onedc.errors import MissingExtraError, OneDCError
from onedc.evaluation.baselines import BaselineError, EvaluatedCodec, load_codec
from onedc.evaluation.frechet import Features, FeatureSource, load_sources
from onedc.evaluation.matching import Match, Rule, SizeCache, match_rate
from onedc.evaluation.metrics import ImageMetric, load_image_metrics, number_or_reason
from onedc.evaluation.plan import Entry, Options, entries
from onedc.evaluation.recon import Reconstructions
from onedc.evaluation.records import Failure, Record
from onedc.files import write_whole
from onedc.image import RGBArray, read_image, write_image
from onedc.rate import bytes_at

ORIGINAL = "original"
"""Stands for a codec's identity where the features of an original are kept."""


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
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes())
        return cls(path.name, pixels, digest.hexdigest())

    @property
    def pixel_count(self) -> int:
        """Width times height."""
        return self.pixels.shape[0] * self.pixels.shape[1]


@dataclass(frozen=True)
class Coded:
    """A coded and decoded picture."""

    size_bytes: int
    decoded: RGBArray
    encode_s: float | None = None
    decode_s: float | None = None


class Workbench:
    """Loaded codecs, metrics and feature networks of a run.

    `unavailable` says why codecs were left out; `missing_sources` why features are.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self.entries = entries(options)
        self.recon: Reconstructions | None = None
        if options.recon is not None and options.sizes is not None:
            self.recon = Reconstructions(options.recon_name, options.recon, options.sizes)
        self.codecs, self.unavailable = self._load_codecs()
        self.metrics: list[ImageMetric] = load_image_metrics(options.metrics, options.metric_weights)
        self.sources: list[FeatureSource]
        self.sources, self.missing_sources = load_sources(options.metrics, options.metric_weights)

    def _load_codecs(self) -> tuple[dict[str, EvaluatedCodec], dict[str, str]]:
        options, codecs, unavailable = self.options, {}, {}
        for name in dict.fromkeys(entry.codec for entry in self.entries if self.recon is None):
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
            walk = _Walk(self, Picture.read(path))
        except OneDCError as error:
            yield Failure(path.name, "", str(error))
            return
        for entry in self.entries:
            if entry.codec in self.unavailable:
                continue
            try:
                yield walk.row(entry, done)
            except OneDCError as error:
                yield Failure(path.name, entry.codec, str(error))

    def key(self, entry: Entry, picture: Picture) -> str:
        """Hash of all that a row's numbers on a picture depend on."""
        reference = self.codecs[entry.reference].identity if entry.reference in self.codecs else ""
        grid = self.options.patches
        facts = [
            [picture.hash, picture.name, entry.group, entry.codec, self.identity(entry.codec)],
            [entry.quality, entry.bpp, reference, str(self.rule(entry))],
            sorted(metric.identity for metric in self.metrics),
            [[source.identity, grid.size, grid.count] for source in self.sources],
        ]
        return _short_hash(facts)

    def identity(self, codec: str) -> str:
        """Name, version and options of a codec of this run."""
        return self.recon.identity if self.recon is not None else self.codecs[codec].identity

    def rule(self, entry: Entry) -> Rule:
        """From which side a row comes near its target."""
        return Rule.AT_MOST if entry.reference is None else self.options.rule

    def features_path(
        self, image_hash: str, identity: str, setting: float | None, source: FeatureSource
    ) -> Path:
        """Where the features of a decoded picture, or with the identity ORIGINAL of an original, are kept."""
        grid = self.options.patches
        name = _short_hash([image_hash, identity, setting, source.identity, grid.size, grid.count])
        return self.options.output / "features" / f"{identity.split()[0]}-{name}-{source.name}.npy"


class _Walk:
    """One picture on its way through the rows of a run: what was made on the way is not made again."""

    def __init__(self, bench: Workbench, picture: Picture) -> None:
        self.bench, self.options, self.picture = bench, bench.options, picture
        self.sizes: dict[tuple[str, str], int] = {}  # bytes by group and codec
        self.made: dict[tuple[str, float | None], Record] = {}  # by codec and setting

    def row(self, entry: Entry, done: Mapping[str, Record]) -> Record:
        """The record of one row. Raises OneDCError."""
        key = self.bench.key(entry, self.picture)
        record = done.get(key)
        if record is None or not self._has_features(record):
            record = self._measure(entry, key)
        self.sizes[entry.group, entry.codec] = record.bytes
        self.made[entry.codec, record.setting] = record
        return record

    def _has_features(self, record: Record) -> bool:
        of = record.image_hash, record.identity, record.setting
        return all(self.bench.features_path(*of, source).exists() for source in self.bench.sources)

    def _measure(self, entry: Entry, key: str) -> Record:
        target = self._target_bytes(entry)
        match = self._match(entry, target) if self.bench.recon is None else Match(None, True)
        made = self.made.get((entry.codec, match.setting)) or self._judge(entry.codec, match.setting)
        return replace(
            made,
            key=key,
            group=entry.group,
            target_bytes=target,
            rule=None if target is None else str(self.bench.rule(entry)),
            reached=match.reached,
        )

    def _target_bytes(self, entry: Entry) -> int | None:
        """Bytes to match, None for a row at the codec's own quality."""
        if entry.bpp is not None:
            return bytes_at(entry.bpp, self.picture.pixels.shape[1], self.picture.pixels.shape[0])
        if entry.reference is None:
            return None
        if (entry.group, entry.reference) not in self.sizes:
            raise BaselineError(f"{entry.codec}: no file of {entry.reference} to match")
        return self.sizes[entry.group, entry.reference]

    def _match(self, entry: Entry, target_bytes: int | None) -> Match:
        codec = self.bench.codecs[entry.codec]
        if target_bytes is None:
            return Match(codec.nearest_setting(entry.quality or 0.0), True)
        cache = SizeCache(self.options.cache, codec, self.picture.pixels, self.picture.hash)
        rule = self.bench.rule(entry)
        with _naming(codec):
            if rule is Rule.AT_MOST:
                setting = codec.setting_within(self.picture.pixels, target_bytes)
                if setting is not None:
                    return Match(setting, cache.size_of(setting) <= target_bytes)
            return match_rate(codec, target_bytes, rule, cache.size_of)

    def _judge(self, codec_name: str, setting: float | None) -> Record:
        """Code, decode and measure at a setting; what depends on the row is left open."""
        coded = self._coded(codec_name, setting)
        if coded.decoded.shape != self.picture.pixels.shape:
            sizes_px = ["x".join(map(str, p.shape[1::-1])) for p in (coded.decoded, self.picture.pixels)]
            raise BaselineError(f"{codec_name}: decoded to {sizes_px[0]}, the original has {sizes_px[1]}")
        if self.options.keep_decoded:
            write_image(self._file("decoded", codec_name, setting, ".png"), coded.decoded, force=True)
        self._store_features(self.bench.identity(codec_name), setting, coded.decoded)
        values = {
            m.name: number_or_reason(m.measure, self.picture.pixels, coded.decoded)
            for m in self.bench.metrics
        }
        codec = self.bench.codecs.get(codec_name)
        return Record(
            key="",
            image=self.picture.name,
            image_hash=self.picture.hash,
            width_px=self.picture.pixels.shape[1],
            height_px=self.picture.pixels.shape[0],
            group="",
            codec=codec_name,
            identity=self.bench.identity(codec_name),
            setting=setting,
            setting_name=codec.setting_name if codec is not None else "",
            target_bytes=None,
            rule=None,
            reached=True,
            bytes=coded.size_bytes,
            bpp=8 * coded.size_bytes / self.picture.pixel_count,
            encode_s=coded.encode_s,
            decode_s=coded.decode_s,
            metrics={name: value.number for name, value in values.items()},
            missing={name: value.reason for name, value in values.items() if value.number is None},
        )

    def _coded(self, codec_name: str, setting: float | None) -> Coded:
        """Encode to a file, read it back, decode. The file stays in the output folder."""
        if self.bench.recon is not None or setting is None:
            assert self.bench.recon is not None
            return Coded(*self.bench.recon.find(self.picture.name))
        codec = self.bench.codecs[codec_name]
        path = self._file("files", codec_name, setting, codec.suffix)
        with _naming(codec):
            start_s = time.perf_counter()
            data = codec.encode(self.picture.pixels, setting)
            encode_s = time.perf_counter() - start_s
            write_whole(path, data, force=True)
            stored = path.read_bytes()
            start_s = time.perf_counter()
            decoded = codec.decode(stored, *self.picture.pixels.shape[:2])
            decode_s = time.perf_counter() - start_s
        return Coded(path.stat().st_size, decoded, encode_s, decode_s)

    def _file(self, folder: str, codec_name: str, setting: float | None, suffix: str) -> Path:
        path = kept_file(self.options.output / folder, codec_name, setting, self.picture.name, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _store_features(self, identity: str, setting: float | None, decoded: RGBArray) -> None:
        both = ((ORIGINAL, None, self.picture.pixels), (identity, setting, decoded))
        for source in self.bench.sources:
            for of, at, pixels in both:
                path = self.bench.features_path(self.picture.hash, of, at, source)
                if not path.exists():
                    save_features(path, source.extract(self.options.patches.cut(pixels)))


@contextmanager
def _naming(codec: EvaluatedCodec) -> Iterator[None]:
    """Turn whatever an encoder or decoder raises into an error that names it."""
    try:
        yield
    except OneDCError:
        raise
    except Exception as error:  # encoders of others raise nearly anything
        raise BaselineError(f"{codec.name}: {type(error).__name__}: {error}") from error


def _short_hash(facts: list[object]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def kept_file(folder: Path, codec: str, setting: float | None, image: str, suffix: str) -> Path:
    """Where a run keeps a coded (folder "files") or decoded (folder "decoded", .png) picture."""
    at = "given" if setting is None else f"{setting:g}"
    return folder / codec / at / (Path(image).stem + suffix)


def save_features(path: Path, features: Features) -> None:
    """Write features [patches,width] as .npy, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, features)
    part.replace(path)
