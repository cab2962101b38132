"""How fast a recipe trains: images a second, operations of a step, share of the measured peak.

    python runs/train_speed.py small-decay --data SHARDS --nets NETWORKS --set data.latent_cache=CACHE
    python runs/train_speed.py small-decay --data SHARDS --nets NETWORKS --set run.precision=no

Trains for some steps into a folder that is thrown away; the first steps are left out. With --processor-time,
seconds are those that the processor works for this process, which others on a shared machine disturb least.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path

import torch

from onedc.cli.jobs import exit_status
from onedc.evaluation.bench import machine_name, measured_peak
from onedc.evaluation.breakdown import Clock, FlopMeter
from onedc.train.config import apply_settings
from onedc.train.data.batches import Batch
from onedc.train.loop import Trainer
from onedc.train.processes import Meter
from onedc.train.recipes import find_recipe, with_places

WARM_UP = 3  # steps left out; the operations are counted in the first


class TimedTrainer(Trainer):
    """A trainer that notes when its steps end, and what one of them computes."""

    def watch(self, clock: Clock) -> None:
        """Note times by this clock from now on."""
        self.watch_clock, self.ends, self.operations = clock, [clock.mark()], 0.0

    def _one_step(self, parts: list[Batch], meter: Meter) -> None:
        if self.operations:
            super()._one_step(parts, meter)
        else:
            flops = FlopMeter()
            with flops.counter:
                super()._one_step(parts, meter)
            self.operations = flops.mark()
        self.ends.append(self.watch_clock.mark())


def main() -> None:
    """Train and time; print a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--data", required=True)
    parser.add_argument("--nets", type=Path, required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processor-time", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    quiet = [f"run.steps={args.steps + WARM_UP}", "run.validate_every=0", "run.log_every=1000"]
    config = apply_settings(
        with_places(find_recipe(args.recipe), data=args.data, nets=args.nets), [*args.set, *quiet]
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = TimedTrainer(config, Path(folder), resume=False)
        device, precision = trainer.accelerator.device, trainer.accelerator.mixed_precision
        clock = Clock(device, busy=args.processor_time)
        trainer.watch(clock)
        trainer.run()
    ends = trainer.ends[WARM_UP:]
    step_ms = statistics.median(clock.between(a, b) for a, b in itertools.pairwise(ends))
    peak = measured_peak(clock, torch.bfloat16 if precision == "bf16" else torch.float32)
    rate = trainer.operations / step_ms * 1000
    found = {
        "machine": machine_name(device),
        "threads": args.threads,
        "recipe": args.recipe,
        "set": args.set,
        "precision": precision,
        "images_per_s": config.data.batch / step_ms * 1000,
        "step_ms": step_ms,
        "step_gflop": trainer.operations / 1e9,
        "gflop_per_s": rate / 1e9,
        "peak_gflop_per_s": peak and peak / 1e9,
        "share_of_peak": peak and rate / peak,
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    sys.exit(exit_status(main))
