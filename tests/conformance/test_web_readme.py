"""The examples of the browser package's README: they have its types, and do what they say."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.conformance.seams import digest, synthesised
from tests.web_package import WEB, build, example, node

from onedc.loading import load

GOLDEN = Path(__file__).parent / "bundled" / "middle-200x150" / "file.1dc"


def test_the_script_has_the_types_of_the_package(tmp_path: Path) -> None:
    settings = json.loads((WEB / "tsconfig.json").read_text())["compilerOptions"]
    settings |= {"noUnusedLocals": False, "noEmit": True, "rootDir": "/", "declaration": False}
    settings["paths"] = {
        "onedc": [str(WEB / "src/index.ts")],
        "onnxruntime-web": [str(WEB / "node_modules/onnxruntime-web/types.d.ts")],
    }
    config = {"compilerOptions": settings, "files": ["example.ts", str(WEB / "src/assets.d.ts")]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    check = [node(), str(WEB / "node_modules/typescript/bin/tsc"), "-p", str(tmp_path)]
    for name, text, passes in (
        ("right", example("ts"), True),
        ("wrong", example("ts").replace("targetBytes", "target"), False),
    ):
        (tmp_path / "example.ts").write_text(text)
        done = subprocess.run(check, capture_output=True, text=True)
        assert (done.returncode == 0) is passes, (name, done.stdout)


def test_the_integers_in_node_are_those_of_python(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "onedc"
    build(package / "dist")
    shutil.copy(WEB / "package.json", package)
    shutil.copy(GOLDEN, tmp_path / "photo.1dc")
    (tmp_path / "example.mjs").write_text(example("js"))
    run = [node(), "example.mjs"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    codec = load(engine="onnx", threads=1)
    with synthesised(codec) as latents:
        codec.decode(GOLDEN)
    assert done.stdout.split() == ["200", digest(latents[0], "<f4")]
