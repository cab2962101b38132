"""The Python examples of the documentation run, each page's from top to bottom."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from PIL import Image

import onedc
from onedc.cli.main import main

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("models_stay_loaded")


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image.Image:
    """A photo, which also lies in the current folder as photo.jpg."""
    monkeypatch.chdir(tmp_path)
    with Image.open(ROOT / "examples" / "photo.webp") as image:
        small = image.convert("RGB").resize((120, 78))
    small.save("photo.jpg")
    return small


@pytest.fixture
def registries() -> Iterator[None]:
    """What examples register is forgotten afterwards, as is accelerate's state."""
    state = pytest.importorskip("accelerate.state")
    from onedc.evaluation.baselines import BASELINES
    from onedc.evaluation.metrics import MAKERS, METRICS
    from onedc.train.recipes import RECIPES
    from onedc.train.stages.build import STAGES

    with ExitStack() as stack:
        for registry in (BASELINES, MAKERS, METRICS, RECIPES, STAGES):
            stack.enter_context(patch.dict(registry))
        yield
    state.AcceleratorState._reset_state(reset_partial_state=True)


def run_examples(page: str, *, least: int = 6) -> None:
    """Run the Python blocks of a page one after the other; it has `least` of them or more.

    A block whose first line is the name of a file ("# mine.py") becomes that file.
    """
    examples = blocks(page, "python")
    assert len(examples) >= least
    names: dict[str, Any] = {}
    for _, example in examples:
        run_python(example, names)


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """Language and text of a page's blocks, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(language, block) for language, block in found if language in languages]


def run_python(example: str, names: dict[str, Any]) -> None:
    named = re.match(r"# (\w+\.py)\n", example)
    if named:
        Path(named[1]).write_text(example, encoding="utf-8")
    else:
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
    names: dict[str, Any] = {}
    printed = []
    for language, block in blocks("docs/extending.md", "python", "sh"):
        if language == "python":
            run_python(block, names)
        else:
            for line in block.splitlines():
                few = ["run.steps=4"] if "onedc train plain " in line else []
                assert main([*shlex.split(line)[1:], *few]) == 0, capsys.readouterr().err
        printed.append(capsys.readouterr().out)
    shown, preset, tables, records, codecs = filter(None, printed)
    assert '"recipe": "wide-stage1"' in shown and '"lr": 0.0001' in shown
    assert preset.strip().endswith("(120, 78)")
    assert "| q=50 | onedc | 1 |" in tables and "| onedc | webp | mean error |" in tables
    assert records.count("'mae': ") == 2 and "None" not in records
    assert "| q=24 | posterised | 1 |" in codecs and "posterised: " in codecs
    assert '"weight": 2.0' in Path("run/run.json").read_text() and list(Path("run").rglob("*.safetensors"))


def test_the_page_of_messages(photo: Image.Image, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("reedsolo")
    shown = blocks("docs/messages.md", "sh", "python")
    names: dict[str, Any] = {"data": onedc.load().encode_to_size(photo, 400)}
    for number, (language, block) in enumerate(shown):
        with chdir(fresh_folder(f"{number}", photo, names["data"] if "encode" not in block else None)):
            if language == "python":
                run_python(block, names)
            for line in block.replace("\\\n", " ").splitlines() if language == "sh" else ():
                command, _, output = line.partition(" > ")
                if shlex.split(command, comments=True)[:1] == ["onedc"]:
                    assert main(shlex.split(command, comments=True)[1:]) == 0, capsys.readouterr().err
                    Path(output or "printed").write_text(capsys.readouterr().out)
    assert names["found"].whole
    assert len(names["tag"]) < 540


def fresh_folder(name: str, photo: Image.Image, coded: bytes | None) -> Path:
    """A folder with photo.jpg, and with photo.1dc where that is given."""
    folder = Path(name)
    folder.mkdir()
    photo.save(folder / "photo.jpg")
    if coded is not None:
        (folder / "photo.1dc").write_bytes(coded)
    return folder
