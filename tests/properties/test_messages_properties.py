"""As many losses as there is parity are repaired, in any pattern; any bytes give a result or an error."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.message_losses import outcome

from onedc.errors import FormatError
from onedc.messages import HEAD_BYTES, MOST_MESSAGES, join, split


@pytest.mark.parametrize("parity", [1, 2, 3])
@pytest.mark.parametrize("length", [3, 50, 53, 54])
def test_every_pattern_of_losses_is_repaired(length: int, parity: int) -> None:
    data = b"\x1d\xb4" + bytes(range(length - 2))
    messages = split(data, 14, parity=parity)
    for lost in combinations(range(len(messages)), parity):
        left = [message for number, message in enumerate(messages) if number not in lost]
        found = join(left)
        assert (found.data, found.missing) == (data, ()), lost


@settings(max_examples=50, deadline=None)
@given(
    st.binary(min_size=1, max_size=600),
    st.integers(46, 300),
    st.integers(0, 2),
    st.randoms(use_true_random=False),
)
def test_any_file_in_any_size(payload: bytes, size: int, parity: int, rng: random.Random) -> None:
    data = b"\x1d\xb4" + payload
    messages = split(data, size, parity=parity)
    assert all(HEAD_BYTES <= len(message) <= size for message in messages)
    assert len(messages) <= MOST_MESSAGES
    rng.shuffle(messages)
    assert join(messages[parity:]).data == data


@given(st.lists(st.binary(max_size=9) | st.just(b"\x10\x00abc"), max_size=9))
def test_any_bytes_give_a_result_or_an_error(messages: list[bytes]) -> None:
    try:
        join(messages)
    except FormatError as error:
        assert "\n" not in str(error)


def test_a_sample_of_random_losses() -> None:
    rng = random.Random(1)
    found = {outcome(rng) for _ in range(60)}
    assert {"repairable: whole", "too many lost: the part before the first hole, named as such"} <= found
