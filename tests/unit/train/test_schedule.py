from __future__ import annotations

import pytest

from onedc.train.config import OptimConfig
from onedc.train.optim.schedule import lr_at, ramped


def test_learning_rate_rises_holds_and_falls() -> None:
    optim = OptimConfig(lr=2.0, warmup_steps=4, decay_steps=10, final_share=0.1)
    rates = [lr_at(optim, step, 100) for step in range(100)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[89] == 2.0
    assert rates[94] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert rates[99] == pytest.approx(0.2)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)


def test_constant_without_warmup_and_decay() -> None:
    assert {lr_at(OptimConfig(lr=3.0), step, 10) for step in range(10)} == {3.0}


def test_ramp_is_quadratic_and_starts_low() -> None:
    assert ramped(0, 4000) == 0
    assert ramped(2000, 4000) == pytest.approx(1 / 4)
    assert ramped(4000, 4000) == ramped(9999, 4000) == 1
    assert ramped(0, 0) == 1
