"""Whether torch is asked to use huge pages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onedc.engine.huge_pages import VARIABLE, ask


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ("always [madvise] never\n", "1"),
        ("[always] madvise never\n", "1"),
        ("always madvise [never]\n", None),
        (None, None),
    ],
)
def test_they_are_asked_for_where_the_system_grants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, asked: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    switch = tmp_path / "enabled"
    if content is not None:
        switch.write_text(content)
    ask(switch)
    found = os.environ.get(VARIABLE)
    monkeypatch.setenv(VARIABLE, "")  # so that the fixture puts the variable back
    assert found == asked


def test_whoever_sets_the_variable_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    (tmp_path / "enabled").write_text("[always] madvise never\n")
    ask(tmp_path / "enabled")
    assert os.environ[VARIABLE] == "0"
