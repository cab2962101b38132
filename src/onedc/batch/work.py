"""The work of a batch on its items: read, group by padded size, run the networks, say what came of each.

Reading goes on in threads while the networks run. Knows no output and no manifest.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from onedc.batch.items import Item, Wanted
from onedc.codec import Codec
from onedc.container.header import positions_of
from onedc.container.info import info
from onedc.container.packing import DEFAULT_MAX_PIXELS, read_header
from onedc.datasets.entries import named
from onedc.engine.protocol import EngineName, Precision
from onedc.errors import OneDCError, one_line
from onedc.image import READABLE_SUFFIXES, Color, Keepable, Loaded, image_bytes, read_picture
from onedc.image.shrink import Size
from onedc.loading import load
from onedc.options import EncodeOptions
from onedc.target_size import DEFAULT_QUALITY

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What to do with every item; small, so that it can be sent to other machines."""

    decode: bool = False  # .1dc files to PNG instead of pictures to .1dc files
    quality: float = DEFAULT_QUALITY  # 0..100
    target_bytes: int | None = None  # most bytes of a file, in place of a quality
    max_side: int | None = None  # shrink pictures to this longer side, in pixels
    shrink: bool = True  # with target_bytes: to where a picture looks best in so few bytes
    check: bool = True  # files have a checksum
    effort: int = 0  # 0..9
    metric_weights: Path | None = None  # folder of the networks by which an effort above 0 judges
    background: Color | None = None  # under transparent places
    keep: tuple[Keepable, ...] = ()  # beside the picture
    page: int | None = None  # of files that hold several, from 1
    max_pixels: int = DEFAULT_MAX_PIXELS  # of a picture
    strict: bool = False  # warnings of the reader are errors
    weights: Path | None = None
    engine: EngineName = "auto"
    device: str = "cpu"
    precision: Precision = "auto"
    threads: int | None = None  # of the networks
    batch_size: int | None = None  # items for the networks at a time; None: 1 on the CPU, 8 elsewhere
    readers: int = 2  # threads that read

    @property
    def size(self) -> Size:
        """The size that pictures are coded at."""
        return Size(max_side=self.max_side, target_bytes=self.target_bytes if self.shrink else None)

    def wanted(self, column: str | None) -> Wanted:
        """What items such work takes."""
        if self.decode:
            return Wanted(accepted={".1dc"}, suffix=".png", column=column)
        return Wanted(accepted=READABLE_SUFFIXES, suffix=".1dc", column=column)


@dataclass(frozen=True)
class Outcome:
    """What came of an item: the bytes of its result, or None and a record with the error."""

    item: Item
    data: bytes | None
    record: dict[str, Any]  # its line in the manifest


class Encoding:
    """Pictures to .1dc files, in two steps; those of equal positions can be in one batch."""

    def __init__(self, codec: Codec, spec: Spec) -> None:
        self.codec, self.spec = codec, spec

    def prepare(self, data: bytes, name: str) -> tuple[Hashable, Loaded]:
        """In a reading thread: the bytes of an item to its positions and what the networks take."""
        spec = self.spec
        picture = read_picture(
            named(data, name),
            background=spec.background,
            keep=spec.keep,
            max_pixels=spec.max_pixels,
            page=spec.page,
            strict=spec.strict,
            draft=spec.size.longer,
        )
        loaded = spec.size.of(picture)
        return positions_of(loaded.rgb.shape[1], loaded.rgb.shape[0]), loaded

    def run(self, batch: Sequence[Loaded]) -> list[tuple[bytes, bytes]]:
        """The networks: for each item its result and its .1dc file."""
        target = self.spec.target_bytes
        options: EncodeOptions = {"effort": self.spec.effort, "check": self.spec.check}
        if target is None:
            files = self.codec.encode_batch(batch, quality=self.spec.quality, **options)
        else:
            options |= {"max_side": self.spec.max_side}
            files = [self.codec.encode_to_size(p, target, shrink=self.spec.shrink, **options) for p in batch]
        return [(data, data) for data in files]


