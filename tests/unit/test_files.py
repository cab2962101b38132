"""Files written whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onedc.errors import OutputError
from onedc.files import refuse_existing, user_cache, write_whole


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("force", [False, True])
def test_a_pipe_is_written_to_and_stays(tmp_path: Path, force: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refuse_existing(pipe, force=force)
    data = bytes(range(256)) * 1000  # more than a pipe holds
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        write_whole(pipe, [data, b"end"], force=force)
        assert read.result(60) == data + b"end"
    assert stat.S_ISFIFO(pipe.stat().st_mode) and os.listdir(tmp_path) == ["pipe"]


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs /dev/null")
def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for path in ("/dev/null", link):
        write_whole(path, b"x", force=True)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and os.readlink(link) == "/dev/null"


@pytest.mark.parametrize("force", [False, True])
def test_folders_and_sockets_are_refused(tmp_path: Path, force: bool) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in (tmp_path, tmp_path / "socket"):
            for refuse in (
                lambda path=path: refuse_existing(path, force=force),
                lambda path=path: write_whole(path, b"x", force=force),
            ):
                with pytest.raises(OutputError, match="not a file"):
                    refuse()
    assert os.listdir(tmp_path) == ["socket"]


def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    target, link, chain = tmp_path / "kept" / "real", tmp_path / "link", tmp_path / "chain"
    link.symlink_to("kept/real")
    chain.symlink_to(link)
    write_whole(chain, b"1")  # a link that leads nowhere yet
    assert target.read_bytes() == b"1"
    with pytest.raises(OutputError, match="exists already; name another output, or replace it with --force"):
        write_whole(link, b"2")
    write_whole(link, b"2", force=True)
    assert target.read_bytes() == b"2" and link.is_symlink() and chain.is_symlink()
    assert os.listdir(tmp_path / "kept") == ["real"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_permissions_are_kept(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    path.chmod(mode)
    write_whole(path, b"2", force=True)
    assert path.read_bytes() == b"2" and stat.S_IMODE(path.stat().st_mode) == mode


def test_force_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, b"1")
    with pytest.raises(OutputError, match="exists already"):
        write_whole(path, b"2")
    assert path.read_bytes() == b"1"
    write_whole(path, [b"2", b"3"], force=True)
    assert path.read_bytes() == b"23" and os.listdir(tmp_path) == ["a"]


def test_no_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(OutputError, match="set XDG_CACHE_HOME"):
        user_cache()
