"""Every file of the reject corpus is refused in the words of its case."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.conformance.reject import CORPORA, read

from onedc.errors import FormatError

CASES = {
    folder / f"{name}.1dc": words
    for folder in CORPORA
    for name, words in json.loads((folder / "cases.json").read_text()).items()
}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_refused(path: Path) -> None:
    with pytest.raises(FormatError, match=re.escape(CASES[path])) as refusal:
        read(path.read_bytes())
    assert "\n" not in str(refusal.value)


def test_the_corpus_is_whole() -> None:
    """No golden is missing, and none is left from a case that is gone."""
    for folder, made in CORPORA.items():
        files = {path.stem: path.read_bytes() for path in folder.glob("*.1dc")}
        assert {name: data for name, (data, _) in made().items()} == files
        assert set(files) == {path.stem for path in CASES if path.parent == folder}
