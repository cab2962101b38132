"""Learning rates and weights over a run, as pure functions of the optimiser step."""

from __future__ import annotations

import math

from onedc.train.config import OptimConfig


def lr_at(optim: OptimConfig, step: int, steps: int) -> float:
    """Learning rate of step 0 .. steps-1: linear rise, plateau, cosine fall over the last `decay_steps`."""
    rise = min(1.0, (step + 1) / optim.warmup_steps) if optim.warmup_steps else 1.0
    into_decay = step - (steps - optim.decay_steps)
    fall = 1.0
    if optim.decay_steps and into_decay >= 0:
        cosine = (1 + math.cos(math.pi * (into_decay + 1) / optim.decay_steps)) / 2
        fall = optim.final_share + (1 - optim.final_share) * cosine
    return optim.lr * rise * fall


def ramped(step: int, ramp_steps: int) -> float:
    """Quadratic rise from 0 at step 0 to 1 at `ramp_steps`, constant after it."""
    share = min(step / ramp_steps, 1.0) if ramp_steps else 1.0
    return share * share
