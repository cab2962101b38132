"""Property tests draw the same examples on every run, and none fails for being slow on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("onedc", deadline=None, derandomize=True, database=None)
settings.load_profile("onedc")
