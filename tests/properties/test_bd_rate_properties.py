"""BD-rates of curves beside perturbed copies of themselves: small changes of the points change little."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.evaluation.test_summary import record

from onedc.evaluation.curves import Curves, compare
from onedc.evaluation.frechet import FeatureStore
from onedc.evaluation.rd import Point, bd_rate
from onedc.evaluation.records import Record

NOISE = 0.02  # of the metric, as PSNR's
STEP = 0.01  # largest relative change of a rate
ANCHOR = [(0.05, 24.0), (0.1, 26.0), (0.2, 29.0), (0.4, 31.0)]


def percent(anchor: list[Point], test: list[Point], *, higher_is_better: bool = True) -> float:
    return bd_rate(anchor, test, higher_is_better=higher_is_better, noise=NOISE).percent


@st.composite
def curves(draw: st.DrawFn) -> list[Point]:
    """4 to 8 points whose value rises by 1.5 to 4 a factor e of the rate."""
    rate, value, points = -4.0, 20.0, []
    for _ in range(draw(st.integers(4, 8))):
        step = draw(st.floats(0.2, 0.8))
        rate, value = rate + step, value + step * draw(st.floats(1.5, 4))
        points.append((math.exp(rate), value))
    return points


@st.composite
def perturbed(draw: st.DrawFn, points: list[Point]) -> list[Point]:
    """The points, each with up to two more at nearly its rate and nearly its value, in any order."""
    added = [
        (bpp * math.exp(draw(st.floats(-STEP, STEP))), value + draw(st.floats(-NOISE, NOISE)))
        for bpp, value in points
        for _ in range(draw(st.integers(0, 2)))
    ]
    return draw(st.permutations([*points, *added]))


@given(st.data())
def test_more_points_on_the_same_curve_change_little(data: st.DataObject) -> None:
    anchor = data.draw(curves())
    test = data.draw(perturbed(anchor))
    assert abs(percent(anchor, test)) < 3
    mirrored = [[(bpp, -value) for bpp, value in points] for points in (anchor, test)]
    assert abs(percent(*mirrored, higher_is_better=False)) < 3


@given(curves(), st.floats(0.5, 2), st.data())
def test_a_factor_on_the_rate_is_found_under_noise(
    anchor: list[Point], factor: float, data: st.DataObject
) -> None:
    test = data.draw(perturbed([(factor * bpp, value) for bpp, value in anchor]))
    assert math.log1p(percent(anchor, test) / 100) == pytest.approx(math.log(factor), abs=0.03)
    assert bd_rate(anchor, test, higher_is_better=True, noise=NOISE).log_ratio == pytest.approx(
        -bd_rate(test, anchor, higher_is_better=True, noise=NOISE).log_ratio
    )


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize(("rate", "gain"), [(1.01, 0.001), (1.01, -0.001), (0.99, 0.001), (0.99, -0.001)])
def test_one_point_more_beside_another(index: int, rate: float, gain: float) -> None:
    """The first of these gave +15.7 %: PCHIP carried the slope between the two points into the interval."""
    bpp, value = ANCHOR[index]
    near = (rate * bpp, value + gain)
    assert abs(percent(ANCHOR, [*ANCHOR, near])) < 0.5
    assert abs(bd_rate(ANCHOR, [*ANCHOR, near], higher_is_better=True).percent) < 0.5  # without a noise


def test_comparisons_know_the_noise_of_their_metric() -> None:
    def results(codec: str, points: list[Point]) -> list[Record]:
        return [record("p0", codec, round(1000 * bpp), value) for bpp, value in points]

    # Within 1 dB of range, two points 0.03 dB apart: above NEAR_SHARE, within PSNR's noise.
    anchor = [(0.1, 30.0), (0.2, 30.4), (0.4, 30.7), (0.8, 31.0)]
    records = results("a", anchor) + results("b", [*anchor, (0.25, 30.43)])
    found = compare(Curves([records], FeatureStore([])), "b", "a", "psnr")
    assert found.percent == pytest.approx(0)
