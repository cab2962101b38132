"""What libraries are told by the environment: huge pages, how threads wait, telemetry."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from onedc.engine.environment import HUGE_PAGES, LARGE_PX, TELEMETRY, THRESHOLD, WAITING, prepare

VARIABLES = (HUGE_PAGES, WAITING, TELEMETRY)


def prepared(monkeypatch: pytest.MonkeyPatch, switch: Path, **before: str) -> dict[str, str | None]:
    """The variables after `prepare`, where those of `before` were set."""
    with monkeypatch.context() as context:
        for name in VARIABLES:
            context.setenv(name, "")  # so that it is put back
            context.delenv(name)
        for name, value in before.items():
            context.setenv(name, value)
        prepare(switch)
        return {name: os.environ.get(name) for name in VARIABLES}


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ("always [madvise] never\n", "1"),
        ("[always] madvise never\n", "1"),
        ("always madvise [never]\n", None),
        (None, None),
    ],
)
def test_huge_pages_are_asked_for_where_the_system_grants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, asked: str | None
) -> None:
    switch = tmp_path / "enabled"
    if content is not None:
        switch.write_text(content)
    found = prepared(monkeypatch, switch)
    assert found == {HUGE_PAGES: asked, WAITING: "PASSIVE", TELEMETRY: "1"}


def test_whoever_sets_a_variable_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = tmp_path / "enabled"
    switch.write_text("[always] madvise never\n")
    others = {HUGE_PAGES: "0", WAITING: "ACTIVE", TELEMETRY: "0"}
    assert prepared(monkeypatch, switch, **others) == others


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize(("pixels", "returned"), [(LARGE_PX + 1, True), (LARGE_PX, False)])
def test_freed_arrays_of_large_pictures_go_back_to_the_system(pixels: int, returned: bool) -> None:
    script = f"""
import resource
import numpy as np
from onedc.engine.environment import allocate_for

allocate_for({pixels})
maps = [np.ones(2**20 + n) for n in range(40)]
above = bytes(100_000)
del maps
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * resource.getpagesize() // 2**20)
"""
    environment = {name: value for name, value in os.environ.items() if name != THRESHOLD}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert (int(done.stdout) < 200) == returned
