"""The paper's recipes at the paper's widths: three steps each on a CPU, from files in the published layout.

By hand, with 20 GiB of memory free: pytest -m full -s tests/unit/train/test_full_width.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.conformance.published import manifest, needs_recordings
from tests.unit.train.conftest import write_catalog, write_clip

pytest.importorskip("datasets")
pytestmark = [pytest.mark.full, needs_recordings]

LIMIT_GIB = 20
SETTINGS = (
    "run.steps=3", "run.recompute=true", "run.validate_every=0", "run.log_every=1", "run.checkpoint_every=3",
    "optim.kind=sgd", "optim.warmup_steps=0", "data.batch=1", "data.workers=0", "data.resize_share=0",
    "data.large_share=0", "data.held_out=none",
)  # fmt: skip


def write_random(file: Path, published: str, dtype: torch.dtype = torch.float32) -> Path:
    """A file of a published network's keys and shapes; kernels keep the variance of what they meet."""
    torch.manual_seed(0)
    tensors = {}
    for key, shape in manifest(published).items():
        t = torch.zeros(shape)
        if len(shape) > 1:
            t.normal_(std=t[0].numel() ** -0.5)
        elif key.endswith("weight"):
            t += 1
        tensors[key] = t.to(dtype)
    save_file(tensors, file)
    return file


def train(recipe: str, out: Path, settings: Iterable[str]) -> tuple[float, list[dict[str, float]]]:
    """Peak memory in GiB and the log of a run in a process of its own."""
    command = [sys.executable, "-m", "onedc", "train", recipe, "--out", str(out), "--set", *SETTINGS]
    with subprocess.Popen([*command, *settings]) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    peak = usage.ru_maxrss / 2**20
    print(f"\n{recipe}: peak {peak:.1f} GiB, {usage.ru_utime:.0f} s of processor time\n{log}")
    return peak, log


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, lpips_file: Path) -> tuple[str, ...]:
    """Settings that name random networks in the published layouts, and pictures."""
    folder = tmp_path_factory.mktemp("published")
    catalog = write_catalog(folder / "catalog", width=700, height=600)
    return (
        f"data.source=hf:{catalog}",
        f"nets.lpips={lpips_file}",
        "nets.lpips_net=squeeze",
        f"nets.vae={write_random(folder / 'vae.safetensors', 'sd21_vae')}",
        f"nets.generator={write_random(folder / 'unet.safetensors', 'dmd2_sd15_unet', torch.bfloat16)}",
    )


def test_stage1_at_512(tmp_path: Path, places: tuple[str, ...]) -> None:
    teacher = write_random(tmp_path / "maskgit.safetensors", "maskgit_vqgan")
    peak, log = train("sd15-stage1", tmp_path / "run", [*places, f"nets.teacher={teacher}"])
    assert len(log) == 3
    assert {"bpp", "lpips", "l1", "distill_ce", "norm_codec"} <= log[-1].keys()
    assert peak < LIMIT_GIB


def test_stage2_at_256(tmp_path: Path, places: tuple[str, ...]) -> None:
    clip = write_clip(tmp_path, width=768, layers=12, words=77)
    score = places[-1].replace("nets.generator", "nets.score")
    own = ("nets.start=random", "data.crop_px=256", "data.min_side_px=256", "objective.storage=bf16",
           "discriminator_optim.kind=sgd", "discriminator_optim.warmup_steps=0",
           "objective.generator_every=1")  # fmt: skip
    peak, log = train("sd15-stage2", tmp_path / "run", [*places, *own, score, f"nets.text={clip}"])
    assert len(log) == 3
    assert {"dmd", "gan_generator", "lpips", "fake_noise_mse", "gan_discriminator"} <= log[-1].keys()
    assert peak < LIMIT_GIB
