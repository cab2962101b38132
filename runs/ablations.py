"""The ablations of docs/training-results.md: short runs of stage I that differ in one thing.

    python runs/ablations.py --data SHARDS --nets NETWORKS -o OUT [--latents FOLDER] [--weight W]

First a tokenizer of 64 codes; then for each arm and seed `small-stage1` from the linear start, on crops of
128 px, and for the arms that differ in distillation `small-probe`, which says how many of the tokens can be
predicted from their z. Figures are of the held-out photos, through the EMA of the weights. Stopped and
started again, it goes on where it was.
Writes OUT/ablations.json and prints the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from onedc.cli.jobs import exit_status
from onedc.errors import OneDCError
from onedc.evaluation.rd import Point, bd_rate
from onedc.files import write_whole
from onedc.train.checkpoint import CheckpointFolder
from onedc.train.report import last_validation, read_log

QUALITY_BYTES = (85, 128, 170)
PROBE_STEPS, TOKENIZER_STEPS = 600, 100
ARMS = {
    "base": (),
    "no distillation": ("objective.distill.weight=0",),
    "no guidance": ("model.guidance=none",),
    "pixels only": ("objective.weights.latent=0",),
}
"""Base: guidance by tokens, distillation, loss in pixels and latents."""
PROBE = Path(__file__).parents[1] / "experiments/probe.py"
PROBED = ("base", "no distillation")


class Runs:
    """Runs of `onedc train` in one folder, each trained once."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.places = ["--data", args.data, "--nets", args.nets]
        self.folder: Path = args.output
        self.cached = [f"data.latent_cache={args.latents or self.folder / 'latents'}"]

    def train(self, recipe: str, name: str, steps: int, *settings: str) -> Path:
        """The folder of a run, trained to its end if it was not; its figures are validated there once."""
        out = self.folder / name
        if steps not in CheckpointFolder(out, keep=1).steps():
            lengths = (f"run.{key}={steps}" for key in ("steps", "validate_every", "checkpoint_every"))
            command = [sys.executable, "-m", "onedc", "train", recipe, "--plugin", str(PROBE)]
            command += [*self.places, "--out", str(out)]
            if subprocess.run([*command, "--resume", "--set", *lengths, *settings]).returncode:
                raise OneDCError(f"{out}: not trained, as said above")
        return out


def arm(runs: Runs, name: str, seed: int, steps: int, weight: float, tokens: Path) -> dict[str, Any]:
    """Train an arm with a seed, and where it is probed what reads tokens from its z; their figures."""
    distilled = "objective.distill.weight=0" not in ARMS[name]
    label = f"{name.replace(' ', '-')}-{weight if distilled else 0:g}-{seed}"
    teacher = f"nets.teacher={tokens}"
    codec = runs.train(
        "small-stage1", label, steps, *runs.cached, f"run.seed={seed}", "run.ema=0.99",
        "data.crop_px=128", "data.validation_images=32",
        "optim.lr=3e-4", "optim.warmup_steps=50", f"optim.decay_steps={steps // 2}",
        f"objective.validation_qualities={','.join(map(str, QUALITY_BYTES))}",
        teacher, f"objective.distill.weight={weight}", *ARMS[name],
    )  # fmt: skip
    found: dict[str, Any] = {"arm": name, "seed": seed}
    if name in PROBED:
        probe = runs.train(
            "small-probe", f"{label}-probe", PROBE_STEPS, *runs.cached, "run.seed=1",
            "data.crop_px=128", "data.validation_images=113", f"optim.decay_steps={PROBE_STEPS // 2}",
            f"nets.start={codec}", teacher,
        )  # fmt: skip
        found["accuracy"] = validated(probe, PROBE_STEPS)["val_distill_accuracy"]
    figures = validated(codec, steps)
    for byte in QUALITY_BYTES:
        found |= {f"{key}_{byte}": figures[f"val_{key}_{byte}"] for key in ("bpp", "lpips", "psnr")}
    return found


def validated(run: Path, steps: int) -> dict[str, float]:
    """The figures of validation that a run left at its end."""
    return last_validation(read_log(run / "log.jsonl"), steps)


def more_bits(row: dict[str, Any], base: dict[str, Any], metric: str) -> float:
    """Percent of bits that an arm needs more than the base of its seed at equal metric."""
    curves: list[list[Point]] = [
        [(one[f"bpp_{byte}"], one[f"{metric}_{byte}"]) for byte in QUALITY_BYTES] for one in (base, row)
    ]
    return bd_rate(*curves, higher_is_better=metric == "psnr").percent


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    middle = QUALITY_BYTES[1]
    lines = [
        f"| arm | seed | bpp, LPIPS, PSNR at byte {middle} | bits at equal LPIPS, PSNR | accuracy |",
        "|---|---:|---|---|---:|",
    ]
    bases = {row["seed"]: row for row in rows if row["arm"] == "base"}
    for row in rows:
        at_middle = "{:.4f} {:.4f} {:.2f}".format(
            *(row[f"{key}_{middle}"] for key in ("bpp", "lpips", "psnr"))
        )
        against = [more_bits(row, bases[row["seed"]], metric) for metric in ("lpips", "psnr")]
        bits = "" if row["arm"] == "base" else "{:+.1f} % {:+.1f} %".format(*against)
        accuracy = f"{row['accuracy']:.1%}" if "accuracy" in row else ""
        lines.append(f"| {row['arm']} | {row['seed']} | {at_middle} | {bits} | {accuracy} |")
    return "\n".join(lines)


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--nets", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--latents", type=Path, help="cache of vae_latents to share with other runs")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--weight", type=float, default=1.0, help="of distillation (default: 1)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    runs = Runs(args)
    tokens = runs.train(
        "small-tokenizer", "tokens", TOKENIZER_STEPS, "run.seed=1", "data.batch=32",
        f"optim.decay_steps={TOKENIZER_STEPS // 2}", "objective.codes=64",
    )  # fmt: skip
    rows = [arm(runs, name, seed, args.steps, args.weight, tokens) for name in ARMS for seed in args.seeds]
    write_whole(args.output / "ablations.json", json.dumps(rows, indent=1).encode(), force=True)
    print(table(rows))


if __name__ == "__main__":
    sys.exit(exit_status(main))
