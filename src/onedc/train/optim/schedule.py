"""Learning rates and weights over a run, as pure functions of the optimiser step."""

from __future__ import annotations

import math

from onedc.train.config import OptimConfig


def lr_at(optim: OptimConfig, step: int, steps: int, done: float | None = None) -> float:
    """Learning rate of step 0 .. steps-1: linear rise, plateau, cosine fall over the end of the run.

    `decay_share` counts by `done`, the share of the run that is over with this step, or by steps.
    """
    rise = min(1.0, (step + 1) / optim.warmup_steps) if optim.warmup_steps else 1.0
    fallen = 0.0
    if optim.decay_steps:
        fallen = (step + 1 - (steps - optim.decay_steps)) / optim.decay_steps
    elif optim.decay_share:
        done = (step + 1) / steps if done is None else done
        fallen = 1 - (1 - done) / optim.decay_share
    cosine = (1 + math.cos(math.pi * min(max(fallen, 0.0), 1.0))) / 2
    return optim.lr * rise * (optim.final_share + (1 - optim.final_share) * cosine)


def ramped(step: int, ramp_steps: int) -> float:
    """Quadratic rise from 0 at step 0 to 1 at `ramp_steps`, constant after it."""
    share = min(step / ramp_steps, 1.0) if ramp_steps else 1.0
    return share * share
