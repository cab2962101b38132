"""onnxruntime has a client that tells its makers of its use. Not in onedc."""

from __future__ import annotations

import os

VARIABLE = "ORT_DISABLE_TELEMETRY"
"""What onnxruntime reads when it is loaded; whoever sets it decides."""


def disable() -> None:
    """Have onnxruntime, loaded after this, neither report its use nor leave a session's id on disk."""
    os.environ.setdefault(VARIABLE, "1")
