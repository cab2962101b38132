"""The browser's package cuts large pictures where Python does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
from tests.web_package import WEB, node

from onedc.model.tile_layout import tiles

SCRIPT = """
import { readFileSync } from "node:fs";
const { library, maps } = JSON.parse(readFileSync(0, "utf8"));
const { tiles } = await import(library);
const flat = ({ start, stop, first, last }) => [start, stop, first, last];
const cut = ([height, width, step, halo, side]) => {
  const found = tiles(height, width, { step, halo, side: side ?? NaN });
  return [...found].map(({ rows, columns }) => [flat(rows), flat(columns)]);
};
process.stdout.write(JSON.stringify(maps.map(cut)));
"""


def test_tiles_are_those_of_python(tmp_path: Path) -> None:
    library, random = tmp_path / "tiles.mjs", np.random.default_rng(0)
    bundle = [node(), str(WEB / "node_modules/esbuild/bin/esbuild"), str(WEB / "src/tiles.ts")]
    subprocess.run([*bundle, "--format=esm", "--log-level=error", f"--outfile={library}"], check=True)
    maps = [
        (*map(int, random.integers(1, 400, 2)), step, int(random.integers(20)), side)
        for step in (8, 16)
        for side in (None, 40, 64)
        for _ in range(20)
    ]
    job = json.dumps({"library": str(library), "maps": maps})
    run = [node(), "--input-type=module", "--eval", SCRIPT]
    done = subprocess.run(run, input=job, capture_output=True, text=True, check=True)
    expected = [
        [[list(rows), list(columns)] for rows, columns in tiles(h, w, step_px=step, halo=halo, side=side)]
        for h, w, step, halo, side in maps
    ]
    assert json.loads(done.stdout) == expected
    assert {len(one) > 1 for one in expected} == {True, False}
