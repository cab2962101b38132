"""Every `onedc` command and Makefile target that a page shows is one that exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from onedc.cli.main import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(?:sh|bash|console)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SEPARATORS = {"|", "&&", ";", "||"}
_REDIRECTIONS = {">", "<", ">>"}


def lines_of(page: Path) -> list[str]:
    """Command lines of a page's shell blocks, continuation lines joined."""
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").strip() for line in lines]


def commands_of(line: str) -> list[list[str]]:
    """The simple commands of a shell line, without comments and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    commands: list[list[str]] = [[]]
    skip = False
    for token in lexer:
        if token in _SEPARATORS:
            commands.append([])
        elif token in _REDIRECTIONS:
            skip = True
        elif skip:
            skip = False
        else:
            commands[-1].append(token)
    return [command for command in commands if command]


def documented(program: str) -> list[tuple[str, list[str]]]:
    found = []
    for page in PAGES:
        for line in lines_of(page):
            for command in commands_of(line):
                if command[:3] == ["python", "-m", "onedc"]:
                    command = command[2:]
                if Path(command[0]).name == program:
                    found.append((page.name, command))
    return found


def test_pages_show_commands() -> None:
    assert documented("onedc")
    assert documented("make")


@pytest.mark.parametrize(("page", "command"), documented("onedc"))
def test_onedc_command_parses(page: str, command: list[str]) -> None:
    try:
        build_parser().parse_args(command[1:])
    except SystemExit as stop:
        assert stop.code == 0, f"{page}: {shlex.join(command)}"


@pytest.mark.parametrize(("page", "command"), documented("make"))
def test_make_target_exists(page: str, command: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in command[1:]:
        assert "=" in word or re.search(rf"^{word}:", makefile, re.MULTILINE), (
            f"{page}: {shlex.join(command)}"
        )


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
