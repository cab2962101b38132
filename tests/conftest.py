"""What tests in several folders share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from unittest.mock import patch

import pytest


@pytest.fixture(scope="module")
def models_stay_loaded() -> Iterator[None]:
    """Commands that run in this process share a model instead of loading it again each time."""
    from onedc import loading

    with patch.object(loading, "load", cache(loading.load)):
        yield
