"""Datasets of a hub: fetching with an estimate and with resume, and streaming without fetching all."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.datasets.hub_server import Hub, serving
from tests.unit.train.conftest import picture

from onedc.datasets.hub import DataFile, Estimate, HubFiles, estimate, fetch_all
from onedc.datasets.photos import Photos, open_source, split
from onedc.datasets.rows import TableSource
from onedc.errors import ConfigError, OneDCError, OutputError
from onedc.train.config import DataConfig
from onedc.train.data.batches import Positions, loader
from onedc.train.data.crops import Crops

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("huggingface_hub")
NAME = "someone/catalog"


def parquet(first: int, count: int) -> bytes:
    """A file of CommonCatalog's schema."""
    from pyarrow import parquet as pq

    rows = {
        "jpg": [{"bytes": picture(n), "path": f"{n}.jpg"} for n in range(first, first + count)],
        "blip2_caption": [f"caption {n}" if n % 2 else None for n in range(first, first + count)],
        "unickname": [f"u{n}" for n in range(first, first + count)],
        "height": [80] * count,
    }
    stream = io.BytesIO()
    pq.write_table(pyarrow.table(rows), stream, row_group_size=2)
    return stream.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    counts = (3, 4, 5)
    data = {f"{n}/part-{n}.parquet": parquet(10 * n, count) for n, count in enumerate(counts)}
    return {**data, "README.md": b"hello"}


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[Hub]:
    with serving(NAME, files) as hub:
        yield hub


def test_the_files_of_a_dataset_and_their_lengths(server: Hub) -> None:
    dataset = HubFiles(NAME, server.url)
    found = dataset.files()
    assert [f.name for f in found] == ["0/part-0.parquet", "1/part-1.parquet", "2/part-2.parquet"]
    assert [f.size for f in found] == [len(server.files[f.name]) for f in found]
    assert [dataset.rows(f) for f in found] == [3, 4, 5]


