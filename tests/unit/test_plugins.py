"""Plugins: run once, refused in one line that names file and line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onedc.errors import ConfigError
from onedc.plugins import load_plugins


def test_a_plugin_runs_once_a_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass(frozen=True)\nclass Thing:\n    size: int = 3\n\nprint('ran', Thing().size)\n"
    )
    load_plugins([plugin, plugin])
    load_plugins([tmp_path / "." / "mine.py"])
    assert capsys.readouterr().out == "ran 3\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = z\n", r"mine\.py: line 2: NameError: name 'z' is not defined"),
        ("x = (\n", r"mine\.py: SyntaxError: .*line 1"),
        ("import nothing_of_this_name\n", r"mine\.py: line 1: ModuleNotFoundError"),
        (
            "from onedc.evaluation.baselines import register_codec\nregister_codec('webp', None)\n",
            r"mine\.py: line 2: codec 'webp': this name is taken",
        ),
        (
            "from onedc.evaluation.metrics import METRICS, register_metric\n"
            "register_metric(METRICS['psnr'], None)\n",
            r"mine\.py: line 2: metric 'psnr': this name is taken",
        ),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(text)
    for _ in range(2):
        with pytest.raises(ConfigError, match=message):
            load_plugins([plugin])


def test_what_is_no_plugin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.txt: a plugin is a Python file"):
        load_plugins([tmp_path / "mine.txt"])
    with pytest.raises(ConfigError, match=r"none\.py: .*No such file"):
        load_plugins([tmp_path / "none.py"])


def test_failing_parts_of_a_plugin_are_told_in_a_line(tmp_path: Path) -> None:
    """In a process of its own: nothing is registered in this one."""
    photo = Path(__file__).parents[2] / "examples" / "photo.webp"
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from onedc.evaluation.baselines import register_codec\n"
        "from onedc.evaluation.metrics import MetricInfo, register_metric\n"
        "register_codec('odd', lambda: 1 / 0)\n"
        "register_metric(MetricInfo('worse', 'worse', False, 2), lambda weights: 1 / 0)\n"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "onedc", "eval", str(photo), "-o", str(out), "--plugin", str(plugin)]
    command += ["--quality", "20", "--cache", str(tmp_path), "--codec"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "odd"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "odd: cannot be made ready: ZeroDivisionError" in done.stderr
    command += ["webp", "--metrics", "psnr,worse"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "worse: cannot be made ready: ZeroDivisionError" in done.stdout
