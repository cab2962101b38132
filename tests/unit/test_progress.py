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
    now_s = 100.0
    monkeypatch.setattr("tqdm.std.time", lambda: now_s)
    with streams.progress_bar(9, "steps", what="a.png", delay_s=2.0) as advance:
        now_s = 101.9
        advance(1)
        assert capsys.readouterr().err == ""
        now_s = 102.1
        advance(2)
        told = capsys.readouterr().err
        assert told.startswith("\ra.png: ") and "2/9" in told and "steps" in told
        now_s = 103.0
        advance(9)
        advance(1)  # of another pass
        now_s = 104.0
        advance(2)
        assert "2/9" in capsys.readouterr().err.split("\r")[-1]
    assert capsys.readouterr().err.split("\r")[-2].isspace()  # the bar is gone


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_a_terminal(monkeypatch)
    with streams.progress_bar(9, "steps", what="a.png", delay_s=2.0) as advance:
        for done in range(1, 10):
            advance(done)
    assert capsys.readouterr().err == ""


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