def test_a_broken_transfer_goes_on_where_it_was(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    dataset, said = HubFiles(NAME, server.url), list[str]()
    server.break_after, server.breaks = 1000, 1
    plan = estimate(dataset.files()[:2], tmp_path)
    assert (len(plan.missing), plan.there) == (2, 0)
    fetch_all(dataset, plan, tmp_path, said.append)
    assert "bytes=1000-" in server.fetched()
    assert len(said) == 2
    for file in plan.missing:
        assert (tmp_path / file.name).read_bytes() == server.files[file.name]
    again = estimate(dataset.files(), tmp_path)
    assert ([f.name for f in again.missing], again.there) == (["2/part-2.parquet"], 2)


def test_what_does_not_fit_is_not_begun(server: Hub, tmp_path: Path) -> None:
    dataset = HubFiles(NAME, server.url)
    with pytest.raises(OutputError, match=r"3\.0 GiB to fetch, but 2\.0 GiB free; .*--files"):
        fetch_all(dataset, Estimate([DataFile("a", 3 << 30)], 0, 2 << 30), tmp_path, print)
    assert server.fetched() == []


def test_a_full_disk_is_one_line(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = HubFiles(NAME, server.url)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset._hub, "hf_hub_download", full)
    with pytest.raises(OutputError, match="the disk is full"):
        dataset.fetch(dataset.files()[0], tmp_path)


def test_no_such_dataset_is_one_line(server: Hub) -> None:
    with pytest.raises(ConfigError, match="no such dataset") as caught:
        HubFiles("someone/else", server.url).files()
    assert "\n" not in str(caught.value)


def test_the_command_estimates_then_fetches(server: Hub, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def onedc(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "onedc", "data", "fetch", *arguments, "--to", str(tmp_path / "to")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    told = onedc(NAME, "--estimate")
    assert (told.returncode, told.stdout.count("\n")) == (0, 1), told.stderr
    assert "3 files" in told.stdout and "GiB free" in told.stdout
    assert not (tmp_path / "to").exists()
    assert onedc(NAME, "--files", "1").returncode == 0
    assert [p.name for p in (tmp_path / "to").rglob("*.parquet")] == ["part-0.parquet"]
    wrong = onedc("someone/else")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1), wrong.stderr
    assert onedc(NAME, "--files", "0").returncode == 2


def test_streaming_brings_a_file_when_an_image_of_it_is_due(server: Hub, tmp_path: Path) -> None:
    source = TableSource(HubFiles(NAME, server.url), tmp_path, keep_gib=1)
    assert (len(source.names), list(source.parts)) == (12, [3, 4, 5])
    assert source.names[4] == "1/part-1.parquet:1"
    assert list(source.names) == [source.names[n] for n in range(12)]
    assert not (tmp_path / "tables").exists()
    assert (source.read(4), source.caption(4)) == (picture(11), "caption 11")
    assert [p.name[:17] for p in tmp_path.rglob("*.arrow")] == ["1--part-1.parquet"]
    assert list(tmp_path.rglob("*.parquet")) == []  # the copy is gone once it is unpacked
    assert source.caption(3) == ""
    asked = len(server.requests)
    other = TableSource(HubFiles(NAME, server.url), tmp_path, keep_gib=1)  # another process, or a later run
    assert other.read(4) == picture(11)
    assert [path for _, path, _ in server.requests[asked:]] == [f"/api/datasets/{NAME}/tree/main"]


def test_a_dataset_of_the_hub_is_opened_whole(server: Hub, tmp_path: Path) -> None:
    source = TableSource(HubFiles(NAME, server.url), tmp_path, None)
    assert len(list(tmp_path.rglob("*.arrow"))) == 3 and list(tmp_path.rglob("*.parquet")) == []
    server.files = {}
    assert (list(source.names)[2:5], source.parts) == (["u2", "u10", "u11"], ())
    assert (source.read(4), source.caption(4)) == (picture(11), "caption 11")


def test_streamed_tables_keep_to_their_room(server: Hub, tmp_path: Path) -> None:
    source = TableSource(HubFiles(NAME, server.url), tmp_path, keep_gib=1e-9)
    for index, seed in ((0, 0), (4, 11), (11, 24), (0, 0)):
        assert source.read(index) == picture(seed)
        assert len(list(tmp_path.rglob("*.arrow"))) == 1


def test_streams_are_shuffled_part_by_part(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onedc.train.data.crops.MIXED", 1)
    source = TableSource(HubFiles(NAME, server.url), tmp_path, keep_gib=1)
    training, held = split(source, ("part-1",))
    assert [source.names[n] for n in held] == [f"1/part-1.parquet:{n}" for n in range(4)]
    config = DataConfig(source="x", batch=4, crop_px=64)
    crops = Crops(Photos(source, 0), training, config, 7, None)
    assert crops.parts == (3, 5)
    seen = [
        name
        for batch in loader(crops, Positions(config, 7, start=0, steps=4, rank=0, world=1, parts=1))
        for name in batch.names
    ]
    for epoch in (seen[:8], seen[8:]):
        assert len(set(epoch)) == 8
        files = [name.partition(":")[0] for name in epoch]
        assert sum(a != b for a, b in itertools.pairwise(files)) == 1
    assert seen[:8] != seen[8:]


def test_a_folder_streams_without_copies_of_its_files(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0/part-0.parquet", "1/part-1.parquet"):
        (tmp_path / "catalog" / name).parent.mkdir(parents=True)
        (tmp_path / "catalog" / name).write_bytes(files[name])
    monkeypatch.setattr("onedc.datasets.rows.tables_folder", lambda _: tmp_path / "tables")
    source = open_source(f"stream:{tmp_path / 'catalog'}", 1.0)
    assert (len(source.names), source.read(6)) == (7, picture(13))
    assert len(list((tmp_path / "catalog").rglob("*.parquet"))) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no Parquet or Arrow files"):
        open_source(f"stream:{tmp_path / 'empty'}", 1.0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_network_that_fails_in_a_loader_is_one_line(server: Hub, tmp_path: Path, workers: int) -> None:
    source = TableSource(HubFiles(NAME, server.url), tmp_path, keep_gib=1)
    server.files = dict.fromkeys(server.files, b"")  # the hub has lost its files
    config = DataConfig(source="x", batch=1, crop_px=64, workers=workers)
    crops = Crops(Photos(source, 0), list(range(12)), config, 7, None)
    with pytest.raises(OneDCError, match=r"part-\d\.parquet") as caught:
        next(loader(crops, Positions(config, 7, start=0, steps=1, rank=0, world=1, parts=1)))
    assert "\n" not in str(caught.value)
