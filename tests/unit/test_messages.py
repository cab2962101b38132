"""Messages: what each holds, every refusal with its words, the two commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from onedc.cli.main import main
from onedc.container.header import Header
from onedc.container.packing import pack
from onedc.errors import ConfigError, FormatError, MissingExtraError
from onedc.messages import (
    HEAD_BYTES,
    MOST_MESSAGES,
    MOST_PARITY,
    bytes_of_text,
    from_text,
    join,
    split,
    to_text,
)

HEADER = Header(model_id=1, quality=9, width=768, height=512)
FILE = pack(HEADER, bytes(range(250)) + bytes(range(40)), b"any")
OTHER = pack(HEADER, bytes(range(100, 250)) + bytes(140), b"any")


def test_a_message_is_two_bytes_and_a_part() -> None:
    messages = split(FILE, 157)
    assert [message[0] for message in messages] == [0x10, 0x11]
    assert len({message[1] for message in messages}) == 1
    assert b"".join(message[HEAD_BYTES:] for message in messages) == FILE
    assert sum(map(len, messages)) == len(FILE) + HEAD_BYTES * len(messages)


def test_parity_of_one_message_is_no_larger_than_the_parts() -> None:
    for parity in range(MOST_PARITY + 1):
        messages = split(FILE, 157, parity=parity)
        assert len(messages) == 2 + parity
        assert max(map(len, messages)) <= 151


def test_order_and_duplicates_do_not_matter() -> None:
    messages = split(FILE, 60, parity=2)
    found = join([*reversed(messages[1:]), messages[3], messages[3]])
    assert (found.data, found.whole, found.missing, found.foreign) == (FILE, True, (), ())
    assert found.parts == len(messages) - 2


def test_messages_of_other_pictures_are_left_out_and_named() -> None:
    own, foreign = split(FILE, 60), split(OTHER, 100)
    found = join([foreign[0], *own[:2], b"x", *own[2:], b"", foreign[1]])
    assert found.data == FILE
    assert found.foreign == (0, 3, len(own) + 2, len(own) + 3)


def test_a_whole_file_is_a_message() -> None:
    assert join([FILE]).data == FILE
    found = join([*split(OTHER, 100), FILE])
    assert (found.data, found.foreign) == (OTHER, (len(split(OTHER, 100)),))


def test_two_versions_of_a_message_count_as_none() -> None:
    messages = split(FILE, 100, parity=1)
    twisted = messages[1][:-1] + bytes([messages[1][-1] ^ 1])
    assert join([*messages, twisted]).data == FILE
    assert join([*messages[:-1], twisted]).missing == (1,)


def test_what_came_before_the_first_hole_is_kept() -> None:
    messages = split(FILE, 60)
    found = join([messages[0], messages[1], messages[3]])
    assert (found.missing, found.whole) == ((2, *range(4, len(messages))), False)
    assert FILE.startswith(found.data) and len(found.data) == 2 * (len(messages[0]) - HEAD_BYTES)
    assert join(messages[1:]).data == b""


@pytest.mark.parametrize("parity", [0, 2])
def test_damage_is_refused(parity: int) -> None:
    messages = split(FILE, 60, parity=parity)
    damaged = messages[1][:-1] + bytes([messages[1][-1] ^ 1])
    with pytest.raises(FormatError, match="do not fit together"):
        join([messages[0], damaged, *messages[2 + parity // 2 :]])


def test_refusals() -> None:
    with pytest.raises(FormatError, match="none of these"):
        join([b"", b"x", b"\x0f"])
    with pytest.raises(FormatError, match="none of these"):
        join([])
    with pytest.raises(FormatError, match="several pictures"):
        join([*split(FILE, 157), *split(OTHER, 157)])
    with pytest.raises(FormatError, match=r"not a \.1dc file"):
        split(b"\x89PNG", 157)
    with pytest.raises(ConfigError, match="parity 9"):
        split(FILE, 157, parity=9)
    with pytest.raises(ConfigError, match="use messages of 40 bytes"):
        split(FILE, 20, parity=8)
    assert len(split(FILE, 40, parity=8)) <= MOST_MESSAGES
    for size in (0, 1, 2):
        with pytest.raises(ConfigError, match=f"size {size}"):
            split(FILE, size)


def test_parity_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = split(FILE, 157, parity=1)
    monkeypatch.setitem(sys.modules, "reedsolo", None)
    with pytest.raises(MissingExtraError, match=r'pip install "onedc\[messages\]"'):
        split(FILE, 157, parity=1)
    with pytest.raises(MissingExtraError, match="reedsolo"):
        join(parts[1:])
    assert join(parts).data == FILE
    assert join(split(FILE, 157)).data == FILE


def test_text() -> None:
    line = to_text(FILE)
    assert line.isascii() and line.isprintable() and " " not in line
    assert from_text(f"  {line}\r\n") == FILE
    for characters in range(5, 300):
        most = bytes_of_text(characters)
        assert len(to_text(bytes(most))) <= characters < len(to_text(bytes(most + 1)))
    for wrong in ("a b", "ä", "~~~~~"):
        with pytest.raises(FormatError, match="base-85"):
            from_text(wrong)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "photo.1dc"
    path.write_bytes(FILE)
    return path


def test_the_commands(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "msgs", tmp_path / "out.1dc"
    assert main(["split", str(path), "--size", "100", "--parity", "1", "-o", str(folder)]) == 0
    names = sorted(found.name for found in folder.iterdir())
    assert names == [f"photo-0{number}.msg" for number in range(1, 6)]
    assert capsys.readouterr().out.count("bytes\n") == 5
    (folder / names[2]).unlink()
    (folder / "other.msg").write_bytes(split(OTHER, 157)[0])
    assert main(["join", str(folder), "-o", str(out)]) == 0
    assert out.read_bytes() == FILE
    assert "other.msg: of another picture" in capsys.readouterr().err
    (folder / names[1]).unlink()
    assert main(["join", str(folder), "-o", str(out), "--force"]) == 1
    assert "missing 2, 3 of 4 messages; --partial keeps the 75 bytes" in capsys.readouterr().err
    assert main(["join", str(folder), "-o", str(out), "--force", "--partial"]) == 0
    assert out.read_bytes() == FILE[:75]
    assert "unverified" in capsys.readouterr().err
    (folder / names[0]).unlink()
    assert main(["join", str(folder), "-o", str(out), "--force", "--partial"]) == 1
    assert "nothing to show" in capsys.readouterr().err
    assert main(["join", str(path.with_name("photo.jpg")), "-o", str(out), "--force"]) == 1
    assert "photo.jpg: no such file" in capsys.readouterr().err
    path.with_name("photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(99))
    assert main(["join", str(path.with_name("photo.jpg")), "-o", str(out), "--force"]) == 1
    assert "photo.jpg: no message of a .1dc file, or one whose first" in capsys.readouterr().err


def test_the_commands_with_text(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, out = tmp_path / "lines.txt", tmp_path / "out.1dc"
    assert main(["split", str(path), "--text"]) == 0
    line = capsys.readouterr().out
    assert line == to_text(FILE) + "\n"
    assert main(["split", str(path), "--text", "--size", "160", "-o", str(lines)]) == 0
    assert all(len(one) <= 160 for one in lines.read_text().splitlines())
    lines.write_text("\n".join(reversed(lines.read_text().splitlines())) + "\nHi, what is this?\n")
    assert main(["join", "--text", str(lines), "-o", str(out)]) == 0
    assert out.read_bytes() == FILE
    assert "line 4: not a line of base-85 text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["split", "{}"], "--size N is needed"),
        (["split", "{}", "--size", "99"], "-o FOLDER is needed"),
        (["split", "{}", "--text", "--parity", "1"], "--parity needs --size"),
        (["split", "{}", "--size", "3", "-o", "x"], "size 3"),
    ],
)
def test_usage(argv: list[str], message: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.format(path) for word in argv]) == 2
    assert message in capsys.readouterr().err
