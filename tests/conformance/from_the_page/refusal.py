"""How the decoder refuses a file."""

from __future__ import annotations


class RefusedError(Exception):
    """The page says that a reader refuses this."""


def require(condition: bool, reason: str) -> None:
    """Refuse what does not meet a condition.

    Raises:
        RefusedError: the condition is false.
    """
    if not condition:
        raise RefusedError(reason)
