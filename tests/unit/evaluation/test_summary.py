"""Means over common pictures, missing values, and the Markdown that goes into a document."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from onedc.errors import ConfigError
from onedc.evaluation.records import Failure, Record
from onedc.evaluation.summary import replace_section, summarise, to_csv, to_json, to_markdown, write_summary


def record(image: str, codec: str, size: int, psnr: float | None, *, reached: bool = True) -> Record:
    return Record(
        key=f"{image}{codec}{size}",
        image=image,
        image_hash=image,
        width_px=80,
        height_px=100,
        group="0.1 bpp",
        codec=codec,
        identity=codec,
        setting=1.0,
        setting_name="q",
        target_bytes=100,
        rule="at-most",
        reached=reached,
        bytes=size,
        bpp=size / 1000,
        encode_s=size / 10,
        decode_s=None,
        decoded_hash=f"{image}{codec}{size}",
        metrics={"psnr": psnr},
        missing={} if psnr is not None else {"psnr": "identical"},
    )


def test_means_are_over_pictures_that_all_shown_codecs_reach() -> None:
    records = [
        *(record(f"p{i}", "a", 90 + i, 20.0 + i) for i in range(4)),
        *(record(f"p{i}", "b", 80, 30.0 + i, reached=i != 3) for i in range(4)),
        *(record(f"p{i}", "c", 400, 35.0, reached=i == 0) for i in range(4)),
    ]
    a, a_all, b, c = summarise(records, ["psnr"])
    assert (a.averaged, a.bytes, a.metrics["psnr"], a.encode_s, a.decode_s) == (3, 91, 21.0, 9.1, None)
    assert (b.averaged, b.reached, b.shown, b.metrics["psnr"]) == (3, 3, True, 31.0)
    assert (a_all.codec, a_all.averaged, a_all.bytes, a_all.metrics["psnr"]) == ("a", 4, 91.5, 21.5)
    assert (c.averaged, c.reached, c.shown, c.bytes) == (4, 1, False, 400)
    text = to_markdown([a, a_all, b, c], ["psnr"], [Failure("p9", "a", "broken")], {"d": "not installed"})
    assert "| 0.1 bpp | a | 3 | 91 | 0.0910 | 21.00 |" in text
    assert "|  | a | 4 | 92 | 0.0915 | 21.50 |" in text
    assert "1 of 4 \\*" in text and "over the 3 images" in text
    assert "p9 a: failed: broken" in text and "d: not measured: not installed" in text


def test_a_missing_value_makes_the_mean_missing_with_its_reason() -> None:
    (row,) = summarise([record("p0", "a", 9, 20.0), record("p1", "a", 9, None)], ["psnr", "dists", "fid"])
    assert row.metrics == {"psnr": None, "dists": None, "fid": None}
    assert row.missing["psnr"] == "p1: identical" and "not measured" in row.missing["dists"]
    text = to_markdown([row], ["psnr"])
    assert "| – |" in text and "PSNR: p1: identical" in text
    (line,) = csv.DictReader(io.StringIO(to_csv([row], ["psnr"])))
    assert line["psnr"] == ""


def test_summary_files_agree(tmp_path: Path) -> None:
    rows = summarise([record("p0", "a", 9, 20.0)], ["psnr"])
    write_summary(tmp_path, rows, ["psnr"])
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(to_json(rows, [], {}))
    (line,) = csv.DictReader(io.StringIO((tmp_path / "summary.csv").read_text()))
    assert (line["codec"], float(line["bpp"]), float(line["psnr"])) == ("a", 0.009, 20.0)


def test_section_of_a_document_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("top\n<!-- begin t -->\nold\n<!-- end t -->\nbottom\n")
    replace_section(page, "t", "new\n\n")
    replace_section(page, "t", "new\n")
    assert page.read_text() == "top\n<!-- begin t -->\nnew\n<!-- end t -->\nbottom\n"
    with pytest.raises(ConfigError, match="begin other"):
        replace_section(page, "other", "x")
