"""The `onedc` command as its users meet it: a process with arguments, pipes, files and an exit status."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from onedc.cli.main import COMMANDS, build_parser, main
from onedc.loading import load

WEIGHTS = Path(__file__).parents[1] / "conformance" / "fixture.safetensors"
MODEL = ("--weights", str(WEIGHTS), "--threads", "1")

pytestmark = pytest.mark.usefixtures("models_stay_loaded")


class Result(NamedTuple):
    """What a command left: exit status, standard output and error."""

    returncode: int
    stdout: bytes
    stderr: bytes


def onedc(*argv: str | Path, stdin: bytes = b"") -> Result:
    """Run a command line in this process, which has torch loaded already, with streams of its own."""
    streams = [io.TextIOWrapper(io.BytesIO(data), encoding="utf-8") for data in (stdin, b"", b"")]
    saved = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        status = main([str(word) for word in argv])
    except SystemExit as stop:  # argparse leaves this way
        status = int(stop.code or 0)
    finally:
        sys.stdin, sys.stdout, sys.stderr = saved
    for stream in streams:
        stream.flush()
    stdout, stderr = (stream.buffer.getvalue() for stream in streams[1:])  # type: ignore[attr-defined]
    return Result(status, stdout, stderr)


def process(*argv: str | Path, stdin: bytes = b"") -> bytes:
    """Run a command that must succeed in a process of its own; returns its standard output."""
    command = [sys.executable, "-m", "onedc", *map(str, argv)]
    result = subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def done(*argv: str | Path, stdin: bytes = b"") -> bytes:
    """Run a command that must succeed; returns its standard output."""
    result = onedc(*argv, stdin=stdin)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def refused(*argv: str | Path, status: int, message: str) -> None:
    """Run a command that must fail with one line."""
    result = onedc(*argv)
    text = result.stderr.decode()
    assert result.returncode == status, text
    assert message in text
    assert text.startswith("onedc: error: ") and text.count("\n") == 1


def photo(seed: int, height: int = 40, width: int = 70) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def model(with_graphs: Path) -> tuple[str, ...]:
    """The options of a model for a process of its own, which starts in a third of the time without torch."""
    return "--weights", str(with_graphs), "--threads", "1"


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory, models_stay_loaded: None, model: tuple[str, ...]
) -> Path:
    """A folder of three photos of different sizes, a text file, and their .1dc files in out/."""
    folder = tmp_path_factory.mktemp("photos")
    for index, name in enumerate(("a.png", "b.jpg", "c.webp")):
        photo(index, 40 + 30 * index).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    done("encode", folder, "-o", folder / "out", *model)
    return folder


def test_file_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(1, 33, 65).save(tmp_path / "a.b.png")
    done("encode", "a.b.png", *MODEL)
    assert sorted(os.listdir(tmp_path)) == ["a.b.1dc", "a.b.png"]
    done("decode", "a.b.1dc", "-o", "back.webp", *MODEL)
    with Image.open(tmp_path / "back.webp") as image:
        assert image.size == (65, 33)
    refused("decode", "a.b.1dc", *MODEL, status=1, message="exists already")
    refused("decode", "a.b.1dc", "--force", *MODEL, status=1, message="may be an original")
    done("decode", "a.b.1dc", "--force", "--force", *MODEL)


def test_folder_takes_pictures_only(photos: Path) -> None:
    assert sorted(os.listdir(photos / "out")) == ["a.1dc", "b.1dc", "c.1dc"]


def test_what_a_folder_holds_beside_pictures_is_told(tmp_path: Path) -> None:
    for name in ("a.JPE", "b.Png"):
        photo(1).save(tmp_path / name, "JPEG" if name == "a.JPE" else "PNG")
    for name in ("c.dng", "d.DNG", "notes", "e.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    result = onedc("encode", tmp_path, "-o", tmp_path / "out", *MODEL)
    assert result.returncode == 0
    assert result.stderr.decode() == (
        f"{tmp_path}: passed over 4 files (1 without a suffix, 2 .dng, 1 .txt), whose suffixes are not read "
        "here; and 1 folder, which only a pattern such as '**/*.png' enters\n"
    )
    assert sorted(os.listdir(tmp_path / "out")) == ["a.1dc", "b.1dc"]
    lines = done("encode", tmp_path, "-o", tmp_path / "again", "--json", *MODEL).splitlines()
    passed = {Path(line["input"]).name for line in map(json.loads, lines) if line.get("passed_over")}
    assert passed == {"c.dng", "d.DNG", "notes", "e.txt", "sub", "out"} and len(lines) == 8


def test_equal_stems_keep_their_suffixes(tmp_path: Path) -> None:
    for name in ("IMG_1.jpg", "IMG_1.png", "IMG_2.jpg"):
        photo(2).save(tmp_path / name)
    done("encode", tmp_path, *MODEL)
    coded = {path.name for path in tmp_path.glob("*.1dc")}
    assert coded == {"IMG_1.jpg.1dc", "IMG_1.png.1dc", "IMG_2.1dc"}
    done("encode", tmp_path / "IMG_1.jpg", tmp_path / "IMG_1.png", "-o", tmp_path / "out", *MODEL)
    assert sorted(os.listdir(tmp_path / "out")) == ["IMG_1.jpg.1dc", "IMG_1.png.1dc"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_an_original_is_not_replaced_by_force_alone(tmp_path: Path, suffix: str) -> None:
    original = tmp_path / f"a{suffix}"
    photo(3).save(original)
    data = original.read_bytes()
    done("encode", original, *MODEL)
    decode = ("decode", tmp_path / "a.1dc", "-o", original, *MODEL)
    refused(*decode, status=1, message=f"{original}: exists already; name another output, or replace it")
    refused(*decode, "--force", status=1, message="may be an original; name another output with -o, or give")
    assert original.read_bytes() == data
    done(*decode, "--force", "--force")
    assert original.read_bytes() != data
    if suffix in (".png", ".jpg", ".tif"):  # which say who made them
        done(*decode, "--force")


def test_devices_are_streams(tmp_path: Path) -> None:
    if not os.path.exists("/dev/stdout"):
        pytest.skip("needs /dev/stdout")
    photo(4).save(tmp_path / "a.jpg")
    encode = ("encode", tmp_path / "a.jpg", "--force", *MODEL)
    data = done(*encode, "-o", "-")
    assert done(*encode, "-o", "/dev/stdout") == data
    assert b"/dev/null" in done(*encode, "-o", "/dev/null")
    assert os.path.islink("/dev/stdout") and not os.path.isfile("/dev/null")


def test_same_bytes_in_another_order_and_process(
    photos: Path, tmp_path: Path, model: tuple[str, ...]
) -> None:
    process("encode", photos / "c.webp", photos / "b.jpg", photos / "a.png", "-o", tmp_path / "again", *model)
    for name in ("a.1dc", "b.1dc", "c.1dc"):
        assert (tmp_path / "again" / name).read_bytes() == (photos / "out" / name).read_bytes()


def test_pattern_and_json(photos: Path, tmp_path: Path) -> None:
    lines = done(
        "decode", photos / "out" / "[ab].1dc", "-o", tmp_path / "x" / "y", "--json", *MODEL
    ).splitlines()
    reports = [json.loads(line) for line in lines]
    assert [(report["width"], report["height"]) for report in reports] == [(70, 40), (70, 70)]
    assert all(Path(report["output"]).exists() for report in reports)


def test_a_pipe_without_a_picture_is_named() -> None:
    result = onedc("encode", "-", *MODEL, stdin=b"no picture")
    assert result.returncode == 1
    assert result.stderr == b"onedc: error: standard input: not a picture that Pillow can read\n"


def test_pipes(photos: Path, model: tuple[str, ...]) -> None:
    data = process("encode", "-", *model, stdin=(photos / "a.png").read_bytes())
    assert data == (photos / "out" / "a.1dc").read_bytes()
    png = done("decode", "-", *MODEL, stdin=data)
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.size) == ("PNG", (70, 40))
    assert b"70x40" in done("info", "-", stdin=data)


def test_quality_zero_and_preview_agree(photos: Path) -> None:
    source = (photos / "a.png").read_bytes()
    semantic = done("encode", "-", "-q", "0", *MODEL, stdin=source)
    full = done("encode", "-", "-q", "100", *MODEL, stdin=source)
    assert len(semantic) < len(full)
    assert done("decode", "-", *MODEL, stdin=semantic) == done("decode", "-", "--preview", *MODEL, stdin=full)
    assert done("decode", "-", "--partial", *MODEL, stdin=full[:-1])


def test_targets(photos: Path, tmp_path: Path) -> None:
    codec = load(WEIGHTS, precision="fp32")
    for option, limit in (("--target-bytes", "500"), ("--target-bpp", "1")):
        out = tmp_path / option
        argv = ("encode", photos / "a.png", photos / "b.jpg", "-o", out, option, limit, "--json", *MODEL)
        for line in done(*argv).splitlines():
            report = json.loads(line)
            size = os.path.getsize(report["output"])
            limit_bytes = 500 if option == "--target-bytes" else report["width"] * report["height"] / 8
            assert report["bytes"] == size <= limit_bytes and 0 < report["quality"] < 100
            above = (round(2.55 * report["quality"]) + 1) / 2.55
            assert len(codec.encode(report["input"], quality=above)) > limit_bytes
    refused(
        *("encode", photos / "a.png", "-o", tmp_path / "x.1dc", "--target-bytes", "9", *MODEL),
        status=1,
        message="a.png: the picture cannot fit in 9 bytes: its smallest file has",
    )
    assert not (tmp_path / "x.1dc").exists()


def test_info(photos: Path) -> None:
    path = photos / "out" / "a.1dc"
    found = json.loads(done("info", "--json", path))
    size = path.stat().st_size
    assert (found["width"], found["height"], found["size_bytes"]) == (70, 40, size)
    assert found["bpp"] == pytest.approx(8 * size / (70 * 40))
    assert "private" in found["model"]


def test_a_bad_file_among_many_is_named_and_the_rest_done(photos: Path, tmp_path: Path) -> None:
    data = bytearray((photos / "out" / "a.1dc").read_bytes())
    data[-1] ^= 1
    (tmp_path / "bad.1dc").write_bytes(data)
    inputs = (tmp_path / "absent.1dc", tmp_path / "bad.1dc", photos / "out" / "b.1dc")
    result = onedc("decode", *inputs, "-o", tmp_path / "o", *MODEL)
    errors = result.stderr.decode().splitlines()
    assert result.returncode == 1
    assert os.listdir(tmp_path / "o") == ["b.png"]
    assert len(errors) == 2 and "absent.1dc: no such file" in errors[0] and "bad.1dc: checksum" in errors[1]


def test_transparency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGBA", (9, 9), (255, 0, 0, 100)).save(tmp_path / "t.png")
    refused("encode", "t.png", *MODEL, status=1, message="--background")
    assert os.listdir(tmp_path) == ["t.png"]
    done("encode", "t.png", "--background", "white", *MODEL)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "COMMAND"),
        (["encode"], "IN"),
        (["encode", "a.png", "-q", "101"], "0..100"),
        (["encode", "a.png", "-q", "nan"], "0..100"),
        (["encode", "a.png", "-q", "5", "--target-bytes", "900"], "not allowed with"),
        (["encode", "a.png", "--target-bytes", "1e3"], "whole number"),
        (["encode", "a.png", "--target-bpp", "0"], "above 0"),
        (["encode", "a/a.png", "b/a.png", "-o", "out"], "would both become"),
        (["encode", "a.png", "b.png", "-o", "-"], "one input"),
        (["encode", "-", "a.png", "-o", "out"], "only input"),
        (["encode", "*.nothing"], "no file matches"),
        (["encode", "-", "--json"], "--json"),
        (["decode", "."], "no file to read"),
        (["decode", "a.1dc", "-o", "a.xyz"], "suffix"),
        (["decode", "a.png", "-o", "a.png"], "replace itself"),
        (["encode", "a.png", "-o", "b.png"], "is a .1dc file"),
        (["encode", "a.png", "b.png", "-o", "c.1dc"], "folder"),
        (["encode", "a.png", "--background", "nocolour"], "nocolour"),
        (["encode", "a.png", "--threads", "0"], "whole number"),
        (["encode", "a.png", "--device", "nonsense"], "nonsense"),
        (["demo", "a.png", "-q", "300"], "0..100"),
        (["demo", "a.png", "-o", "."], "replace itself"),
        (["compare", "a.png", "-o", "a.html"], "replace itself"),
        (["compare", "a.jpg", "-o", "shown.png"], "an .html file"),
        (["export", "run", "-o", "w.safetensors", "--model-id", "1"], "private"),
        (["eval", "a.png", "-o", "r"], "nothing to measure"),
    ],
)
def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    model = MODEL if argv[:1] in (["encode"], ["decode"]) else ()
    refused(*argv, *model, status=2, message=message)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["encode", "absent.png"], "absent.png: no such file"),
        (["decode", "absent.1dc"], "absent.1dc: no such file"),
        (["info", "absent.1dc"], "absent.1dc"),
    ],
)
def test_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    model = () if argv[0] == "info" else MODEL
    refused(*argv, *model, status=1, message=message)


def test_output_below_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(0).save(tmp_path / "a.png")
    refused("encode", "a.png", "-o", "a.png/b.1dc", *MODEL, status=1, message="folder")


def test_demo_leaves_three_files(photos: Path, tmp_path: Path) -> None:
    done("demo", photos / "b.jpg", "-o", tmp_path / "demo", *MODEL)
    assert sorted(os.listdir(tmp_path / "demo")) == ["b-side-by-side.png", "b.1dc", "b.png"]
    with Image.open(tmp_path / "demo" / "b.png") as image:
        assert image.size == (70, 70)
    refused("demo", photos / "b.jpg", "-o", tmp_path / "demo", *MODEL, status=1, message="exists already")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("step", ["fsync", "link", "replace"])
def test_killed_while_writing_leaves_no_output(tmp_path: Path, step: str) -> None:
    target = tmp_path / "out.1dc"
    force = step == "replace"
    if force:
        target.write_bytes(b"older")
    script = (
        "import os, signal, onedc.files\n"
        f"os.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"onedc.files.write_whole({str(target)!r}, b'x' * 100000, force={force})"
    )
    killed = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (target.read_bytes() == b"older") if force else not target.exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_between_files_leaves_whole_ones(photos: Path, tmp_path: Path, model: tuple[str, ...]) -> None:
    """Killed when the first of several outputs appears: what is there is whole, the rest is absent."""
    out = tmp_path / "out"
    inputs = [str(photos / name) for name in ("a.png", "b.jpg", "c.webp")]
    command = [sys.executable, "-m", "onedc", "encode", *inputs, "-o", str(out), *model]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 120
    while not list(out.glob("*.1dc")) and time.monotonic() < deadline_s:
        time.sleep(0.001)
    running.kill()
    running.wait(timeout=60)
    written = list(out.glob("*.1dc"))
    assert written
    for path in written:
        assert path.read_bytes() == (photos / "out" / path.name).read_bytes()


def in_shell(script: str, folder: Path, model: tuple[str, ...], **environment: str) -> Result:
    """Run a shell's line, in which $onedc is the command and $model its model, in a folder."""
    words = {"onedc": f"{sys.executable} -m onedc", "model": " ".join(model), **environment}
    run = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env=os.environ | words,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return Result(run.returncode, run.stdout, run.stderr)


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_and_full_streams_do_not_end_the_work(
    tmp_path: Path, streams: str, model: tuple[str, ...]
) -> None:
    photo(1).save(tmp_path / "a.png")
    result = in_shell(f"$onedc encode a.png bad.png -o out/ $model {streams}", tmp_path, model)
    assert os.listdir(tmp_path / "out") == ["a.1dc"] and result.returncode == 1
    assert b"Traceback" not in result.stderr and b"internal" not in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("streams", [">&-", "<&- 2>&-"])
