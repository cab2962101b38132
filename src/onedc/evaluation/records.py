"""What one measurement leaves behind: a record, its line of JSON, and the file of such lines.

Knows neither codecs nor metrics; reading a results file needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from onedc.errors import ConfigError, OutputError, refused_as
from onedc.files import make_folder, write_whole

RESULTS_FILE = "results.jsonl"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One codec on one picture at one point."""

    key: str = ""  # hash of all that the numbers depend on
    image: str  # file name
    image_hash: str  # of the original's pixels
    width_px: int
    height_px: int
    group: str = ""  # rows that are compared with each other share it, for example "0.1 bpp"
    codec: str
    identity: str  # the codec's name, versions and options
    setting: float  # the codec's own quality; of reconstructions from elsewhere which of the folders given
    setting_name: str
    target_bytes: int | None = None  # what the rate was matched to
    rule: str | None = None  # "at-most" or "at-least" of the target
    reached: bool = True  # whether the codec has a file on that side of the target
    bytes: int  # size of the file on disk
    bpp: float  # 8 * bytes / (width * height) of the original
    encode_s: float | None
    decode_s: float | None
    decoded_hash: str  # of the decoded pixels
    features: dict[str, str] = field(default_factory=dict)  # by source: which network and patches made them
    metrics: dict[str, float | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # why a metric is None

    @property
    def place(self) -> tuple[str, str, str]:
        """Picture, group and codec: one record of a run for each."""
        return self.image, self.group, self.codec

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)


@dataclass(frozen=True)
class Failure:
    """A picture, or a codec on a picture, that could not be measured."""

    image: str
    codec: str
    reason: str


def parse_record(line: str, where: str) -> Record | None:
    """A record from its line; None for a line that is torn.

    Raises:
        ConfigError: a whole line of another form; names `where` it is.
    """
    try:
        values = json.loads(line)
    except ValueError:
        return None
    if not isinstance(values, dict) or set(values) != {f.name for f in fields(Record)}:
        raise ConfigError(f"{where}: not of this version of onedc eval; measure into another folder")
    return Record(**values)


def read_results(folder: Path) -> list[Record]:
    """The records of a run's folder; none if it has not begun. Lines torn by a kill are left out.

    Raises:
        ConfigError: a file that cannot be read, or that another version wrote.
    """
    path = folder / RESULTS_FILE
    if not path.exists():
        return []
    with refused_as(ConfigError, f"{path}: cannot be read"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    parsed = (parse_record(line, f"{path}: line {number}") for number, line in enumerate(lines, start=1))
    return [record for record in parsed if record is not None]


class ResultsFile:
    """The growing results file of a run: every record is on disk as soon as it is appended."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.path = folder / RESULTS_FILE
        self.records = {record.key: record for record in read_results(folder)}
        self._rank = {record.place: n for n, record in enumerate(self.records.values())}
        self.rewrite(self.records.values())

    def rewrite(self, records: Iterable[Record]) -> None:
        """Replace the file by these records: this is how a torn line goes."""
        write_whole(self.path, "".join(r.to_json() + "\n" for r in records).encode(), force=True)

    def keep_current(self, current: Iterable[Record]) -> int:
        """Drop records of the same picture, group and codec as a current one but with another key.

        What was measured anew takes the place of what it was measured in, so that tables keep their order.
        """
        keys = {r.place: r.key for r in current}
        dropped = self.drop(r for r in self.records.values() if keys.get(r.place, r.key) != r.key)
        ranked = sorted(self.records.items(), key=lambda item: self._rank.get(item[1].place, len(self._rank)))
        if ranked != list(self.records.items()):
            self.records = dict(ranked)
            self.rewrite(self.records.values())
        return dropped

    def drop(self, unwanted: Iterable[Record]) -> int:
        """Take records out of the file; returns how many there were."""
        keys = {record.key for record in unwanted}
        if keys:
            self.records = {key: record for key, record in self.records.items() if key not in keys}
            self.rewrite(self.records.values())
        return len(keys)

    def append(self, record: Record) -> None:
        """Add one record to the file. Raises OutputError."""
        self.records[record.key] = record
        with (
            refused_as(OutputError, f"{self.path}: cannot be written"),
            open(self.path, "a", encoding="utf-8") as file,
        ):
            file.write(record.to_json() + "\n")
