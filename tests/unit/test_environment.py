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
@pytest.mark.parametrize(
    ("imported", "pixels", "values", "returned"),
    [
        ("numpy", LARGE_PX + 1, 2**20, True),
        ("numpy", LARGE_PX, 2**20, False),
        ("numpy", LARGE_PX + 1, 2**18, False),  # a slice of the seam
        ("torch", LARGE_PX + 1, 2**18, True),
    ],
)
def test_freed_arrays_of_large_pictures_go_back_to_the_system(
    imported: str, pixels: int, values: int, returned: bool
) -> None:
    script = f"""
import resource
import {imported}
import numpy as np
from onedc.engine.environment import allocate_for

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

allocate_for({pixels})
before = resident_mib()
maps = [np.ones({values} + n) for n in range(3)]
above = bytes(100_000)
del maps
print(resident_mib() - before)
"""
    environment = {name: value for name, value in os.environ.items() if name != THRESHOLD}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert (float(done.stdout) < values * 8 / 2**20) == returned
