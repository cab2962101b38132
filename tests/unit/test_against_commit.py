"""The comparison of two checkouts: turns, ratios of pairs, and one run of a real command at tiny size."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("against_commit", ROOT / "runs" / "against_commit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["against_commit"] = module
    spec.loader.exec_module(module)
    return module


def test_turns_and_ratios(script: ModuleType) -> None:
    order: list[str] = []

    def call(side: str, wall_s: float) -> object:
        order.append(side)
        return script.Run(wall_s * len(order), wall_s, 100.0 + wall_s)

    runs = script.by_turns({"before": lambda: call("before", 4), "after": lambda: call("after", 1)}, 3)
    assert order == ["before", "after", "after", "before", "before", "after"]
    cells = script.row("p.png", "encode", runs).split(" | ")
    assert cells[1:] == [
        "encode",
        "16.000",
        "3.000",
        "3.33 (2.00 to 5.33)",
        "4.00 (4.00 to 4.00)",
        "104",
        "101 |",
    ]


def test_a_command_and_a_warm_call(script: ModuleType, tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    Image.new("RGB", (64, 64), "teal").save(picture)
    with Image.open(script.prepared(f"{picture}@128x64", tmp_path)) as resized:
        assert resized.size == (128, 64)
    checkout = script.Checkout.at(ROOT)
    run = checkout.command("encode", picture, tmp_path / "p.1dc", ["--threads", "1"])
    assert run.processor_s > 0 and 50 < run.peak_mb < 4000 and (tmp_path / "p.1dc").stat().st_size > 10
    with checkout.warm(1) as call:
        assert call("encode", picture).wall_s > 0 and call("decode", tmp_path / "p.1dc").processor_s > 0
    with pytest.raises(SystemExit, match=r"gone\.png: no such file"):
        checkout.command("encode", tmp_path / "gone.png", tmp_path / "x.1dc", [])
    with pytest.raises(SystemExit, match="no checkout of onedc"):
        script.Checkout.at(tmp_path)
