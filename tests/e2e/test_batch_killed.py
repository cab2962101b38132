"""`onedc batch` killed at any moment and run again; and the same by Ray's actors, one of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_cli import photo

from onedc.batch.run import Batch, Summary
from onedc.batch.work import Spec

PICTURES = 48
WAIT_S = 300

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(PICTURES):
        photo(number, 100, 64 * (1 + number % 3)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def whole(photos: Path, with_graphs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    assert Batch(photos, out, Spec(weights=str(with_graphs), threads=1)).run() == Summary(PICTURES, 0, 0)
    return files(out)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.1dc")}


def lines(out: Path) -> list[str]:
    """The whole lines of the manifest."""
    path = out / "manifest.jsonl"
    return (
        [line for line in path.read_text().splitlines(True) if line.endswith("\n")] if path.exists() else []
    )


def wait_for(out: Path, count: int) -> None:
    end_s = time.monotonic() + WAIT_S
    while len(lines(out)) < count and time.monotonic() < end_s:
        time.sleep(0.005)


def command(photos: Path, out: Path, weights: Path, *options: str) -> list[str]:
    model = ("--weights", str(weights), "--threads", "1")
    return [sys.executable, "-m", "onedc", "batch", str(photos), str(out), *model, *options]


def test_killed_and_run_again(
    photos: Path, with_graphs: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    argv = command(photos, out, with_graphs, "--batch-size", "3")
    running = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    wait_for(out, 5)
    running.kill()
    running.wait(timeout=60)
    kept = lines(out)
    assert 5 <= len(kept) < PICTURES
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert f" {len(kept)} done before" in done.stdout or f" {len(kept) + 3} done before" in done.stdout
    names = [json.loads(line)["name"] for line in lines(out)]
    assert lines(out)[: len(kept)] == kept and len(set(names)) == len(names) == PICTURES
    assert files(out) == whole


@pytest.mark.long  # whether the actor still has work when it is killed is a matter of luck on a fast machine
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the actor in /proc")
def test_ray_loses_nothing_with_an_actor(
    photos: Path, with_graphs: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    out = tmp_path / "out"
    argv = command(photos, out, with_graphs, "--ray", "--ray-actors", "2", "--batch-size", "1")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
        actors: list[int] = []
        while not actors and running.poll() is None:
            actors = [pid for pid in below(running.pid) if b"MapWorker" in command_of(pid)]
            time.sleep(0.005)
        wait_for(out, 2)
        os.kill(actors[0], signal.SIGKILL)
        printed, _ = running.communicate(timeout=WAIT_S)
    assert running.returncode == 0 and f"\n{PICTURES} done, 0 done before" in f"\n{printed}"
    assert "retries remaining" in printed  # Ray's own line on the death of an actor at work
    names = [json.loads(line)["name"] for line in lines(out)]
    assert len(set(names)) == len(names) == PICTURES
    assert files(out) == whole


def below(pid: int) -> Iterator[int]:
    """The processes that descend from one."""
    try:
        children = [t.read_text().split() for t in Path(f"/proc/{pid}/task").glob("*/children")]
    except FileNotFoundError:  # it ended meanwhile
        return
    for child in (int(number) for numbers in children for number in numbers):
        yield child
        yield from below(child)


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
