"""Names: an output for each input, and files counted by suffix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedc.datasets.names import by_suffix, outputs, suffix_of


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "b/a.png", "c.tar.gz"], ["a.1dc", "b/a.1dc", "c.tar.1dc"]),
        (["a.jpg", "b.jpg", "a.PNG"], ["a.jpg.1dc", "b.1dc", "a.PNG.1dc"]),
        (["x.jpg", "x.png", "x.jpg.gif"], ["x.jpg.1dc", "x.png.1dc", "x.jpg.gif.1dc"]),
        (["a.jpg", "a.jpg"], ["a.jpg.1dc", "a.jpg.1dc"]),
        (["a", "a.png"], ["a.1dc", "a.png.1dc"]),
        ([], []),
    ],
)
def test_inputs_share_no_output(names: list[str], expected: list[str]) -> None:
    assert outputs(names, ".1dc") == expected


@given(st.lists(st.text("ab./", min_size=1), unique=True), st.lists(st.text("ab.", min_size=1), unique=True))
def test_different_inputs_never_share_an_output(names: list[str], taken: list[str]) -> None:
    found = outputs(names, ".b")
    assert len(set(found)) == len(found)
    free = dict(zip(names, outputs(names, ".b", taken), strict=True))
    assert all(output == name + ".b" for name, output in free.items() if output in taken)


def test_suffixes_compare_without_case() -> None:
    assert [suffix_of(name) for name in ("a.JPE", "b.tar.GZ", ".hidden", "a/b")] == [".jpe", ".gz", "", ""]
    assert by_suffix({".heic": 2, "": 1}) == "3 files (1 without a suffix, 2 .heic)"
    assert by_suffix({".txt": 1}) == "1 file (1 .txt)"
