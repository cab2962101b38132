"""Batches: what goes in and out, in every form; what a kill leaves and the next run makes of it."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conformance.fixture_model import FIXTURE
from tests.conformance.pictures import picture

from onedc.batch import cluster
from onedc.batch.items import Item
from onedc.batch.run import Batch, Summary
from onedc.batch.work import Outcome, Spec, Worker, grouped
from onedc.cli.main import main
from onedc.codec import Codec
from onedc.errors import ConfigError, FormatError, OneDCError, OutputError, WeightsError
from onedc.loading import load
from onedc.target_size import DEFAULT_QUALITY

pytestmark = pytest.mark.usefixtures("models_stay_loaded")

SPEC = Spec(weights=str(FIXTURE), precision="fp32", quality=30)
SIZES = {"a.png": (64, 64), "b/c.d.png": (70, 90), "b/e.png": (128, 65), "f.png": (20, 30)}


def png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(*size)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(FIXTURE, precision="fp32")


@pytest.fixture(scope="module")
def expected(codec: Codec) -> dict[str, bytes]:
    """The .1dc file of each picture, made one by one."""
    return {name: codec.encode(picture(*size), quality=30) for name, size in SIZES.items()}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name, size in SIZES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(size))
    (folder / "notes.txt").write_text("no picture")
    return folder


def batch(source: Path, target: Path, spec: Spec = SPEC, **options: Any) -> Summary:
    return Batch(source, target, spec, **options).run()


def records(target: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (target / "manifest.jsonl").read_text().splitlines()]
    by_name = {line["name"]: line for line in lines}
    assert len(by_name) == len(lines), "something was done twice"
    return by_name


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_a_folder_becomes_a_folder_with_a_manifest(
    photos: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    assert batch(photos, out) == Summary(4, 0, 0)
    found = records(out)
    assert set(found) == set(SIZES)
    for name, (width, height) in SIZES.items():
        line, data = found[name], expected[name]
        assert (out / line["output"]).read_bytes() == data
        assert line["output"] == name.removesuffix(".png") + ".1dc"
        assert (line["width"], line["height"], line["bytes"]) == (width, height, len(data))
        assert line["bpp"] == pytest.approx(8 * len(data) / (width * height))
        assert line["sha256"] == hashlib.sha256(data).hexdigest()
    assert batch(photos, out) == Summary(0, 4, 0)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batches_of_any_size_give_the_same_bytes(
    photos: Path, tmp_path: Path, expected: dict[str, bytes], batch_size: int
) -> None:
    spec = Spec(weights=str(FIXTURE), precision="fp32", quality=30, batch_size=batch_size, readers=1)
    batch(photos, tmp_path / "out", spec)
    for name, data in expected.items():
        assert (tmp_path / "out" / name).with_suffix(".1dc").read_bytes() == data


def test_onnxruntime_gives_the_same_bytes_and_nearly_the_same_pictures(
    photos: Path, tmp_path: Path, codec: Codec, expected: dict[str, bytes], with_graphs: Path
) -> None:
    coded, decoded = tmp_path / "coded", tmp_path / "decoded"
    assert batch(photos, coded, Spec(weights=str(with_graphs), quality=30)).done == 4
    assert batch(coded, decoded, Spec(weights=str(with_graphs), decode=True)).done == 4
    for name, data in expected.items():
        assert (coded / name).with_suffix(".1dc").read_bytes() == data
        with Image.open(decoded / name) as image:
            difference = np.asarray(image).astype(int) - codec.decode(data, output="numpy")
        assert abs(difference).max() <= 1


def test_and_back(photos: Path, tmp_path: Path, codec: Codec, expected: dict[str, bytes]) -> None:
    batch(photos, tmp_path / "coded")
    back = Spec(weights=str(FIXTURE), precision="fp32", decode=True)
    assert batch(tmp_path / "coded", tmp_path / "decoded", back) == Summary(4, 0, 0)
    for name, data in expected.items():
        with Image.open(tmp_path / "decoded" / name) as image:
            assert np.array_equal(np.asarray(image), codec.decode(data, output="numpy"))
    line = records(tmp_path / "decoded")["b/c.d.1dc"]
    assert line["bytes"] == (tmp_path / "decoded" / line["output"]).stat().st_size
    assert line["bpp"] == pytest.approx(8 * len(expected["b/c.d.png"]) / (70 * 90))


def test_a_folder_becomes_tar_shards(photos: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    assert batch(photos, out, kind="tar", shard_size=3) == Summary(4, 0, 0)
    assert sorted(path.name for path in out.iterdir()) == [
        *("000000.tar", "000001.tar", "batch.json", "manifest.jsonl")
    ]
    assert contents(out / "000000.tar") == {
        "a.1dc": expected["a.png"],
        "b/c_d.1dc": expected["b/c.d.png"],
        "b/e.1dc": expected["b/e.png"],
    }
    assert records(out)["f.png"]["output"] == "000001/f.1dc"
    (photos / "0.png").write_bytes(png((8, 8)))
    with pytest.raises(ConfigError, match="started with files_sha256"):
        batch(photos, out, kind="tar", shard_size=3)


def test_tar_shards_keep_the_rest_of_their_samples(tmp_path: Path, expected: dict[str, bytes]) -> None:
    source = tmp_path / "shards"
    source.mkdir()
    files = {"x/1.png": png(SIZES["a.png"]), "x/1.txt": b"caption", "2.png": b"damaged", "2.cls": b"7"}
    tar_of(source / "s-0.tar", files)
    tar_of(source / "s-1.tar", {"3.seg.png": png(SIZES["f.png"]), "3.json": b"{}"})
    (source / "s-2.TAR").write_bytes(b"no tar")
    assert batch(source, tmp_path / "out") == Summary(2, 0, 2)
    assert contents(tmp_path / "out/s-0.tar") == {"x/1.1dc": expected["a.png"], "x/1.txt": b"caption"}
    assert contents(tmp_path / "out/s-1.tar") == {"3.seg.1dc": expected["f.png"], "3.json": b"{}"}
    found = records(tmp_path / "out")
    assert "not a picture" in found["s-0/2.png"]["error"]
    assert "not an uncompressed tar" in found["s-2.TAR"]["error"]
    assert batch(source, tmp_path / "out") == Summary(0, 2, 2)
    assert batch(source / "s-1.tar", tmp_path / "folder", kind="folder") == Summary(1, 0, 0)
    assert (tmp_path / "folder/s-1/3.seg.1dc").read_bytes() == expected["f.png"]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("struct", [True, False])
def test_columns_of_pictures(tmp_path: Path, expected: dict[str, bytes], form: str, struct: bool) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    images: list[Any] = [png(SIZES["a.png"]), b"damaged", None, png(SIZES["f.png"])]
    if struct:
        images = [None if data is None else {"bytes": data, "path": "p.png"} for data in images]
    table = pa.table({"text": ["one", "two", "three", "four"], "jpg": images, "n": [1, 2, 3, 4]})
    source = tmp_path / f"train.{form}"
    if form == "parquet":
        pyarrow.parquet.write_table(table, source, row_group_size=3)
    else:
        with pa.ipc.new_file(str(source), table.schema) as writer:
            writer.write_table(table)
    assert batch(source, tmp_path / "out") == Summary(2, 0, 2)
    target = tmp_path / "out" / source.name
    if form == "parquet":
        coded = pyarrow.parquet.read_table(target)
    else:
        with pa.ipc.open_stream(str(target)) as reader:
            coded = reader.read_all()
    assert coded.schema == table.schema
    assert coded.column("text").to_pylist() == ["one", "four"] and coded.column("n").to_pylist() == [1, 4]
    cells = coded.column("jpg").to_pylist()
    assert [cell["bytes"] if struct else cell for cell in cells] == [expected["a.png"], expected["f.png"]]
    assert records(tmp_path / "out")["train/2"]["error"] == "the cell is empty"
    back = Spec(weights=str(FIXTURE), precision="fp32", decode=True)
    assert batch(target, tmp_path / "back", back, kind="folder") == Summary(2, 0, 0)
    with pytest.raises(ConfigError, match=r"no column 'text' of pictures; name one with --column.*text, jpg"):
        batch(source, tmp_path / "other", column="text")


def test_a_folder_becomes_a_table(photos: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    batch(photos, tmp_path / "out", kind="parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "out/000000.parquet").to_pylist()
    assert [row["image"]["bytes"] for row in rows] == [expected[name] for name in sorted(SIZES)]


def test_bad_pictures_are_listed_and_skipped(photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    Image.new("RGBA", (9, 9)).save(photos / "clear.png")
    assert batch(photos, tmp_path / "out") == Summary(4, 0, 2)
    errors = {name: line["error"] for name, line in records(tmp_path / "out").items() if "error" in line}
    assert errors.keys() == {"bad.png", "clear.png"}
    assert "background" in errors["clear.png"]
    assert all("\n" not in error for error in errors.values())


def test_pages_and_strictness_are_those_of_encode(tmp_path: Path, codec: Codec) -> None:
    source = tmp_path / "in"
    source.mkdir()
    frames = [Image.fromarray(picture(70, 50, seed)) for seed in (1, 2)]
    frames[0].save(source / "two.tif", save_all=True, append_images=frames[1:])
    frames[1].save(source / "grey.jpg", icc_profile=b"not a profile")
    args = ["--weights", str(FIXTURE), "--precision", "fp32", "-q", "30", "--page"]
    assert main(["batch", str(source), str(tmp_path / "second"), *args, "2"]) == 1
    expected = codec.encode(frames[1], quality=30)
    assert (tmp_path / "second/two.1dc").read_bytes() == expected
    assert main(["batch", str(source), str(tmp_path / "strict"), *args, "1", "--strict"]) == 1
    lines = [json.loads(line) for line in (tmp_path / "strict/manifest.jsonl").read_text().splitlines()]
    assert {line["name"]: "error" in line for line in lines} == {"two.tif": False, "grey.jpg": True}
    with pytest.raises(ConfigError, match="strict"):
        Batch(source, tmp_path / "strict", replace(SPEC, page=1))


def test_message_sizes_are_those_of_encode(photos: Path, tmp_path: Path, codec: Codec) -> None:
    (photos / "wide.png").write_bytes(png((400, 200)))
    args = ["--weights", str(FIXTURE), "--precision", "fp32", "--target-bytes", "60"]
    assert main(["batch", str(photos), str(tmp_path / "small"), *args, "--no-check"]) == 0
    for name in (*SIZES, "wide.png"):
        made = (tmp_path / "small" / name).with_suffix(".1dc").read_bytes()
        assert made == codec.encode_to_size(photos / name, 60, check=False)
        assert len(made) <= 60
    assert records(tmp_path / "small")["wide.png"]["width"] < 400
    with pytest.raises(ConfigError, match="started with check False, not None"):
        batch(photos, tmp_path / "small", replace(SPEC, quality=DEFAULT_QUALITY, target_bytes=60))
    assert (
        main(["batch", str(photos), str(tmp_path / "whole"), *args, "--target-bytes", "40", "--no-shrink"])
        == 1
    )
    assert "would fit" in records(tmp_path / "whole")["wide.png"]["error"]
    resized = replace(SPEC, max_side=64, batch_size=4)
    batch(photos, tmp_path / "side", resized)
    assert (tmp_path / "side/wide.1dc").read_bytes() == codec.encode(
        photos / "wide.png", quality=30, max_side=64
    )
    with pytest.raises(ConfigError, match="max_side 0 is not a whole number above 0"):
        batch(photos, tmp_path / "none", replace(SPEC, max_side=0))
    assert main(["batch", str(tmp_path / "side"), str(tmp_path / "out"), "--decode", "--max-side", "9"]) == 2


def test_a_failing_batch_costs_only_the_item_that_fails(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Codec.encode_batch

    def failing(self: Codec, images: Any, **options: Any) -> list[bytes]:
        if any(image.rgb.shape == (90, 70, 3) for image in images):
            raise RuntimeError("out of memory\nat length")
        return whole(self, images, **options)

    monkeypatch.setattr(Codec, "encode_batch", failing)
    spec = Spec(weights=str(FIXTURE), precision="fp32", batch_size=8)
    assert batch(photos, tmp_path / "out", spec) == Summary(3, 0, 1)
    assert records(tmp_path / "out")["b/c.d.png"]["error"] == "out of memory at length"


class StopError(Exception):
    pass


@pytest.mark.parametrize("kind", ["folder", "tar"])
@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_stopped_run_is_taken_up_where_it_stopped(
    photos: Path, tmp_path: Path, expected: dict[str, bytes], kind: str, after: int
) -> None:
    """Also where a result was written but has no line yet, and where a line was torn."""
    done: list[str] = []

    def counted(spec: Spec, items: list[Item]) -> Iterator[list[Outcome]]:
        for outcomes in Worker(spec).outcomes(items):
            if len(done) == after:
                raise StopError
            done.extend(outcome.item.name for outcome in outcomes)
            yield outcomes

    out = tmp_path / "out"
    first = Batch(photos, out, SPEC, kind=kind)
    if after < 4:
        with pytest.raises(StopError):
            first.run(counted)
    else:
        first.run(counted)
    lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    torn = b"".join(lines[:-1]) + lines[-1][:9] if lines else b'{"name'
    if after < 4 or kind == "folder":  # a packed shard has all its lines
        (out / "manifest.jsonl").write_bytes(torn)
    second = Batch(photos, out, SPEC, kind=kind)
    todo = [item.name for item in second.todo]
    second.run()
    assert sorted(done + todo) == sorted(SIZES)
    assert set(records(out)) == set(SIZES)
    batch(photos, tmp_path / "whole", kind=kind)
    files = {p.relative_to(out) for p in out.rglob("*") if p.is_file()}
    assert files == {
        p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*") if p.is_file()
    }
    for path in files - {Path("manifest.jsonl")}:
        assert (out / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


def test_what_does_not_fit_is_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    held = Batch(photos, out, SPEC)
    with pytest.raises(OutputError, match="another batch is at work"):
        batch(photos, out)
    held.manifest.close()
    with pytest.raises(ConfigError, match="started with quality_byte 76, not 102"):
        batch(photos, out, Spec(weights=str(FIXTURE), quality=40))
    with pytest.raises(ConfigError, match="started with to 'folder', not 'tar'"):
        batch(photos, out, kind="tar")
    with pytest.raises(ConfigError, match="started with column None, not 'jpg'"):
        batch(photos, out, column="jpg")
    refined = replace(SPEC, effort=1)
    Batch(photos, tmp_path / "refined", refined).manifest.close()
    with pytest.raises(ConfigError, match="started with effort 1, not None"):
        batch(photos, tmp_path / "refined")
    with pytest.raises(OutputError, match="not empty"):
        batch(photos, photos / "b")
    for source, target in ((photos, photos), (tmp_path / "absent", out), (photos / "a.png", out)):
        with pytest.raises(ConfigError):
            batch(source, target)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no file to read"):
        batch(tmp_path / "empty", tmp_path / "new")
    with pytest.raises(WeightsError):
        batch(photos, tmp_path / "new", Spec(weights="absent.safetensors"))
    (out / "manifest.jsonl").write_text("nonsense\n")
    with pytest.raises(OutputError, match="a line of it is damaged"):
        batch(photos, out)
    (out / "batch.json").write_text("nonsense")
    with pytest.raises(OutputError, match="damaged"):
        batch(photos, out)
    assert not (tmp_path / "new").exists()


def test_names_that_lead_away_are_not_followed(tmp_path: Path) -> None:
    source = tar_of(tmp_path / "evil.tar", {"../../x.png": png((8, 8)), "/y.png": png((8, 8))})
    assert batch(source, tmp_path / "deep/er/out", kind="folder") == Summary(0, 0, 2)
    assert not list(tmp_path.rglob("*.1dc"))


def test_pictures_of_one_stem_have_an_output_each(tmp_path: Path, expected: dict[str, bytes]) -> None:
    files = {"same.jpg": png(SIZES["a.png"]), "same.png": png(SIZES["f.png"]), "same.txt": b"said"}
    coded = {"same.jpg.1dc": expected["a.png"], "same.png.1dc": expected["f.png"]}
    (tmp_path / "photos").mkdir()
    for name, data in files.items():
        (tmp_path / "photos" / name).write_bytes(data)
    tar_of(tmp_path / "x.tar", files)
    assert batch(tmp_path / "photos", tmp_path / "out") == Summary(2, 0, 0)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").glob("*.1dc")} == coded
    assert batch(tmp_path / "x.tar", tmp_path / "shards") == Summary(2, 0, 0)
    assert contents(tmp_path / "shards/x.tar") == {**coded, "same.txt": b"said"}
    assert batch(tmp_path / "photos", tmp_path / "cut", kind="tar") == Summary(2, 0, 0)
    assert contents(tmp_path / "cut/000000.tar") == coded


def test_results_do_not_take_the_names_of_other_members(tmp_path: Path, expected: dict[str, bytes]) -> None:
    data = png(SIZES["a.png"])
    others = {"1.1dc": b"mine", "2.1dc": b"mine", "2.png.1dc": b"mine"}
    source = tar_of(tmp_path / "x.tar", {"1.png": data, "2.png": data, **others})
    assert batch(source, tmp_path / "out") == Summary(1, 0, 1)
    assert contents(tmp_path / "out/x.tar") == {"1.png.1dc": expected["a.png"], "1.1dc": b"mine"}
    error = records(tmp_path / "out")["x/2.png"]["error"]
    assert error == "would become 2.png.1dc, as 2.png.1dc does"


def test_tars_of_a_folder_keep_samples_together(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """`tar cf x.tar .` writes ./ before each name, `tar rf` a second member: the last counts."""
    source = tar_of(tmp_path / "x.tar", {"./1.png": b"old", "./1.txt": b"caption", "./2.txt": b"other"})
    with tarfile.open(source, "a") as tar:
        again = tarfile.TarInfo("./1.png")
        again.size = len(data := png(SIZES["a.png"]))
        tar.addfile(again, io.BytesIO(data))
        again.type, again.linkname, again.name, again.size = tarfile.LNKTYPE, "./1.png", "./3.png", 0
        tar.addfile(again)
    assert batch(source, tmp_path / "out") == Summary(2, 0, 0)
    coded = {"1.1dc": expected["a.png"], "3.1dc": expected["a.png"]}
    assert contents(tmp_path / "out/x.tar") == {**coded, "1.txt": b"caption", "2.txt": b"other"}
    assert list(records(tmp_path / "out")) == ["x/1.png", "x/3.png"]


def planned(source: Path, target: Path, **options: Any) -> Batch:
    made = Batch(source, target, SPEC, **options)
    made.manifest.close()
    return made


def test_what_is_passed_over_is_told(photos: Path, tmp_path: Path) -> None:
    for name in ("one.dng", "b/TWO.DNG", "Makefile"):
        (photos / name).write_bytes(b"data")
    (photos / "f.png").rename(photos / "f.PNG")
    told = planned(photos, tmp_path / "out")
    assert len(told.todo) == 4
    assert told.notes() == [
        "passed over: 4 files (1 without a suffix, 2 .dng, 1 .txt), whose suffixes are not read here"
    ]
    tar_of(photos / "x.tar", {"1.png": b"", "1.txt": b""})
    notes = planned(photos, tmp_path / "tar").notes()
    assert notes[0] == "kept in the shards as they are: 1 file (1 .txt), whose suffixes are not read here"
    assert notes[1].startswith(
        "passed over: 8 files (1 without a suffix, 2 .dng, 4 .png, 1 .txt); a folder of shards"
    )
    assert "passed over: 1 file (1 .txt)" in planned(photos, tmp_path / "to", kind="folder").notes()[0]


def test_shards_of_one_stem_are_refused(tmp_path: Path) -> None:
    for name in ("x.tar", "x.TAR"):
        tar_of(tmp_path / name, {})
    with pytest.raises(ConfigError, match=r"x\.tar and x\.TAR would become one shard"):
        Batch(tmp_path, tmp_path / "out", SPEC)


def test_damaged_files_do_not_decode(tmp_path: Path, expected: dict[str, bytes]) -> None:
    source = tmp_path / "coded"
    source.mkdir()
    (source / "a.1dc").write_bytes(expected["a.png"][:-1])
    (source / "b.1dc").write_bytes(expected["f.png"])
    back = Spec(weights=str(FIXTURE), precision="fp32", decode=True, batch_size=4)
    assert batch(source, tmp_path / "out", back) == Summary(1, 0, 1)
    assert "checksum" in records(tmp_path / "out")["a.1dc"]["error"]


def test_grouping_loses_nothing_and_waits_for_few() -> None:
    numbers = list(np.random.default_rng(0).integers(0, 9, 200))
    groups = list(grouped(((n, (i, n)) for i, n in enumerate(numbers)), 4))
    assert sorted(i for group in groups for i, _ in group) == list(range(200))
    assert all(len({n for _, n in group}) == 1 and len(group) <= 4 for group in groups)
    latest = -1
    for group in groups[:-9]:
        latest = max(latest, *(i for i, _ in group))
        emitted = {i for other in groups[: groups.index(group) + 1] for i, _ in other}
        assert latest + 1 - len(emitted) <= 17


def test_a_ray_that_does_not_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise Exception("The node timed out\nduring startup.")

    ray = SimpleNamespace(
        is_initialized=lambda: False, init=init, exceptions=SimpleNamespace(RayError=MemoryError)
    )
    monkeypatch.setattr(cluster, "_ray", lambda: ray)
    with pytest.raises(OneDCError, match=r"^Ray cannot be reached at auto: The node timed out during"):
        next(cluster.Cluster(address="auto").outcomes(SPEC, []))
    with pytest.raises(ConfigError, match="0 actors"):
        cluster.Cluster(actors=0)


@pytest.mark.parametrize(
    ("address", "variable", "reason"),
    [
        ("127.0.0.1:{port}", "", "127.0.0.1:{port}: Connection refused"),
        ("ray://127.0.0.1:{port}", "", "ray://127.0.0.1:{port}: Connection refused"),
        ("auto", "127.0.0.1:{port}", "127.0.0.1:{port}: Connection refused"),
        ("cluster", "", "cluster: an address is HOST:PORT"),
    ],
)
def test_an_address_where_nobody_listens_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str, variable: str, reason: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", variable.format(port=port))
    monkeypatch.setattr(cluster, "_ray", lambda: SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(OneDCError, match=f"^Ray cannot be reached at {reason.format(port=port)}"):
        next(cluster.Cluster(address=address.format(port=port)).outcomes(SPEC, []))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n"])
def test_another_server_at_the_address_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(cluster, "_ray", lambda: SimpleNamespace(is_initialized=lambda: False))
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def respond() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        pool.submit(respond)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OneDCError, match=f"{address}: what listens there is not Ray"):
            next(cluster.Cluster(address=address).outcomes(SPEC, []))


def test_an_actor_that_can_never_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SimpleNamespace(is_initialized=lambda: True, cluster_resources=lambda: {"CPU": 2.0})
    monkeypatch.setattr(cluster, "_ray", lambda: ray)
    with pytest.raises(ConfigError, match=r"asks for 4 CPUs, and there are 2; .*--ray-cpus"):
        next(cluster.Cluster(cpus=4).outcomes(SPEC, []))


def test_errors_of_the_work_reach_the_caller(photos: Path, tmp_path: Path) -> None:
    def broken(spec: Spec, items: list[Item]) -> Iterator[list[Outcome]]:
        raise FormatError("broken")
        yield []

    with pytest.raises(OneDCError, match="broken"):
        Batch(photos, tmp_path / "out", SPEC).run(broken)
