"""The paper's ablations with the bundled model: short runs that differ in one thing, bits at equal quality.

    python runs/ablations.py --data SHARDS --nets NETWORKS -o OUT [--seeds 1 2 3] [--jobs 2]

The generator of the bundled weights (or of --start) is made random again, then each arm trains stage I from
there (`experiments/stage1_ablations.py`), stage II from its base on; figures are those of
`runs/held_out.py`, through the EMA of the weights. What differs in distillation is probed too: how many of
the tokens can be predicted from z (`experiments/probe.py`). A second start goes on where the first stopped.
Writes OUT/ablations.json and OUT/ablations.png, and prints the table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from onedc.cli.jobs import exit_status
from onedc.config import SMALL
from onedc.errors import OneDCError, optional
from onedc.evaluation.rd import OverlapError, Point, bd_rate
from onedc.files import write_whole
from onedc.model.onedc import OneDC
from onedc.pretrained.loading import fill
from onedc.train.checkpoint import CheckpointFolder
from onedc.train.networks.loading import start_tensors
from onedc.train.report import last_validation, read_log
from onedc.weights import BUNDLED
from onedc.weights.file import save_weights

ROOT = Path(__file__).parents[1]
PLUGINS = [str(ROOT / "experiments" / name) for name in ("probe.py", "stage1_ablations.py")]
BASE, STAGE2 = "tokens, distilled", "stage II from it"
NO_DISTILLATION = "objective.distill.weight=0"
NO_PIXELS = tuple(f"objective.weights.{term}=0" for term in ("lpips", "pixel", "coarse", "structure"))
ARMS = {
    BASE: (),
    "tokens, not distilled": (NO_DISTILLATION,),
    "no guidance": (NO_DISTILLATION, "model.guidance=none"),
    "loss in pixels only": ("objective.weights.latent=0",),
    "loss in latents only": (*NO_PIXELS, "objective.weights.latent=2.2"),
}
PROBED = (BASE, "tokens, not distilled")
METRICS = {"lpips": "LPIPS-squeeze", "fdmb": "FDmb"}
Z_BPP = 14 / 64**2
TOKENIZER_STEPS, TEACHER_STEPS, STAGE2_STEPS, PROBE_STEPS = 100, 400, 200, 200


class Runs:
    """What is trained and measured in one folder, each once."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.places = ["--data", args.data, "--nets", args.nets]
        self.folder: Path = args.output
        self.start: Path = args.start
        self.cache = f"data.latent_cache={self.folder / 'latents'}"
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

    def _call(self, what: str, *command: str) -> None:
        if subprocess.run([sys.executable, *command], env=self.environment).returncode:
            raise OneDCError(f"{what}: failed, as said above")

    def train(self, recipe: str, name: str, steps: int, *settings: str) -> Path:
        """The folder of a run, trained to its end if it was not."""
        out = self.folder / name
        if steps not in CheckpointFolder(out, keep=1).steps():
            lengths = (f"run.{key}={steps}" for key in ("steps", "validate_every"))
            plugins = [word for file in PLUGINS for word in ("--plugin", file)]
            command = ["-m", "onedc", "train", recipe, *plugins, *self.places, "--out", str(out), "--resume"]
            self._call(str(out), *command, "--set", *lengths, "run.checkpoint_every=100", *settings)
        return out

    def figures(self, run: Path) -> list[dict[str, float]]:
        """The figures of a run on the held-out photos, one dictionary for each quality byte."""
        file = run / "held-out.json"
        if not file.exists():
            command = [str(ROOT / "runs/held_out.py"), str(run), *self.places, "--side", "256", "--fp32"]
            record = json.loads((run / "run.json").read_text(encoding="utf-8"))
            objective = record["config"]["objective"]
            qualities = map(str, objective.get("stage1", objective)["validation_qualities"])
            self._call(str(file), *command, "--bytes", *qualities, "-o", str(file))
        return list(json.loads(file.read_text(encoding="utf-8")).values())

    def start_of(self, guidance: str) -> Path:
        """The codec of --start with a random generator, as a weights file."""
        out = self.folder / f"start-{guidance}.safetensors"
        if not out.exists():
            torch.manual_seed(0)
            model = OneDC(replace(SMALL, guidance=guidance))
            tensors = start_tensors(self.start, SMALL)
            kept = {name: value for name, value in tensors.items() if not name.startswith("generator.")}
            fill(model, {**model.state_dict(), **kept}, str(self.start))
            save_weights(out, model, model_id=0)
        return out


def folder_of(arm: str, seed: int) -> str:
    """The name of a run's folder."""
    return f"{arm.replace(',', '').replace(' ', '-')}-{seed}"


def stage1_arm(runs: Runs, name: str, seed: int, steps: int, tokens: Path) -> dict[str, Any]:
    """Train an arm of stage I with a seed and measure it."""
    start = runs.start_of("none" if "model.guidance=none" in ARMS[name] else "tokens")
    run = runs.train(
        "ablation-stage1", folder_of(name, seed), steps, runs.cache, f"run.seed={seed}",
        f"nets.start={start}", f"nets.teacher={tokens}", "objective.distill.weight=1", *ARMS[name],
    )  # fmt: skip
    row: dict[str, Any] = {"arm": name, "seed": seed, "figures": runs.figures(run)}
    if name in PROBED:
        probe = runs.train(
            "small-probe", f"{run.name}-probe", PROBE_STEPS, "run.seed=1", "data.crop_px=128",
            "data.validation_images=113", f"optim.decay_steps={PROBE_STEPS // 2}",
            f"nets.start={run}", f"nets.teacher={tokens}",
        )  # fmt: skip
        row["accuracy"] = last_validation(read_log(probe / "log.jsonl"), PROBE_STEPS)["val_distill_accuracy"]
    return row


