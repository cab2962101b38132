"""What the environment says of processes is followed, or refused in one line."""

from __future__ import annotations

import socket
import time

import pytest

from onedc.errors import ConfigError, OneDCError
from onedc.train.config import RunConfig
from onedc.train.processes import make_accelerator


@pytest.fixture
def port() -> str:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("rank", ["0", "1"])
def test_processes_that_do_not_come_are_waited_for_and_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], port: str, rank: str
) -> None:
    left_over = {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**left_over, "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    begun = time.monotonic()
    with pytest.raises(OneDCError, match=f"{port}: waited 1 s .* for 2 processes.*unset WORLD_SIZE"):
        make_accelerator(RunConfig(join_seconds=1.0))
    assert time.monotonic() - begun < 10
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2"}, "no MASTER_ADDR or no RANK below WORLD_SIZE"),
        ({"LOCAL_RANK": "0"}, "no MASTER_ADDR or no RANK below WORLD_SIZE"),
        ({"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "127.0.0.1"}, "no RANK below WORLD_SIZE"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two in the environment is no number"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "2"}, "unset it; set run.accumulation"),
    ],
)
def test_variables_that_cannot_be_followed_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        make_accelerator(RunConfig())


def test_one_process_needs_no_variables() -> None:
    assert make_accelerator(RunConfig()).num_processes == 1
