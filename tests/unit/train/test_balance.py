"""The adaptive weight of an adversarial term against its definition."""

from __future__ import annotations

import pytest
import torch

from onedc.train.losses.gan import LARGEST, balanced


def test_the_weight_makes_the_gradients_norms_differ_by_the_share() -> None:
    weight = balanced(torch.tensor(4.0), torch.tensor(6.0), 0.5)
    assert weight.item() * 4 == pytest.approx(0.5 * 6)


def test_the_weight_is_bounded_where_the_adversarial_gradient_vanishes() -> None:
    assert balanced(torch.tensor(0.0), torch.tensor(6.0), 0.5).item() == LARGEST
    assert balanced(torch.tensor(0.0), torch.tensor(0.0), 0.5).item() == 0
    assert balanced(torch.tensor(1e-3), torch.tensor(6.0), 0.5).item() == LARGEST
