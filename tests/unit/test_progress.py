"""What is shown on a terminal while work takes its time."""

from __future__ import annotations

import pytest

from onedc.cli import streams


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TQDM_NCOLS", "60")
    monkeypatch.setenv("TQDM_NROWS", "24")


def test_long_work_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch)
    with streams.progress_line("a.png") as tell:
        tell(1, 9)
        monkeypatch.setattr(streams, "PATIENCE_S", -1.0)
        tell(2, 9)
    told = capsys.readouterr().err
    assert "step 1 of 9" not in told
    assert "a.png: step 2 of 9" in told


def test_lines_stand_above_the_bar_of_many_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch)
    with streams.progress_bar(2) as advance:
        for name in ("a.png", "b.png"):
            streams.print_error(f"{name}: no picture")
            advance()
    told = capsys.readouterr().err
    assert "0/2" in told
    assert told.endswith("\r") and told.split("\r")[-2].isspace()  # the bar is gone
    for name in ("a.png", "b.png"):
        assert f"\ronedc: error: {name}: no picture\n" in told  # where the bar had been


def test_what_is_read_by_a_program_has_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with streams.progress_bar(2) as advance:
        advance()
    assert capsys.readouterr().err == ""
