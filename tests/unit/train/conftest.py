"""A handful of pictures in a tar, a random LPIPS network, and a config that trains in seconds."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import save_file
from tests.unit.train import tiny_recipes  # noqa: F401  the recipes of tests alone

from onedc.model.lpips import LPIPS
from onedc.train.config import TrainConfig, apply_settings
from onedc.train.recipes import find_recipe

Pictures = dict[str, bytes]

SIZES = ("data.batch=2", "data.crop_px=64", "data.validation_px=64")
"""Settings of a run that takes a moment."""


def picture(seed: int, width: int = 96, height: int = 80) -> bytes:
    """A smooth random picture as PNG bytes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, members: Pictures) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def write_clip(folder: Path, width: int = 64, layers: int = 1, words: int = 8) -> Path:
    """A random text encoder that knows single letters, in the layout of a Stable Diffusion folder."""
    import transformers

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    known = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer/vocab.json").write_text(json.dumps({word: n for n, word in enumerate(known)}))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(known), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // 32, max_position_embeddings=words,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    transformers.CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two tar shards: nine pictures, two of them for validation, with some captions."""
    folder = tmp_path_factory.mktemp("shards")
    names = [f"p-{n}{n}abc" for n in range(9)]
    pictures: Pictures = {f"{name}.png": picture(n) for n, name in enumerate(names)}
    captions = {"p-22abc.txt": b"a blur of colours\n"}
    half = dict(list(pictures.items())[:5])
    write_tar(folder / "a-000.tar", half | captions)
    write_tar(folder / "a-001.tar", {n: d for n, d in pictures.items() if n not in half})
    return folder


def write_catalog(folder: Path, count: int = 5, width: int = 160, height: int = 140) -> Path:
    """A saved dataset of CommonCatalog's columns."""
    import datasets

    rows = {
        "jpg": [{"bytes": picture(n, width, height), "path": None} for n in range(count)],
        "blip2_caption": [f"picture {n}" for n in range(count)],
        "unickname": [f"u{n}" for n in range(count)],
    }
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows).save_to_disk(str(folder))
    return folder


@pytest.fixture(scope="session")
def lpips_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("nets") / "lpips_squeeze.safetensors"
    save_file({k: t.abs() if "lin" in k else t for k, t in LPIPS().state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def tiny(shards: Path, lpips_file: Path) -> Callable[..., TrainConfig]:
    """A config for the test's data: `tiny("run.steps=4")`, `tiny("run.steps=4", recipe="tiny-stage2")`."""

    def make(*settings: str, recipe: str = "tiny-stage1") -> TrainConfig:
        places = (f"data.source={shards}", "data.held_out=p-00,p-11", f"nets.lpips={lpips_file}")
        return apply_settings(find_recipe(recipe), [*places, *SIZES, *settings])

    return make


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """accelerate keeps the precision of a process's first run; each test is to choose its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exported weights hold no graphs, which take long; those that do are tested in test_export.py."""
    monkeypatch.setattr("onedc.train.export.can_export", lambda config: False)
