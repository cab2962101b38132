"""Reading what a run tells: damage is one line that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onedc.errors import WeightsError
from onedc.train.config import TrainConfig
from onedc.train.export import model_card
from onedc.train.report import read_run_file, write_run_file


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"config": {}}', "\xff"])
def test_a_damaged_run_file_is_one_line(tiny: Callable[..., TrainConfig], tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.json"
    write_run_file(tmp_path, tiny(), step=0, processes=1)
    assert read_run_file(file)["config"] == json.loads(json.dumps(tiny().to_dict()))
    file.write_text(text, encoding="latin-1")
    with pytest.raises(WeightsError, match=r"run\.json: .*start a new run") as caught:
        write_run_file(tmp_path, tiny(), step=3, processes=1)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"run\.json"):
        model_card(tmp_path, 3)


def test_a_run_outside_a_checkout_is_read_again(
    tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where onedc is installed there is no git state."""
    monkeypatch.setattr("onedc.train.report.git_state", dict)
    write_run_file(tmp_path, tiny(), step=0, processes=1)
    write_run_file(tmp_path, tiny(), step=3, processes=1)
    assert len(read_run_file(tmp_path / "run.json")["sessions"]) == 2
    (tmp_path / "log.jsonl").touch()
    assert "source at unknown" in model_card(tmp_path, 3)
