"""What must stay light stays light, and what is public stays public."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import onedc
from onedc.container.header import Header
from onedc.container.packing import pack

HEAVY = ("torch", "transformers", "accelerate", "datasets", "tqdm", "matplotlib")


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    script = (
        f"import sys, json\n{code}\njson.dump(sorted({{m.split('.')[0] for m in sys.modules}}), sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def command(*argv: str) -> str:
    return f"from onedc.cli.main import main\ntry:\n    main({list(argv)!r})\nexcept SystemExit:\n    pass"


@pytest.fixture
def small_file(tmp_path: Path) -> str:
    path = tmp_path / "a.1dc"
    path.write_bytes(pack(Header(model_id=0, quality=0, width=8, height=8), b"\x01\x02\x03", b"any"))
    return str(path)


def test_importing_onedc_is_light() -> None:
    loaded = modules_after("import onedc; onedc.FormatError; dir(onedc)")
    assert not loaded & {*HEAVY, "numpy", "PIL", "constriction"}


@pytest.mark.parametrize("argv", [("--help",), ("encode", "--help"), ("decode", "--help"), ("--version",)])
def test_help_is_light(argv: tuple[str, ...]) -> None:
    assert not modules_after(command(*argv)) & {*HEAVY, "numpy", "PIL", "constriction"}


def test_info_is_light(small_file: str) -> None:
    loaded = modules_after(command("info", small_file))
    assert not loaded & {*HEAVY, "numpy", "PIL", "constriction"}
    loaded = modules_after(f"import onedc; onedc.info({small_file!r})")
    assert not loaded & {*HEAVY, "numpy", "PIL", "constriction"}


@pytest.mark.parametrize(
    "module",
    [
        "errors",
        "config",
        "files",
        "image",
        "container.info",
        "container.side_data",
        "entropy.z_prior",
        "codec",
    ],
)
def test_rooms_without_torch(module: str) -> None:
    assert not modules_after(f"import onedc.{module}") & set(HEAVY)


def test_using_the_codec_needs_no_training_library() -> None:
    assert not modules_after("import onedc.engine.torch_engine") & (set(HEAVY) - {"torch", "tqdm"})


def test_an_evaluation_imports_torch_for_what_needs_it(tmp_path: Path) -> None:
    picture, results = Path(__file__).parents[2] / "examples" / "photo.webp", str(tmp_path / "results")
    measured = command(
        "eval", str(picture), "-o", results, "--codec", "jpeg", "--quality", "50,60", "--metrics", "psnr"
    )
    drawn = command("rd", results, "-o", str(tmp_path / "curves"))
    assert "torch" not in modules_after(f"{measured}\n{drawn}")
    assert (tmp_path / "curves" / "rd-psnr.png").exists()


def test_public_names() -> None:
    assert sorted(onedc.__all__) == [
        "Codec",
        "ConfigError",
        "FormatError",
        "ImageError",
        "Info",
        "MissingExtraError",
        "OneDCError",
        "OutputError",
        "WeightsError",
        "__version__",
        "decode",
        "encode",
        "info",
        "load",
        "open",
    ]
    for name in onedc.__all__:
        assert getattr(onedc, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = onedc.nonsense


def test_every_error_has_one_root() -> None:
    errors = [name for name in onedc.__all__ if name.endswith("Error")]
    assert len(errors) == 7
    for name in errors:
        assert issubclass(getattr(onedc, name), onedc.OneDCError)


def test_the_torch_engine_loads_without_the_compiler() -> None:
    """Some operations on the meta device import it, with sympy: 60 MB and a third of a second."""
    modules = modules_after("import onedc\nonedc.load(engine='torch')")
    assert "torch" in modules and "sympy" not in modules
