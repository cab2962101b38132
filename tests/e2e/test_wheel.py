"""The wheel, installed in an environment of its own, encodes and decodes with the weights it brings."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ("index.html", "page.css", "page.js")


@pytest.mark.long
def test_a_clean_environment_encodes_what_this_one_does(tmp_path: Path) -> None:
    def run(*argv: str | Path, folder: Path = tmp_path) -> str:
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(word) for word in argv], cwd=folder, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("onedc-*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as content:
        assert {f"onedc/serve/page/{name}" for name in PAGE} <= set(content.namelist())
    venv.create(tmp_path / "clean", with_pip=True)
    programs = tmp_path / "clean" / ("Scripts" if os.name == "nt" else "bin")
    run(programs / "python", "-m", "pip", "install", "-c", ROOT / "constraints-cpu.txt", wheel)

    photo = ROOT / "examples" / "photo.webp"
    run(programs / "onedc", "encode", photo, "-o", "theirs.1dc", "--precision", "fp32", "--threads", "1")
    run(programs / "onedc", "decode", "theirs.1dc")
    assert "768x512" in run(programs / "onedc", "info", "theirs.1dc")
    assert (tmp_path / "theirs.png").stat().st_size > 100_000
    run(
        sys.executable, "-m", "onedc", "encode", photo, "-o", tmp_path / "ours.1dc",
        "--precision", "fp32", "--threads", "1", folder=ROOT,
    )  # fmt: skip
    assert (tmp_path / "theirs.1dc").read_bytes() == (tmp_path / "ours.1dc").read_bytes()
