"""Every file of the reject corpus is refused in the words of its case."""

from __future__ import annotations

import json
import re

import pytest
from tests.conformance.reject import FOLDER, corpus, read

from onedc.errors import FormatError

CASES = json.loads((FOLDER / "cases.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str) -> None:
    with pytest.raises(FormatError, match=re.escape(CASES[name])) as refusal:
        read((FOLDER / f"{name}.1dc").read_bytes())
    assert "\n" not in str(refusal.value)


def test_the_corpus_is_whole() -> None:
    """No golden is missing, and none is left from a case that is gone."""
    assert {path.stem for path in FOLDER.glob("*.1dc")} == set(CASES)
    assert {name: data for name, (data, _) in corpus().items()} == {
        path.stem: path.read_bytes() for path in FOLDER.glob("*.1dc")
    }