def test_closed_streams_are_no_failure(tmp_path: Path, streams: str, model: tuple[str, ...]) -> None:
    photo(1).save(tmp_path / "a.png")
    result = in_shell(f"$onedc encode a.png $model {streams}", tmp_path, model)
    assert result.returncode == 0 and (tmp_path / "a.1dc").exists() and result.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_standard_output_is_told_but_the_files_are_written(
    tmp_path: Path, model: tuple[str, ...]
) -> None:
    for name in ("a.png", "b.png"):
        photo(1).save(tmp_path / name)
    result = in_shell("$onedc encode a.png b.png $model >/dev/full", tmp_path, model)
    assert result.returncode == 1 and {"a.1dc", "b.1dc"} < set(os.listdir(tmp_path))
    assert result.stderr.count(b"\n") <= 1 and b"internal" not in result.stderr
    result = in_shell("$onedc encode a.png -o - $model >/dev/full", tmp_path, model)
    assert result.returncode == 1 and result.stderr.startswith(b"onedc: error: standard output: ")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_closed_input_and_output_of_bytes_are_told(tmp_path: Path, model: tuple[str, ...]) -> None:
    photo(1).save(tmp_path / "a.png")
    result = in_shell("$onedc encode - $model <&- >a.1dc", tmp_path, model)
    assert (result.returncode, result.stderr) == (1, b"onedc: error: standard input is closed\n")
    result = in_shell("$onedc encode a.png -o - $model >&-", tmp_path, model)
    assert (result.returncode, result.stderr) == (1, b"onedc: error: standard output is closed\n")


@pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")
@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "latin-1"])
def test_names_that_cannot_be_printed_do_not_end_the_work(
    tmp_path: Path, encoding: str, model: tuple[str, ...]
) -> None:
    names = [b"a\xe9.png", "b\u65e5\u20ac.png".encode()]
    for name in names:
        path = os.path.join(os.fsencode(tmp_path), name)
        Path(os.fsdecode(path)).write_bytes(png())
    result = in_shell("$onedc encode *.png bad.png $model", tmp_path, model, PYTHONIOENCODING=encoding)
    assert result.returncode == 1 and result.stderr.count(b"\n") == 1, result.stderr
    assert set(os.listdir(os.fsencode(tmp_path))) == {*names, *(name[:-4] + b".1dc" for name in names)}


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_no_bytes_to_a_terminal(tmp_path: Path, model: tuple[str, ...]) -> None:
    import pty

    photo(1).save(tmp_path / "a.png")
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "onedc", "encode", "a.png", "-o", "-", *model]
    result = subprocess.run(
        command, cwd=tmp_path, stdout=end, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(end)
    os.close(terminal)
    assert result.returncode == 1 and b"standard output is a terminal" in result.stderr


def test_warnings_are_lines_with_the_name_of_the_file(tmp_path: Path) -> None:
    photo(1).save(tmp_path / "a.jpg", icc_profile=b"no profile" * 30)
    encode = ("encode", tmp_path / "a.jpg", *MODEL)
    refused(*encode, "--strict", status=1, message="a.jpg: its colour profile cannot be used")
    result = onedc(*encode)
    line = f"onedc: warning: {tmp_path / 'a.jpg'}: its colour profile cannot be used and is ignored"
    assert result.returncode == 0 and result.stderr.decode().startswith(line)
    assert result.stderr.count(b"\n") == 1


def test_pages_and_limits_of_pixels(tmp_path: Path) -> None:
    photo(1).save(tmp_path / "a.gif", save_all=True, append_images=[photo(2)])
    encode = ("encode", tmp_path / "a.gif", *MODEL)
    refused(*encode, status=1, message="--page 1")
    refused(*encode, "--page", "1", "--max-pixels", "99", status=1, message="limit of 99 pixels")
    done(*encode, "--page", "2")


def png() -> bytes:
    buffer = io.BytesIO()
    photo(1).save(buffer, "PNG")
    return buffer.getvalue()


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, model: tuple[str, ...]) -> None:
    place, temporary = tmp_path / "work", tmp_path / "tmp"
    place.mkdir()
    temporary.mkdir()
    photo(4).save(place / "a.png")
    result = in_shell("$onedc encode a.png -o a.1dc $model", place, model, TMPDIR=str(temporary))
    assert result.returncode == 0, result.stderr
    assert [path.name for path in temporary.iterdir()] == []


