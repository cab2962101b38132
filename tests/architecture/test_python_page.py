"""The examples of docs/python.md run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with Image.open(ROOT / "examples" / "photo.webp") as photo:
        small = photo.convert("RGB").resize((200, 130))
    small.save("photo.jpg")
    small.putalpha(Image.linear_gradient("L").resize(small.size))
    small.save("logo.png")
    names: dict[str, Any] = {}
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) > 5
    for example in examples:
        exec(example, names)
    assert {path.name for path in tmp_path.iterdir()} >= {"photo.png", "photo.1dc", "again.png", "again.1dc"}
