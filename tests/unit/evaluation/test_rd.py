"""BD-rates by hand and against another implementation; curves, intervals, refusals, published points."""

from __future__ import annotations

import itertools
import json
import warnings
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import bjontegaard
import numpy as np
import pytest
from tests.unit.evaluation.test_summary import record

from onedc.cli.main import main
from onedc.errors import ConfigError
from onedc.evaluation.curves import bd_table, compare, load_curves
from onedc.evaluation.frechet import FeatureStore
from onedc.evaluation.metrics import METRICS, Value
from onedc.evaluation.plots import published_curves
from onedc.evaluation.rd import OverlapError, bd_rate, bootstrap, monotone
from onedc.evaluation.records import Record, ResultsFile

RATES = [0.05, 0.1, 0.2, 0.4]
ANCHOR = list(zip(RATES, [24.0, 26.0, 29.0, 31.0], strict=True))


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.7])
def test_a_scaled_rate_is_the_bd_rate(factor: float) -> None:
    test = [(factor * bpp, value) for bpp, value in ANCHOR]
    found = bd_rate(ANCHOR, test, higher_is_better=True)
    assert found.percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert (found.low, found.high, found.overlap) == (24.0, 31.0, 1.0)


def test_a_crossing_by_hand() -> None:
    """Straight lines in log rate, which PCHIP keeps: ln rate = v against ln rate = 2 v, for v in 0..2."""
    anchor = [(np.exp(v), v) for v in (0.0, 1.0, 2.0)]
    test = [(np.exp(2 * v), v) for v in (0.0, 1.0, 2.0)]
    assert bd_rate(anchor, test, higher_is_better=True).log_ratio == pytest.approx(1.0)
    assert bd_rate(test, anchor, higher_is_better=True).log_ratio == pytest.approx(-1.0)


def test_a_metric_where_lower_is_better() -> None:
    anchor = [(bpp, 50 - value) for bpp, value in ANCHOR]
    test = [(2 * bpp, value) for bpp, value in anchor]
    assert bd_rate(anchor, test, higher_is_better=False).percent == pytest.approx(100)


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_another_implementation(seed: int) -> None:
    random = np.random.default_rng(seed)
    rates = [np.cumsum(random.uniform(0.02, 0.2, 5)) for _ in range(2)]
    values = [np.cumsum(random.uniform(0.4, 2, 5)) + random.uniform(24, 26) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = bjontegaard.bd_rate(
            rates[0],
            values[0],
            rates[1],
            values[1],
            method="pchip",
            require_matching_points=False,
            min_overlap=0,
        )
    curves = [list(zip(r, v, strict=True)) for r, v in zip(rates, values, strict=True)]
    assert bd_rate(*curves, higher_is_better=True).percent == pytest.approx(expected, rel=1e-6)


def test_little_overlap_and_few_points_are_refused() -> None:
    far = [(bpp, value + 6.5) for bpp, value in ANCHOR]
    with pytest.raises(OverlapError, match="share 4% of their range; 10%"):
        bd_rate(ANCHOR, far, higher_is_better=True)
    with pytest.raises(OverlapError, match="share 0%"):
        bd_rate(ANCHOR, [(bpp, value + 90) for bpp, value in ANCHOR], higher_is_better=True)
    with pytest.raises(OverlapError, match="the test has 2 monotone points; 3"):
        bd_rate(ANCHOR, ANCHOR[:2], higher_is_better=True)


def test_dominated_points_do_not_count() -> None:
    points = [(0.2, 3.0), (0.1, 1.0), (0.15, 1.0), (0.1, 0.5), (0.3, 2.0)]
    assert monotone(points, higher_is_better=True) == [(0.1, 1.0), (0.2, 3.0)]
    assert monotone(points, higher_is_better=False) == [(0.1, 0.5)]


def test_bootstrap_interval_covers_the_mean_and_repeats() -> None:
    values = list(np.random.default_rng(2).normal(3, 1, 50))
    low, high = bootstrap(values)
    assert low < np.mean(values) < high
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / np.sqrt(50), rel=0.15)
    assert bootstrap(values) == (low, high)


def results(folder: Path, codec: str, factor: float, *, gain: float = 0.0) -> Path:
    """A folder of results of four pictures at four rates."""
    file = ResultsFile(folder)
    for i, (bpp, value) in itertools.product(range(4), ANCHOR):
        made = record(f"p{i}", codec, 100, value + 0.1 * i + gain)
        rate = bpp * factor * (1 + 0.01 * i * (codec == "ours"))
        file.append(replace(made, key=f"{i}{bpp}", bpp=rate, group=f"{bpp} bpp"))
    return folder


