"""The package for the browser, built for tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[1] / "web"


def node() -> str:
    """Where Node.js is; skips the test where it or the package's dependencies are missing."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs Node.js (apt-get install nodejs npm)")
    if not (WEB / "node_modules").is_dir():
        pytest.skip("needs what the package in web/ depends on (make web)")
    return found


def build(out: Path, *options: str) -> None:
    """Build the package into a folder."""
    command = [node(), str(WEB / "build.mjs"), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def example(language: str) -> str:
    """The one example in a language of the package's README."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", (WEB / "README.md").read_text(), re.DOTALL)
    return str(found)
