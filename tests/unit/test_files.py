"""Files written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from onedc.errors import OutputError
from onedc.files import refuse_existing, write_whole


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_file_stays(tmp_path: Path, force: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for refuse in (lambda: refuse_existing(pipe, force=force), lambda: write_whole(pipe, b"x", force=force)):
        with pytest.raises(OutputError, match="not a file"):
            refuse()
    assert stat.S_ISFIFO(pipe.stat().st_mode) and os.listdir(tmp_path) == ["pipe"]


def test_force_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, b"1")
    with pytest.raises(OutputError, match="exists already"):
        write_whole(path, b"2")
    assert path.read_bytes() == b"1"
    write_whole(path, [b"2", b"3"], force=True)
    assert path.read_bytes() == b"23" and os.listdir(tmp_path) == ["a"]
