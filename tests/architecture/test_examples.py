"""The Python examples of the documentation run, each page's from top to bottom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image.Image:
    """A photo, which also lies in the current folder as photo.jpg."""
    monkeypatch.chdir(tmp_path)
    with Image.open(ROOT / "examples" / "photo.webp") as image:
        small = image.convert("RGB").resize((200, 130))
    small.save("photo.jpg")
    return small


@pytest.fixture
def registries() -> Iterator[None]:
    """What examples register is forgotten afterwards, as is accelerate's state."""
    state = pytest.importorskip("accelerate.state")
    from onedc.evaluation.metrics import MAKERS, METRICS
    from onedc.train.recipes import RECIPES
    from onedc.train.stages import STAGES

    with ExitStack() as stack:
        for registry in (MAKERS, METRICS, RECIPES, STAGES):
            stack.enter_context(patch.dict(registry))
        yield
    state.AcceleratorState._reset_state(reset_partial_state=True)


def run_examples(page: str, *, least: int = 6) -> None:
    """Run the Python blocks of a page one after the other; it has `least` of them or more."""
    text = (ROOT / page).read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(examples) >= least
    names: dict[str, Any] = {}
    for example in examples:
        exec(example, names)


def test_the_readme(photo: Image.Image, tmp_path: Path) -> None:
    run_examples("README.md", least=2)
    assert {path.name for path in tmp_path.iterdir()} == {"photo.jpg", "photo.1dc", "photo.png"}


def test_the_python_page(photo: Image.Image, tmp_path: Path) -> None:
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    photo.save("logo.png")
    run_examples("docs/python.md")
    assert {path.name for path in tmp_path.iterdir()} >= {"photo.png", "photo.1dc", "again.png", "again.1dc"}


def test_the_extending_page(photo: Image.Image, registries: None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    for n, name in enumerate(("a0", "a1", "a2", "a3", "b0", "b1")):
        photo.rotate(20 * n).save(f"photos/{name}.png")
    run_examples("docs/extending.md")
    encoded, *records, trained = capsys.readouterr().out.splitlines()
    assert encoded.endswith("(200, 130)")
    assert len(records) == 2 and all("'mae': " in record and "None" not in record for record in records)
    assert trained == "20 True"
