"""Teaches Pillow the .1dc format on `import onedc`, and still leaves Pillow unloaded until somebody needs it.

Pillow finds no plugins by itself: a format must be registered. Knows nothing of the format.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_TRIGGER = "PIL.ImageFile"
"""The module that Pillow imports before it opens or saves its first file."""
_PLUGIN = "onedc.pillow"
"""The module that registers the format when it is imported."""


def install() -> None:
    """Register the format: now if Pillow has its formats already, else as soon as it has."""
    if _TRIGGER in sys.modules:
        import_module(_PLUGIN)
    else:
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds the trigger where the other finders find it, and has the plugin imported behind it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _TRIGGER:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _ThenPlugin(spec.loader))
        return spec


class _ThenPlugin:
    """The loader of the trigger, which gives way to the real one once it is used.

    Not derived from importlib.abc.Loader, since importing that takes longer than importing onedc.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        import_module(_PLUGIN)