def test_closed_pipe_is_quiet(photos: Path) -> None:
    command = [sys.executable, "-m", "onedc", "info", *[str(photos / "out" / "a.1dc")] * 3000]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None and running.stderr is not None
    running.stdout.readline()
    running.stdout.close()
    assert running.stderr.read() == b""
    running.stderr.close()
    assert running.wait(timeout=60) == 1


def test_the_table_of_commands_is_that_of_the_parser() -> None:
    (commands,) = (action for action in build_parser()._actions if action.choices)
    assert list(commands.choices or ()) == list(COMMANDS)
    for command in COMMANDS:
        (alone,) = (action for action in build_parser(command)._actions if action.choices)
        assert command in (alone.choices or ())


def _processor_seconds(compiled: Path, *argv: str) -> float:
    """Of one command; modules are compiled into a folder that outlives it, as where they are installed."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled), "PYTHONDONTWRITEBYTECODE": ""}
    before = os.times()
    subprocess.run([sys.executable, *argv], stdout=subprocess.DEVNULL, env=env, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_light_commands_are_fast(photos: Path, tmp_path: Path) -> None:
    """In processor time, against the import of numpy by turns: the speed of the machine falls out."""
    info = ("-m", "onedc", "info", str(photos / "out" / "a.1dc"))
    commands = (("-c", "import numpy"), ("-m", "onedc", "--help"), info)
    turns = [[_processor_seconds(tmp_path, *command) for command in commands] for _ in range(8)]
    numpy_s, help_s, info_s = (sum(times_s) for times_s in zip(*turns[1:], strict=True))
    assert help_s < numpy_s
    assert info_s < 0.75 * numpy_s


@pytest.mark.parametrize(("argv", "status"), [(("--version",), 0), (("info", "none.1dc"), 1), (("info",), 2)])
def test_the_process_ends_at_once_but_not_early(argv: tuple[str, ...], status: int) -> None:
    """Exit handlers that came later still run, what they print still arrives, and the status is kept."""
    code = (
        "import atexit, sys; from onedc.cli import main as command\n"
        "run = command.main\n"
        "command.main = lambda: atexit.register(print, 'last words') and run()\n"
        f"sys.argv = {['onedc', *argv]!r}; command.process()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert result.returncode == status
    assert result.stdout.endswith(b"last words\n")
    assert (b"onedc: error: " in result.stderr) == (status > 0)
