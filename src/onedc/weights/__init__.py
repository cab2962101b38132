"""Weights files: reading, writing, packing, families. The bundled one lies here too."""

from pathlib import Path

BUNDLED = Path(__file__).parent / "small.safetensors"
