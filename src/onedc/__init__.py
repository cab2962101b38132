"""onedc: photos in a few hundred bytes to a few kilobytes, and back.

The public names. They load on first use, so that importing this package loads neither torch nor numpy.
Importing it also makes Pillow open and save .1dc files.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onedc.engine.environment import prepare as _prepare_environment
from onedc.pillow_hook import install as _install_pillow_hook

if TYPE_CHECKING:
    from onedc.codec import Codec
    from onedc.container.info import Info, info
    from onedc.errors import (
        ConfigError,
        FormatError,
        ImageError,
        MissingExtraError,
        OneDCError,
        OutputError,
        WeightsError,
    )
    from onedc.loading import decode, encode, load
    from onedc.pillow import open

__version__ = "0.1.0"

__all__ = [
    "Codec",
    "ConfigError",
    "FormatError",
    "ImageError",
    "Info",
    "MissingExtraError",
    "OneDCError",
    "OutputError",
    "WeightsError",
    "__version__",
    "decode",
    "encode",
    "info",
    "load",
    "open",
]

_HOMES = {
    "Codec": "onedc.codec",
    **dict.fromkeys(("decode", "encode", "load"), "onedc.loading"),
    **dict.fromkeys(("Info", "info"), "onedc.container.info"),
    "open": "onedc.pillow",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module, once."""
    if name not in __all__:
        raise AttributeError(f"module 'onedc' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "onedc.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


_install_pillow_hook()
_prepare_environment()