class Decoding:
    """.1dc files to PNG, in the same two steps."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def prepare(self, data: bytes, name: str) -> tuple[Hashable, bytes]:
        """See `Encoding.prepare`."""
        header = read_header(data)
        return positions_of(header.width, header.height), data

    def run(self, batch: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """See `Encoding.run`."""
        pictures = self.codec.decode_batch(batch)
        return [(image_bytes(picture), data) for picture, data in zip(pictures, batch, strict=True)]


class Worker:
    """A codec, loaded here as `loading.load` does, at work on items."""

    def __init__(self, spec: Spec) -> None:
        codec = load(
            spec.weights,
            engine=spec.engine,
            device=spec.device,
            precision=spec.precision,
            threads=spec.threads,
            metric_weights=spec.metric_weights,
        )
        codec.check_effort(spec.effort)
        self.task: Encoding | Decoding = Decoding(codec) if spec.decode else Encoding(codec, spec)
        self.batch_size = spec.batch_size or (1 if codec.model.engine.on_cpu else 8)
        self.readers = spec.readers

    def outcomes(self, items: Iterable[Item]) -> Iterator[list[Outcome]]:
        """Do the work; outcomes come batch by batch, in the order in which they are done."""
        with ThreadPoolExecutor(self.readers, "onedc-read") as pool:
            ready = ahead(pool, self._prepare, items, self.readers + self.batch_size)
            for group in grouped(ready, self.batch_size):
                yield group if isinstance(group[0], Outcome) else self._run(group)

    def _prepare(self, item: Item) -> tuple[Hashable, Any]:
        """In a reading thread: an item's positions, and it with what was prepared; or None, failure."""
        try:
            positions, prepared = self.task.prepare(item.place.read(), item.name)
        except (OneDCError, OSError, MemoryError) as error:
            return None, failure(item, _line(error))
        return positions, (item, prepared)

    def _run(self, group: Sequence[tuple[Item, Any]]) -> list[Outcome]:
        """One batch through the networks; where that fails, one by one."""
        try:
            results = self.task.run([prepared for _, prepared in group])
        except (OneDCError, RuntimeError, MemoryError) as error:
            if len(group) == 1:
                return [failure(group[0][0], _line(error))]
            return [outcome for single in group for outcome in self._run([single])]
        pairs = zip(group, results, strict=True)
        return [Outcome(item, data, record(item, data, file)) for (item, _), (data, file) in pairs]


def record(item: Item, data: bytes, file: bytes) -> dict[str, Any]:
    """The line of an item that is done: its result `data`, and what its .1dc file says about itself."""
    found = asdict(info(file))
    return {
        "name": item.name,
        "output": f"{item.shard}/{item.output}" if item.shard else item.output,
        "bytes": len(data),
        **{key: found[key] for key in ("width", "height", "bpp", "quality")},
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def failure(item: Item, error: str) -> Outcome:
    """The outcome of an item that could not be done."""
    return Outcome(item, None, {"name": item.name, "error": error})


def grouped(pairs: Iterable[tuple[Hashable, T]], size: int) -> Iterator[list[T]]:
    """Things of equal keys in lists of `size`, shorter ones where more than four times `size` would wait."""
    groups: dict[Hashable, list[T]] = {}
    waiting = 0
    for key, thing in pairs:
        groups.setdefault(key, []).append(thing)
        waiting += 1
        full = len(groups[key]) == size
        if full or waiting > 4 * size:
            group = groups.pop(key if full else max(groups, key=lambda other: len(groups[other])))
            waiting -= len(group)
            yield group
    yield from groups.values()


def ahead(pool: ThreadPoolExecutor, work: Any, things: Iterable[Any], most: int) -> Iterator[Any]:
    """`map` in the threads of a pool, in order, at most so many results ahead of their use."""
    futures: deque[Any] = deque()
    for thing in things:
        futures.append(pool.submit(work, thing))
        if len(futures) > most:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def _line(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and not isinstance(error, OneDCError):
        return f"cannot be read: {error.strerror or error}"
    return one_line(error)
