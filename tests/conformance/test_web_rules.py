"""The browser's package cuts large pictures into the same tiles as Python, and shrinks to the same sizes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.web_package import WEB, node

from onedc.image.shrink import longer_side
from onedc.model.tile_layout import tiles

SCRIPT = """
import { readFileSync } from "node:fs";
const { library, calls } = JSON.parse(readFileSync(0, "utf8"));
const { tiles, longerSide } = await import(library);
const flat = ({ start, stop, first, last }) => [start, stop, first, last];
const functions = {
  tiles: (height, width, step, halo, side) => {
    const found = tiles(height, width, { step, halo, side });
    return [...found].map(({ rows, columns }) => [flat(rows), flat(columns)]);
  },
  longerSide,
};
process.stdout.write(JSON.stringify(calls.map(([name, ...inputs]) => functions[name](...inputs))));
"""


def in_node(module: str, calls: Sequence[Sequence[Any]], folder: Path) -> list[Any]:
    """What functions of a module in web/src return; a call is a name and its arguments."""
    library = folder / "library.mjs"
    bundle = [node(), str(WEB / "node_modules/esbuild/bin/esbuild"), str(WEB / "src" / module), "--bundle"]
    subprocess.run([*bundle, "--format=esm", "--log-level=error", f"--outfile={library}"], check=True)
    job = json.dumps({"library": str(library), "calls": calls})
    run = [node(), "--input-type=module", "--eval", SCRIPT]
    done = subprocess.run(run, input=job, capture_output=True, text=True, check=True)
    results: list[Any] = json.loads(done.stdout)
    return results


def test_tiles_are_those_of_python(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    maps = [
        (*map(int, random.integers(1, 400, 2)), step, int(random.integers(20)), side)
        for step in (8, 16)
        for side in (20, 40, 64)
        for _ in range(20)
    ]
    expected = [
        [[list(rows), list(columns)] for rows, columns in tiles(h, w, step_px=step, side=side, halo=halo)]
        for h, w, step, halo, side in maps
    ]
    assert in_node("tiles.ts", [("tiles", *one) for one in maps], tmp_path) == expected
    assert {len(one) > 1 for one in expected} == {True, False}


def test_sizes_are_those_of_python(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sides, targets = random.integers(1, 5000, (400, 2)), np.exp(random.uniform(0, 10, 400))
    asked = [
        (int(width), int(height), int(most)) for (width, height), most in zip(sides, targets, strict=True)
    ]
    expected = [longer_side(*one) for one in asked]
    assert in_node("pictures.ts", [("longerSide", *one) for one in asked], tmp_path) == expected
    assert len(set(expected)) > 100