def stage2_arm(runs: Runs, seed: int, base: Future[dict[str, Any]], teacher: Future[Path]) -> dict[str, Any]:
    """Train stage II from the base of a seed on, once that and the teacher are done, and measure it."""
    base.result()
    run = runs.train(
        "ablation-stage2", folder_of(STAGE2, seed), STAGE2_STEPS, runs.cache, f"run.seed={seed}",
        f"nets.start={runs.folder / folder_of(BASE, seed)}", f"nets.score={teacher.result()}",
    )  # fmt: skip
    return {"arm": STAGE2, "seed": seed, "figures": runs.figures(run)}


def more_bits(row: dict[str, Any], base: dict[str, Any], metric: str) -> float | None:
    """Percent of bits that an arm needs more than the base of its seed at equal metric; None: no overlap."""
    curves: list[list[Point]] = [
        [(point["bpp_y"] + Z_BPP, point[metric]) for point in one["figures"]] for one in (base, row)
    ]
    try:
        return bd_rate(*curves, higher_is_better=False).percent
    except OverlapError:
        return None


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each arm: its bits against the base, of each seed, and the probe's accuracies."""
    bases = {row["seed"]: row for row in rows if row["arm"] == BASE}
    found = []
    for name in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == name]
        more = {metric: [more_bits(row, bases[row["seed"]], metric) for row in own] for metric in METRICS}
        accuracy = [row["accuracy"] for row in own if "accuracy" in row]
        found.append({"arm": name, "seeds": len(own), "more_bits": more, "accuracy": accuracy})
    return found


def spread(values: Iterable[float | None], form: str, unit: str) -> str:
    """Mean of the seeds and, where there are several, half of their range; and how many have one."""
    found = list(values)
    numbers = [value for value in found if value is not None]
    if not numbers:
        return "no overlap"
    error = f" ± {(max(numbers) - min(numbers)) / 2:.1f}" if len(numbers) > 1 else ""
    share = f" ({len(numbers)} of {len(found)} seeds)" if len(numbers) < len(found) else ""
    return f"{statistics.mean(numbers):{form}}{error}{unit}{share}"


def table(found: list[dict[str, Any]]) -> str:
    """The summary in Markdown: mean and half of the range of the seeds."""
    heads = " | ".join(f"bits at equal {label}" for label in METRICS.values())
    lines = [f"| arm | seeds | {heads} | accuracy of the probe |", "|---|---:|---:|---:|---:|"]
    for one in found:
        bits = [
            "0" if one["arm"] == BASE else spread(one["more_bits"][metric], "+.1f", " %")
            for metric in METRICS
        ]
        accuracy = spread((100 * a for a in one["accuracy"]), ".1f", " %") if one["accuracy"] else ""
        lines.append(f"| {one['arm']} | {one['seeds']} | {' | '.join(bits)} | {accuracy} |")
    return "\n".join(lines)


def draw(found: list[dict[str, Any]], place: Path) -> None:
    """Bits of each arm against the base as bars, every seed a dot."""
    shown = [one for one in found if one["arm"] != BASE]
    figure = optional("matplotlib.figure", "eval").Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for shift, colour, (metric, label) in zip(
        (0.2, -0.2), ("tab:blue", "tab:orange"), METRICS.items(), strict=True
    ):
        for line, one in enumerate(reversed(shown)):
            values = [value for value in one["more_bits"][metric] if value is not None]
            if values:
                axes.barh(line + shift, statistics.mean(values), 0.36, color=colour, alpha=0.6)
                axes.plot(values, [line + shift] * len(values), "o", color=colour, markersize=4)
        axes.plot([], [], "o", color=colour, label=label)
    axes.set_yticks(range(len(shown)), [one["arm"] for one in reversed(shown)])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"% of bits more than “{BASE}” at equal metric; a dot is a seed")
    axes.legend()
    figure.savefig(place, dpi=150)


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--start", type=Path, default=BUNDLED, help="run or weights (default: the bundled)")
    parser.add_argument("--data", required=True)
    parser.add_argument("--nets", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400, help="of stage I (default: 400)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each of one thread (default: 1)")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    runs = Runs(args)
    tokens = runs.train(
        "small-tokenizer", "tokens", TOKENIZER_STEPS, "run.seed=1", "data.batch=32",
        f"optim.decay_steps={TOKENIZER_STEPS // 2}", "objective.codes=64",
    )  # fmt: skip
    for guidance in ("tokens", "none"):
        runs.start_of(guidance)
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs: list[Future[dict[str, Any]]] = []
        teacher = pool.submit(
            runs.train, "ablation-teacher", "teacher", TEACHER_STEPS, runs.cache, "run.seed=1"
        )
        for seed in args.seeds:
            jobs += [pool.submit(stage1_arm, runs, name, seed, args.steps, tokens) for name in ARMS]
            jobs.append(pool.submit(stage2_arm, runs, seed, jobs[-len(ARMS)], teacher))
        rows = [job.result() for job in jobs]
    found = summary(rows)
    record = {"summary": found, "rows": rows}
    write_whole(args.output / "ablations.json", json.dumps(record, indent=1).encode(), force=True)
    draw(found, args.output / "ablations.png")
    print(table(found))


if __name__ == "__main__":
    sys.exit(exit_status(main))
