"""Sources of training data: each form gives the same names, bytes and captions, and damage is one line."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.unit.train.conftest import picture, write_tar

from onedc.datasets.entries import folder_entries, shard_entries
from onedc.datasets.photos import Photos, Source, folder_source, open_source, tar_source
from onedc.errors import ConfigError, ImageError, OneDCError
from onedc.image import READABLE_SUFFIXES, read_image


def held(source: Source) -> dict[str, tuple[bytes, str]]:
    return {name: (source.read(n), source.caption(n)) for n, name in enumerate(source.names)}


def test_every_suffix_that_the_encoder_reads_is_trained_on(tmp_path: Path) -> None:
    for suffix in READABLE_SUFFIXES:
        (tmp_path / f"x{suffix.upper()}").write_bytes(b"data")
    write_tar(tmp_path / "all.tar", {f"x{suffix}": b"data" for suffix in READABLE_SUFFIXES})
    assert len(folder_source(tmp_path).names) == len(READABLE_SUFFIXES)
    assert len(tar_source([tmp_path / "all.tar"]).names) == len(READABLE_SUFFIXES)


def test_pictures_are_read_as_the_encoder_reads_them(tmp_path: Path) -> None:
    deep = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    photos = Photos(folder_source(tmp_path), 0)
    assert list(photos.source.names) == ["clear.png", "deep.png"]
    assert (photos[0] == 255).all()
    assert np.array_equal(photos[1], read_image(tmp_path / "deep.png"))
    assert photos[1].min() == 0 and photos[1].max() > 250 and 120 < photos[1].mean() < 135


def test_captions_belong_to_the_sample_of_their_own_shard(tmp_path: Path) -> None:
    for shard in ("a", "b"):
        write_tar(tmp_path / f"{shard}.tar", {"0.jpg": shard.encode(), "0.txt": f"of {shard}".encode()})
    write_tar(tmp_path / "c.tar", {"0.jpg": b"c"})
    source = open_source(str(tmp_path))
    assert [(source.read(n), source.caption(n)) for n in range(3)] == [
        (b"a", "of a"),
        (b"b", "of b"),
        (b"c", ""),
    ]


def test_names_of_members_are_those_that_unpacking_gives(tmp_path: Path) -> None:
    """`tar cf x.tar .` writes ./0001.jpg; `tar rf` adds a second member, which counts."""
    shard = write_tar(tmp_path / "x.tar", {"./0001.jpg": b"old", "0001.txt": b"said", "./0002.jpg": b"two"})
    with tarfile.open(shard, "a") as tar:
        again = tarfile.TarInfo("0001.jpg")
        again.size = 3
        tar.addfile(again, io.BytesIO(b"new"))
    assert held(open_source(str(shard))) == {"0001.jpg": (b"new", "said"), "0002.jpg": (b"two", "")}


def test_links_in_a_tar_are_the_files_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.jpg").write_bytes(b"data")
    os.link(tmp_path / "sub/a.jpg", tmp_path / "sub/hard.jpg")
    (tmp_path / "soft.jpg").symlink_to("sub/a.jpg")
    (tmp_path / "lost.jpg").symlink_to("nowhere.jpg")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("sub/a.jpg", "sub/hard.jpg", "soft.jpg", "lost.jpg", "sub"):
            tar.add(tmp_path / name, f"./{name}", recursive=False)
    source = open_source(str(tmp_path / "x.tar"))
    assert list(source.names) == ["soft.jpg", "sub/a.jpg", "sub/hard.jpg"]
    assert {source.read(n) for n in range(3)} == {b"data"}


def table_file(path: Path, cells: list[Any], captions: list[Any], form: str) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = pa.table({"jpg": pa.array(cells, pa.binary()), "blip2_caption": pa.array(captions, pa.string())})
    if form == "parquet":
        pyarrow.parquet.write_table(table, path)
        return path
    with (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(str(path), table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize("form", ["file", "stream", "parquet"])
@pytest.mark.parametrize("place", ["{}", "hf:{}", "stream:{}"])
def test_tables_in_each_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, place: str) -> None:
    """Arrow's random access file, its stream, and Parquet: named alone, as a folder, whole or streamed."""
    monkeypatch.setattr("onedc.datasets.rows.tables_folder", lambda _: tmp_path / "tables")
    folder = tmp_path / "set"
    folder.mkdir()
    suffix = "parquet" if form == "parquet" else "arrow"
    file = table_file(folder / f"0.{suffix}", [picture(0), None, picture(2)], ["a", None, "c"], form)
    for name in (file, folder):
        source = open_source(place.format(name), 1.0)
        assert (len(source.names), source.caption(0), source.caption(1)) == (3, "a", "")
        assert source.read(2) == picture(2)
        with pytest.raises(ImageError, match="the cell is empty"):
            Photos(source, 0)[1]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_damaged_table_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("onedc.datasets.rows.tables_folder", lambda _: tmp_path / "tables")
    file = tmp_path / f"x.{suffix}"
    file.write_bytes(b"no table" * 20)
    with pytest.raises(OneDCError, match=rf"x\.{suffix}") as caught:
        open_source(f"hf:{file}")
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=rf"x\.{suffix}: cannot be read"):
        shard_entries(file)


def test_a_changed_file_is_not_taken_for_the_one_unpacked_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onedc.datasets.rows.tables_folder", lambda _: tmp_path / "tables")
    file = tmp_path / "0.parquet"
    for number in (1, 2):
        table_file(file, [picture(number, 90 + number)], ["a"], "parquet")
        assert open_source(str(file)).read(0) == picture(number, 90 + number)
    (tmp_path / "tables/rows.json").write_text("damaged")
    assert len(open_source(str(file)).names) == 1


@pytest.mark.parametrize("place", ["/nowhere", "hf:/nowhere", "stream:./nowhere", "hf:~/nowhere", "x.tar"])
def test_a_place_that_does_not_exist_is_one_line(place: str) -> None:
    with pytest.raises(ConfigError, match=r"^data\.source: \S+ does not exist$"):
        open_source(place)


def test_no_images_and_no_captions_of_coco_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ConfigError, match=r"data\.source: no images in"):
        open_source(str(tmp_path))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/captions_val.json").write_text(json.dumps([]))
    with pytest.raises(ConfigError, match=r"data\.source: .*captions_val\.json is not of COCO's schema"):
        open_source(f"coco:{tmp_path}")


def test_entries_are_all_files_by_name(tmp_path: Path) -> None:
    for name in ("b/c.png", "b.txt", "a.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = folder_entries(tmp_path)
    assert [(entry.name, entry.place.read()) for entry in found] == [
        (name, name.encode()) for name in ("a.PNG", "b.txt", "b/c.png")
    ]


def test_links_are_followed_and_no_folder_is_met_twice(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/a.png").write_bytes(b"a")
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (folder / "one").symlink_to(tmp_path / "far")
    (folder / "two").symlink_to(tmp_path / "far")
    (folder / "sub/loop").symlink_to(folder)
    (folder / "lost.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe.png")
    found = folder_entries(folder)
    assert [entry.name for entry in found] == ["lost.png", "one/a.png"]
    with pytest.raises(ImageError, match=r"lost\.png: cannot be read: .*No such file"):
        Photos(folder_source(folder), 0)[0]


def test_a_folder_that_cannot_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    whole = os.scandir

    def scandir(path: str) -> Any:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", path)
        return whole(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(ConfigError, match="sub: cannot be read: Permission denied"):
        folder_entries(tmp_path)
