"""A run through real files: what is kept, what is made again, and what a damaged picture does."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onedc.cli.main import main
from onedc.config import TINY
from onedc.errors import ConfigError
from onedc.evaluation.baselines import PillowCodec
from onedc.evaluation.codecs import Rule
from onedc.evaluation.curves import Curves, compare, load_curves
from onedc.evaluation.frechet import FeatureStore, PatchGrid
from onedc.evaluation.metrics import MAKERS, ImageMetric, Value
from onedc.evaluation.plan import EvaluationOptions
from onedc.evaluation.records import Failure, read_results
from onedc.evaluation.run import evaluate
from onedc.evaluation.summary import summarise, write_summary
from onedc.image import read_image
from onedc.model.onedc import OneDC
from onedc.weights.file import save_weights

FIXTURE = Path(__file__).parents[2] / "conformance" / "fixture.safetensors"


def options(tmp_path: Path, **changes: object) -> EvaluationOptions:
    values = {"codecs": ("jpeg", "webp"), "targets_bpp": (2.0,), "metrics": ("psnr",)} | changes
    return EvaluationOptions(output=tmp_path / "out", **values)  # type: ignore[arg-type]


def test_rate_is_bytes_on_disk_of_the_original_pixels(tmp_path: Path, pictures: list[Path]) -> None:
    results = evaluate(pictures, options(tmp_path, keep_decoded=True))
    assert results.measured == len(results.records) == 6 and not results.failures
    for record in results.records:
        stem = Path(record.image).stem
        (file,) = (tmp_path / "out" / "files" / record.codec / f"{record.setting:g}").glob(f"{stem}.*")
        assert record.bytes == file.stat().st_size <= record.target_bytes == 1536
        assert record.bpp == 8 * record.bytes / (96 * 64)
        (decoded,) = (tmp_path / "out" / "decoded" / record.codec).glob(f"*/{stem}.png")
        error = np.square(read_image(decoded).astype(float) - read_image(pictures[int(stem[1])])).mean()
        assert record.metrics["psnr"] == pytest.approx(10 * np.log10(255**2 / error))
    assert read_results(tmp_path / "out") == results.records


def test_rerun_measures_only_what_is_missing(tmp_path: Path, pictures: list[Path]) -> None:
    first = evaluate(pictures[:2], options(tmp_path))
    path = tmp_path / "out" / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:40])  # as a kill leaves it
    again = evaluate(pictures, options(tmp_path))
    assert again.measured == 1 + 2
    assert [r.key for r in again.records[:4]] == [r.key for r in first.records]
    assert evaluate(pictures, options(tmp_path)).measured == 0
    assert [r.key for r in read_results(tmp_path / "out")] == [r.key for r in again.records]


def test_other_settings_make_other_records_and_supersede(tmp_path: Path, pictures: list[Path]) -> None:
    evaluate(pictures, options(tmp_path))
    with_more = evaluate(pictures, options(tmp_path, metrics=("psnr", "ms_ssim")))
    assert with_more.measured == 6
    assert len(read_results(tmp_path / "out")) == 6
    other_rate = evaluate(pictures, options(tmp_path, metrics=("psnr", "ms_ssim"), targets_bpp=(1.0,)))
    assert other_rate.measured == 6
    assert len(read_results(tmp_path / "out")) == 12


def test_worker_processes_give_the_same_numbers(tmp_path: Path, pictures: list[Path]) -> None:
    alone = evaluate(pictures, options(tmp_path / "alone"))
    together = evaluate(pictures, options(tmp_path / "together"), jobs=2)
    assert [(r.key, r.bytes, r.metrics) for r in alone.records] == [
        (r.key, r.bytes, r.metrics) for r in together.records
    ]


def test_a_process_that_ends_early_is_told(
    tmp_path: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "dies.py"
    plugin.write_text(
        "import multiprocessing, os\nif multiprocessing.parent_process() is not None:\n    os._exit(9)\n"
    )
    command = ["eval", str(pictures[0].parent), "-o", str(tmp_path / "out"), "--codec", "jpeg"]
    assert main([*command, "--quality", "30", "--jobs", "2", "--plugin", str(plugin)]) == 1
    printed = capsys.readouterr().err
    assert "a process of --jobs ended early" in printed and printed.count("\n") == 1


def test_results_of_another_version_are_named(tmp_path: Path, pictures: list[Path]) -> None:
    evaluate(pictures[:1], options(tmp_path))
    path = tmp_path / "out" / "results.jsonl"
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0]}\n" + json.dumps({"key": "a", "bpp": 1.0}) + "\n")
    with pytest.raises(ConfigError, match=r"results\.jsonl: line 2: not of this version"):
        evaluate(pictures[:1], options(tmp_path))
    with pytest.raises(ConfigError, match="measure into another folder"):
        load_curves([tmp_path / "out"])


def test_against_brings_others_to_our_bytes(tmp_path: Path, pictures: list[Path]) -> None:
    chosen = options(
        tmp_path, codecs=("jpeg",), targets_bpp=(), qualities=(30.0,), against=("webp",), rule=Rule.AT_LEAST
    )
    results = evaluate(pictures, chosen)
    ours, theirs = results.records[::2], results.records[1::2]
    assert [r.codec for r in theirs] == ["webp"] * 3 and {r.group for r in theirs} == {"jpeg q=30"}
    for a, b in zip(ours, theirs, strict=True):
        assert b.target_bytes == a.bytes <= b.bytes < a.bytes * 1.1
        assert (b.rule, a.rule, b.reached) == ("at-least", None, True)


def test_unreachable_rate_gives_the_smallest_file_marked(tmp_path: Path, pictures: list[Path]) -> None:
    results = evaluate(pictures[:1], options(tmp_path, codecs=("jpeg",), targets_bpp=(0.01,)))
    (record,) = results.records
    assert not record.reached and record.setting == 1 and record.bytes > (record.target_bytes or 0)


def test_a_point_given_twice_is_measured_once(tmp_path: Path, pictures: list[Path]) -> None:
    results = evaluate(pictures[:1], options(tmp_path, codecs=("jpeg", "jpeg"), qualities=(9.0, 9.0)))
    assert [r.group for r in results.records] == ["q=9", "2 bpp"]


def test_every_codec_is_brought_to_a_size(tmp_path: Path, pictures: list[Path]) -> None:
    results = evaluate(pictures, options(tmp_path, targets_bpp=(), targets_bytes=(700, 1200)))
    assert {(r.group, r.target_bytes) for r in results.records} == {("700 bytes", 700), ("1200 bytes", 1200)}
    assert all(
        r.reached and (r.target_bytes or 0) * 0.8 < r.bytes <= (r.target_bytes or 0) for r in results.records
    )


def test_one_file_serves_all_rows_at_its_setting(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = options(tmp_path, codecs=("jpeg",), targets_bpp=(0.01, 0.02, 3.0), qualities=(1.0,))
    decoded = []
    decode = PillowCodec.decode
    monkeypatch.setattr(PillowCodec, "decode", lambda *a: decoded.append(a[0].name) or decode(*a))
    results = evaluate(pictures[:1], chosen)
    first, *unreached, other = results.records
    assert [(r.group, r.reached) for r in unreached] == [("0.01 bpp", False), ("0.02 bpp", False)]
    assert all((r.bytes, r.metrics) == (first.bytes, first.metrics) for r in unreached)
    assert first.target_bytes is None and unreached[0].target_bytes == 7
    assert len({r.key for r in results.records}) == 4 and other.reached and decoded == ["jpeg"] * 2


def test_one_damaged_picture_is_named_and_the_rest_measured(
    tmp_path: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pictures[1].write_bytes(pictures[1].read_bytes()[:200])
    out = tmp_path / "out"
    command = [
        "eval",
        str(pictures[0].parent),
        "-o",
        str(out),
        "--codec",
        "webp",
        "--quality",
        "30",
        "--metrics",
    ]
    assert main([*command, "psnr", "--cache", str(tmp_path / "cache")]) == 1
    printed = capsys.readouterr()
    assert "p1.png" in printed.err and printed.err.count("\n") == 1
    assert {r.image for r in read_results(out)} == {"p0.png", "p2.png"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["failures"][0]["image"] == "p1.png" and summary["rows"][0]["images"] == 2


def test_codec_failure_is_named(tmp_path: Path, pictures: list[Path]) -> None:
    chosen = options(tmp_path, codecs=("jpeg", "vvc"), qualities=(40.0, 95.0), targets_bpp=())
    results = evaluate(pictures[:1], chosen)
    assert [f.codec for f in results.failures] == ["vvc"] and "95 is not in 0..63" in results.failures[
        0
    ].reason
    assert len(results.records) == 3


def test_onedc_itself(tmp_path: Path, pictures: list[Path]) -> None:
    chosen = options(tmp_path, codecs=("onedc",), weights=FIXTURE, qualities=(0.0, 50.0), targets_bpp=())
    results = evaluate(pictures[:1], chosen)
    z_only, full = results.records
    assert z_only.bytes < 40 < full.bytes
    assert "weights" in full.identity and full.encode_s and full.decode_s


def test_threads_are_part_of_the_key_and_processes_are_not(tmp_path: Path, pictures: list[Path]) -> None:
    chosen = options(tmp_path, codecs=("onedc",), weights=FIXTURE, qualities=(50.0,), targets_bpp=())
    before = torch.get_num_threads()
    try:
        keys = {
            (threads, jobs): evaluate(
                pictures[:1],
                replace(chosen, output=tmp_path / f"{threads}-{jobs}", threads=threads),
                jobs=jobs,
            )
            .records[0]
            .key
            for threads, jobs in ((1, 1), (2, 1), (None, 2))
        }
    finally:
        torch.set_num_threads(before)
    assert keys[1, 1] == keys[None, 2] != keys[2, 1]


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_metric_that_gives_no_number_or_fails_is_missing_with_its_reason(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    def failing(original: object, decoded: object) -> Value:
        raise ZeroDivisionError("no contrast")

    made = {"psnr": lambda *pair: Value(number), "ms_ssim": failing}
    for name, measure in made.items():
        metric = ImageMetric(name, name, measure)
        monkeypatch.setitem(MAKERS, name, lambda weights, metric=metric: metric)
    chosen = options(tmp_path, codecs=("jpeg",), metrics=tuple(made))
    results = evaluate(pictures[:1], chosen)
    assert results.records[0].metrics == {"psnr": None, "ms_ssim": None}
    rows = summarise(results.records, chosen.metrics, FeatureStore([chosen.output]).measure)
    text = write_summary(chosen.output, rows, chosen.metrics)
    assert f"PSNR: p0.png: came out as {number}" in text and "ZeroDivisionError: no contrast" in text
    for name in ("summary.json", "results.jsonl"):
        assert not {"NaN", "Infinity"} & set(re.findall(r"\w+", (chosen.output / name).read_text()))


@pytest.mark.parametrize("numbers", [["--bpp", "inf"], ["--bpp", "nan,0.1"], ["--quality", "nan"]])
def test_rates_and_qualities_are_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], numbers: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["eval", "x.png", "-o", str(tmp_path), *numbers])
    wrong = numbers[1].partition(",")[0]
    assert f"argument {numbers[0]}: '{wrong}' is not a number" in capsys.readouterr().err


def test_pictures_decoded_elsewhere(tmp_path: Path, pictures: list[Path]) -> None:
    recon = tmp_path / "recon"
    recon.mkdir()
    for path in pictures[:2]:
        Image.fromarray(np.clip(read_image(path), 3, 250)).save(recon / f"{path.stem}.webp", lossless=True)
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("image,bytes\np0.png,768\np1,384\np2,100\n")
    chosen = options(tmp_path, codecs=(), targets_bpp=(), recon=(recon,), sizes=(sizes,), recon_name="mine")
    results = evaluate(pictures, chosen)
    assert [(r.codec, r.bytes, r.bpp) for r in results.records] == [("mine", 768, 1.0), ("mine", 384, 0.5)]
    assert results.failures == [Failure("p2.png", "mine", "mine: no reconstruction named p2")]
    sizes.write_text("name,size\n")
    sizes_bad = options(tmp_path, codecs=(), targets_bpp=(), recon=(recon,), sizes=(sizes,))
    sizes.write_text("name,size\na,b\n")
    with pytest.raises(ConfigError, match="columns image and bytes"):
        evaluate(pictures, sizes_bad)
    sizes.write_text("image,bytes\np0.png,768\np1,-5\n", encoding="utf-8-sig")
    with pytest.raises(ConfigError, match=r"sizes\.csv: -5 bytes for p1; sizes are whole numbers above 0"):
        evaluate(pictures, sizes_bad)


@pytest.fixture
def elsewhere(tmp_path: Path, pictures: list[Path]) -> dict[str, tuple[Path, Path]]:
    """Three rates of a codec that ran elsewhere: folders of pictures, and their sizes."""
    made = {}
    for name, step in (("low", 64), ("mid", 32), ("high", 8)):
        folder, sizes = tmp_path / name, tmp_path / f"{name}.csv"
        folder.mkdir()
        for path in pictures:
            Image.fromarray(read_image(path) // step * step + step // 2).save(folder / f"{path.stem}.png")
        sizes.write_text("image,bytes\n" + "".join(f"{p.name},{20_000 // step}\n" for p in pictures))
        made[name] = folder, sizes
    return made


def test_rates_of_an_outside_codec_are_one_curve(
    tmp_path: Path,
    pictures: list[Path],
    elsewhere: dict[str, tuple[Path, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, folder = tmp_path / "out", str(pictures[0].parent)
    common = ["eval", folder, "-o", str(out), "--metrics", "psnr", "--cache", str(tmp_path / "cache")]

    def given(*names: str) -> list[str]:
        folders, sizes = zip(*(elsewhere[name] for name in names), strict=True)
        return ["--recon", *map(str, folders), "--sizes", *map(str, sizes), "--name", "theirs"]

    assert main([*common, *given("low", "mid"), "--against", "webp", "--rule", "at-least"]) == 0
    assert "| theirs low | theirs | 3 | 312 |" in capsys.readouterr().out
    Image.fromarray(read_image(pictures[0])).save(tmp_path / "high" / "stray.png")
    assert main([*common, *given("high")]) == 0  # a rate more, later
    printed, told = capsys.readouterr()
    assert "high: not used, of none of the images given: stray" in told
    assert "| theirs low | theirs |" in printed and "| theirs high | theirs |" in printed
    assert "3 of 3 measured now; 12 of other points and 0 replaced" in printed
    webp = [*common, "--codec", "webp", "--bpp", "0.4,0.8,3.3"]
    assert main(webp) == 0
    assert main(["rd", str(out), "-o", str(tmp_path / "rd"), "--test", "theirs"]) == 0
    document = json.loads((tmp_path / "rd" / "rd.json").read_text())
    assert [len(document["curves"]["psnr"][name]) for name in ("theirs", "webp")] == [3, 5]
    assert document["bd_rates"][0]["percent"] is not None and document["images"]["psnr"] == [
        "p0.png", "p1.png", "p2.png",
    ]  # fmt: skip


def test_changed_reconstructions_are_measured_anew(
    tmp_path: Path, pictures: list[Path], elsewhere: dict[str, tuple[Path, Path]]
) -> None:
    folder, sizes = elsewhere["low"]
    chosen = options(tmp_path, codecs=(), targets_bpp=(), recon=(folder,), sizes=(sizes,))
    assert evaluate(pictures, chosen).measured == 3
    assert evaluate(pictures, chosen).measured == 0
    Image.fromarray(read_image(pictures[0])).save(folder / "p0.png")
    again = evaluate(pictures, chosen)
    assert (again.measured, again.replaced, len(again.folder)) == (1, 1, 3)
    sizes.write_text(sizes.read_text().replace("p1.png,312", "p1.png,300"))
    assert evaluate(pictures, chosen).measured == 1


def test_two_models_stand_beside_each_other_and_versions_do_not_mix(
    tmp_path: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["eval", str(pictures[0].parent), "-o", str(tmp_path / "out"), "--metrics", "psnr"]
    common += ["--quality", "20", "--cache", str(tmp_path / "cache")]
    other = tmp_path / "other.safetensors"
    save_weights(other, OneDC(TINY), model_id=200)
    assert main([*common, "--weights", str(FIXTURE)]) == 0
    assert main([*common, "--weights", str(other)]) == 2
    assert "give it another --name" in capsys.readouterr().err
    assert main([*common, "--weights", str(other), "--name", "other model"]) == 0
    printed = capsys.readouterr().out
    assert "| q=20 | onedc | 3 |" in printed and "|  | other model | 3 |" in printed
    assert main([*common, "--weights", str(other), "--replace"]) == 0
    printed = capsys.readouterr().out
    assert "3 of 3 measured now; 3 of other points and 3 replaced" in printed
    assert printed.index("| q=20 | onedc | 3 |") < printed.index("|  | other model | 3 |")  # as before
    assert main(["eval", "x.png", "-o", "out", "--quality", "1", "--name", "a/b"]) == 2
    assert "name 'a/b'" in capsys.readouterr().err


def test_a_later_quality_adds_points_to_metrics_over_sets(
    tmp_path: Path, pictures: list[Path], metric_weights: Path
) -> None:
    chosen = options(
        tmp_path,
        codecs=("webp",),
        qualities=(10.0,),
        targets_bpp=(),
        metrics=("fd_mobilenet",),
        metric_weights=metric_weights,
        patches=PatchGrid(size=32, count=1),
    )
    for qualities in ((10.0, 40.0), (80.0,)):
        evaluate(pictures, replace(chosen, qualities=qualities))
    evaluate(pictures[:2], replace(chosen, codecs=("jpeg",), qualities=(10.0, 40.0, 80.0)))
    curves = load_curves([chosen.output])
    images = curves.common_images("fd_mobilenet")
    assert images == {"p0.png", "p1.png"}
    values = [point.value for point in curves.mean_curve("webp", "fd_mobilenet", images)]
    assert len(values) == 3 and values == sorted(values, reverse=True)
    (note,) = curves.notes(["fd_mobilenet"])
    assert note == "FDmb: curves over the 2 images that every point has, of up to 3; fewest: jpeg q=10, 2"
    assert compare(curves, "webp", "jpeg", "fd_mobilenet").total == 2
    evaluate(pictures, replace(chosen, qualities=(50.0,), patches=PatchGrid(size=64, count=1)))
    with pytest.raises(ConfigError, match=r"1 grids of 32 px and of .* 1 grids of 64 px"):
        load_curves([chosen.output])
    for path in (chosen.output / "features").iterdir():
        path.unlink()
    curves = Curves(curves.runs, curves.store)
    assert curves.mean_curve("webp", "fd_mobilenet", images) == []
    assert "FDmb of webp q=10: features were not kept" in curves.notes(["fd_mobilenet"])


def test_metrics_over_sets_come_from_stored_features(
    tmp_path: Path, pictures: list[Path], metric_weights: Path
) -> None:
    chosen = options(
        tmp_path, metrics=("fd_mobilenet", "fid"), metric_weights=metric_weights, patches=PatchGrid(size=64)
    )
    results = evaluate(pictures, chosen)
    rows = summarise(results.records, chosen.metrics, FeatureStore([chosen.output]).measure)
    assert all((row.metrics["fd_mobilenet"] or 0) > 0 for row in rows)
    assert all(row.metrics["fid"] is None and "no such file" in row.missing["fid"] for row in rows)
    for path in (tmp_path / "out" / "features").iterdir():
        path.unlink()
    again = evaluate(pictures, chosen)
    rows_again = summarise(again.records, chosen.metrics, FeatureStore([chosen.output]).measure)
    assert [row.metrics for row in rows_again] == [row.metrics for row in rows]


def test_pictures_of_one_stem_are_refused(tmp_path: Path, pictures: list[Path]) -> None:
    with pytest.raises(ConfigError, match="same name"):
        evaluate([pictures[0], tmp_path / "p0.jpg"], options(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets_bpp": ()}, "--quality, --bpp or --bytes"),
        ({"targets_bytes": (0,)}, "targets_bytes: 0 is not above 0"),
        ({"against": ("avif",)}, "--against needs --quality"),
        ({"recon": (Path(),)}, "--recon and --sizes"),
        ({"recon": (Path("a"), Path("a")), "sizes": (Path(), Path())}, "a folder is given twice"),
        ({"codecs": ("bpg",)}, "'bpg'"),
        ({"metrics": ("vmaf",)}, "'vmaf'"),
        ({"targets_bpp": (0.0,)}, "above 0"),
        ({"targets_bpp": (math.inf,)}, "inf is not a rate"),
        ({"qualities": (math.nan,)}, "nan is not a number"),
    ],
)
def test_bad_options(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options(tmp_path, **changes)
