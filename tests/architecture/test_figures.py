"""The size of the house, counted. A later feature raises a number here in the commit that says why."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PRODUCT_LINES = 25078
"""All lines of all .py files of src."""
WALK_MODULES = 24
"""Modules whose functions run while a ready codec of the bundled model encodes and decodes one photo."""
FILE_LINES, FUNCTION_LINES = 350, 40


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    paths = sorted(SOURCE.rglob("*.py"))
    return {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def lines_of_files() -> dict[str, int]:
    texts = ((path, path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py"))
    return {path.relative_to(SOURCE / "onedc").as_posix(): len(text.splitlines()) for path, text in texts}


def imports(tree: ast.AST) -> Iterator[str]:
    """What a module imports at its top or in its functions, but for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in trees() else node.module
        else:
            yield from imports(node)


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines without the docstring."""
    first, lines = function.body[0], (function.end_lineno or 0) - function.lineno + 1
    return lines - ((first.end_lineno or 0) - first.lineno + 1) * bool(ast.get_docstring(function))


def test_product_lines() -> None:
    assert sum(lines_of_files().values()) <= PRODUCT_LINES


def test_longest_file() -> None:
    assert {path: lines for path, lines in lines_of_files().items() if lines > FILE_LINES} == {}


def test_longest_function() -> None:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    found = [
        (name, node) for name, tree in trees().items() for node in ast.walk(tree) if isinstance(node, kinds)
    ]
    lengths = {f"{name}.{node.name}": length(node) for name, node in found}
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_no_import_circle() -> None:
    own = {name: {other for other in imports(tree) if other in trees()} for name, tree in trees().items()}
    TopologicalSorter(own).prepare()  # raises CycleError


def test_no_forward_is_replaced() -> None:
    found = set()
    for name, tree in trees().items():
        targets = [
            target for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets
        ]
        if any(ast.unparse(target).endswith(".forward") for target in targets):
            found.add(name)
    assert found == set()


def test_import_contracts_have_no_exceptions() -> None:
    assert "ignore_imports" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_map_names_files_that_exist_and_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {
        name
        for name in re.findall(r"`([a-z0-9_/]+(?:\.py|/))`", page)
        if not name.startswith(("runs/", "tests/", "experiments/", "web/"))
    }
    assert {name for name in named if not (SOURCE / "onedc" / name).exists()} == set()
    rooms = {f"{path.parent.name}/" for path in (SOURCE / "onedc").glob("*/__init__.py")}
    files = {path.name for path in (SOURCE / "onedc").glob("*.py") if not path.name.startswith("__")}
    assert rooms | files <= named


def test_the_map_names_what_a_photo_touches(walk: set[str]) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## A photo to bytes and back")[2].partition("    ENCODE")[0]
    listed = re.findall(r"`([a-z0-9_/]+)\.py`", section)
    assert sorted(listed) == sorted(name.removeprefix("onedc.").replace(".", "/") for name in walk)


WALK = """
import json, sys, onedc
ran = set()
def note(frame, event, argument):
    if event == "call" and frame.f_code.co_name != "<module>":
        ran.add(frame.f_globals.get("__name__", ""))
codec = onedc.load()
sys.setprofile(note)
picture = codec.decode(codec.encode(sys.argv[1]))
sys.setprofile(None)
print(json.dumps(sorted(name for name in ran if name.split(".")[0] == "onedc")))
"""


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Modules whose functions run on the way of a photo to bytes and back."""
    photo = tmp_path_factory.mktemp("walk") / "photo.webp"
    with Image.open(ROOT / "examples" / "photo.webp") as image:
        image.resize((120, 80)).save(photo)
    command = [sys.executable, "-c", WALK, str(photo)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return set(json.loads(done.stdout))


def test_the_walk_of_a_photo_touches_few_modules(walk: set[str]) -> None:
    assert "onedc.codec" in walk and len(walk) <= WALK_MODULES, walk
