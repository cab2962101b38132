"""The estimated cost of values against the normal distribution."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch

from onedc.model.likelihood import gaussian_bits, lower_bound


@pytest.mark.parametrize(("residual", "scale"), [(0.0, 0.11), (0.3, 0.5), (-2.0, 1.0), (7.0, 3.0)])
def test_bits_are_the_gaussian_mass_of_the_bin(residual: float, scale: float) -> None:
    normal = NormalDist(0, scale)
    expected = -math.log2(normal.cdf(residual + 0.5) - normal.cdf(residual - 0.5))
    found = gaussian_bits(torch.tensor([residual]), torch.tensor([scale]))
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_bits_are_bounded_and_keep_a_gradient() -> None:
    scale = torch.tensor([0.01], requires_grad=True)  # below the smallest table
    bits = gaussian_bits(torch.tensor([3.0]), scale)
    assert bits.item() == pytest.approx(-math.log2(1e-9), rel=1e-4)
    x = torch.tensor([0.5, 2.0], requires_grad=True)
    (lower_bound(x, 1.0) * torch.tensor([-1.0, 1.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-1.0, 1.0]  # below the bound only a push upwards passes


def test_an_offset_bounds_what_a_value_costs() -> None:
    residual, scale = torch.tensor([0.0, 1.0, 50.0]), torch.ones(3)
    mass = torch.special.ndtr(residual + 0.5) - torch.special.ndtr(residual - 0.5)
    bits = gaussian_bits(residual, scale, 1e-5)
    torch.testing.assert_close(bits, -torch.log2(mass + 1e-5))
    assert bits[2] < 16.7 < gaussian_bits(residual, scale)[2]