def test_comparison_averages_over_pictures(tmp_path: Path) -> None:
    folders = [results(tmp_path / "a", "theirs", 1.0), results(tmp_path / "b", "ours", 0.8)]
    curves = load_curves(folders)
    found = compare(curves, "ours", "theirs", "psnr")
    ratio = np.mean(np.log([0.8 * (1 + 0.01 * i) for i in range(4)]))
    assert found.percent == pytest.approx(100 * (np.exp(ratio) - 1))
    assert found.ci_low is not None and found.ci_high is not None and found.percent is not None
    assert found.ci_low < found.percent < found.ci_high
    assert (found.images, found.total, found.overlap) == (4, 4, pytest.approx(1))
    point = curves.mean_curve("theirs", "psnr", curves.common_images("psnr"))[0]
    assert (point.bpp, point.value) == (pytest.approx(0.05), pytest.approx(24.15))
    results(tmp_path / "c", "far", 1.0, gain=90)
    refused = compare(load_curves([*folders, tmp_path / "c"]), "ours", "far", "psnr")
    assert refused.percent is None and "share 0%" in refused.reason
    assert "| ours | far | PSNR | – | 0 of 4 images allow it" in bd_table([refused])


def test_a_metric_over_sets_compares_the_two_mean_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(store: FeatureStore, metric: str, chosen: list[Record]) -> Value:
        return Value(10 * (40 - (chosen[0].metrics["psnr"] or 0)))

    monkeypatch.setattr(FeatureStore, "measure", measure)
    for name, factor, gain in (("theirs", 1.0, 0), ("ours", 0.8, 0), ("far", 1.0, 90)):
        file = ResultsFile(results(tmp_path / name, name, factor, gain=gain))
        records = file.records.values()
        file.rewrite(replace(r, key=name + r.key, features={"mobilenet": "net"}) for r in records)
    curves = load_curves([tmp_path / name for name in ("theirs", "ours", "far")])
    found = compare(curves, "ours", "theirs", "fd_mobilenet")
    assert found.percent == pytest.approx(100 * (0.8 * 1.015 - 1)) and found.ci_low is None
    assert (found.images, found.total, found.low, found.high) == (4, 4, 90, 160)
    assert "| ours | theirs | FDmb | -18.8 % | – | 4 of 4 | 100% | 90.0 to 160.0 |" in bd_table([found])
    refused = compare(curves, "ours", "far", "fd_mobilenet")
    assert refused.percent is None and refused.reason.startswith("the curves share 0% of their range")
    assert (refused.images, refused.total) == (4, 4)


def test_two_versions_of_a_codec_and_empty_folders_are_refused(tmp_path: Path) -> None:
    one = results(tmp_path / "a", "ours", 1.0)
    other = ResultsFile(tmp_path / "b")
    other.append(replace(record("p0", "ours", 1, 1.0), identity="ours 2"))
    with pytest.raises(ConfigError, match="'ours' and as 'ours 2'"):
        load_curves([one, tmp_path / "b"])
    with pytest.raises(ConfigError, match="no results"):
        load_curves([tmp_path])


def test_command_draws_and_tabulates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [results(tmp_path / "a", "theirs", 1.0), results(tmp_path / "b", "ours", 0.8)]
    page = tmp_path / "page.md"
    page.write_text("<!-- begin bd-rates -->\n<!-- end bd-rates -->\n")
    command = ["rd", *map(str, folders), "-o", str(tmp_path / "rd"), "--test", "ours", "--published", "kodak"]
    assert main([*command, "--report", str(page)]) == 0
    text = capsys.readouterr().out
    assert "| ours | theirs | PSNR | -18.8 % |" in text and text in page.read_text()
    first = (tmp_path / "rd" / "rd-psnr.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert main(command) == 0
    assert (tmp_path / "rd" / "rd-psnr.png").read_bytes() == first
    document = json.loads((tmp_path / "rd" / "rd.json").read_text())
    assert len(document["curves"]["psnr"]["ours"]) == 4
    assert main([*command[:-2], "--anchor", "nobody"]) == 2
    assert main([*command, "--metrics", "fid"]) == 2 and "fid: not measured" in capsys.readouterr().err
    command[command.index("-o") + 1] = str(page)
    assert main(command) == 1
    assert "page.md: the folder cannot be created" in capsys.readouterr().err


def test_published_points_are_whole() -> None:
    kodak = published_curves("kodak")
    assert len(kodak["lpips_alex"]) == 8 and len(kodak["ms_ssim"]) == 7
    assert kodak["ms_ssim"][0] == (0.0102, 0.685) and "vmaf" not in kodak
    source = json.loads(files("onedc.evaluation").joinpath("published.json").read_text())["source"]
    assert "digitised" in source
    assert published_curves("coco30k")["fid"][-1] == (0.1136, 1.04)
    for name in ("kodak", "clic2020", "coco30k"):
        for metric, points in published_curves(name).items():
            assert points and metric in METRICS
            higher = metric in ("psnr", "ms_ssim")
            assert monotone(points, higher_is_better=higher) == points
    with pytest.raises(ConfigError, match="'tecnick'"):
        published_curves("tecnick")
