"""`onedc eval` killed in the middle and started again does only what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from onedc.evaluation.records import RESULTS_FILE

PICTURES = 12
WAIT_S = 120


def test_killed_and_rerun(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(PICTURES):
        noise = np.random.default_rng(seed).integers(0, 256, (80, 120, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{seed:02}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "onedc", "eval", str(folder), "-o", str(out), "--codec", "avif"]
    command += ["--bpp", "2", "--metrics", "psnr", "--cache", str(tmp_path / "cache")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    results = out / RESULTS_FILE
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    end_s = time.monotonic() + WAIT_S
    while not (results.exists() and results.read_text().count("\n") >= 2):
        assert process.poll() is None and time.monotonic() < end_s
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = [line for line in results.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert 2 <= len(done) < PICTURES

    rerun = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"{PICTURES - len(done)} of {PICTURES} measured now" in rerun.stdout
    lines = results.read_text().splitlines(keepends=True)
    assert len(lines) == PICTURES and lines[: len(done)] == done
    assert not list(out.rglob("*.part"))
