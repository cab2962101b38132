"""Python files of the user's, which add metrics, codecs, recipes or stages before a command runs.

What they may add is up to the rooms that have a registry; this one only runs files, each once a process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from onedc.errors import ConfigError, OneDCError


def load_plugins(paths: Iterable[Path]) -> None:
    """Run each file as a module, unless this process has done so before.

    Raises:
        ConfigError: a file that cannot be read or that fails; names its line.
    """
    for path in paths:
        place = path.resolve()
        name = f"onedc_plugin_{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
        if name not in sys.modules:
            _run(path, place, name)


def _run(path: Path, place: Path, name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, place)
    if place.suffix != ".py" or spec is None or spec.loader is None:
        raise ConfigError(f"{path}: a plugin is a Python file, with the suffix .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{path}: {_where(error, place)}") from error


def _where(error: Exception, place: Path) -> str:
    """What went wrong, with the line of the file where there is one."""
    message = str(error) if isinstance(error, OneDCError) else f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):  # says the line itself
        return message
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == place
    ]
    return f"line {lines[-1]}: {message}" if lines else message
