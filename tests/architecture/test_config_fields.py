"""Every setting of a training run is one that somebody sets: a recipe, a script, or a command on a page."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from onedc.train.config import NetsConfig
from onedc.train.recipes import RECIPES, find_recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = [*sorted((ROOT / "runs").glob("*.*")), ROOT / "src/onedc/cli/train.py"]
OF_THE_MACHINE = {
    ("DataConfig", "source"),
    ("DataConfig", "validation_source"),
    ("DataConfig", "latent_cache"),
    ("DataConfig", "stream_gib"),
    ("DataConfig", "workers"),
    ("DataConfig", "memory_mib"),
    ("RunConfig", "seed"),
    ("RunConfig", "join_seconds"),
    ("RunConfig", "precision"),
    ("RunConfig", "log_every"),
    ("RunConfig", "validate_every"),
    ("RunConfig", "checkpoint_every"),
    ("RunConfig", "keep"),
    *((NetsConfig.__name__, f.name) for f in fields(NetsConfig)),
}
"""Paths, processes, memory, precision, seeds and intervals: everybody's own."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Setting:
    """A field of a recipe's configuration."""

    key: Key  # class and field
    dotted: str  # as --set takes it
    chosen: bool  # whether its value is another than its default


def settings_of(config: Any, prefix: str = "") -> Iterator[Setting]:
    """All settings of a configuration."""
    for field in fields(config):
        value, key = getattr(config, field.name), (type(config).__name__, field.name)
        yield Setting(key, prefix + field.name, value != default_of(field))
        if is_dataclass(value):
            yield from settings_of(value, f"{prefix}{field.name}.")


def default_of(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def unset(configs: Iterable[Any], text: str) -> set[Key]:
    """Fields that no recipe's config chooses a value for, nor any "name=value" of the text."""
    settings = [setting for config in configs for setting in settings_of(config)]
    named = set(re.findall(r"(?<![\w.])([a-z_]+(?:\.[a-z_0-9]+)+)=", text))
    chosen = {setting.key for setting in settings if setting.chosen or setting.dotted in named}
    return {setting.key for setting in settings} - chosen


def configs_in_use() -> list[Any]:
    """Those of the package's recipes and of experiments'; tests have more."""
    with patch.dict(RECIPES):
        runpy.run_path(str(ROOT / "experiments/stage1_ablations.py"))
        made = {name: getattr(make, "func", make) for name, make in RECIPES.items()}
        return [find_recipe(name) for name in made if not made[name].__module__.startswith("tests.")]


def test_every_field_is_set_somewhere() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (*PAGES, *SCRIPTS))
    assert unset(configs_in_use(), text) - OF_THE_MACHINE == set()


def test_a_field_that_nobody_sets_is_found() -> None:
    @dataclass(frozen=True)
    class Some:
        chosen: int = 1
        named: int = 1
        forgotten: int = 1

    @dataclass(frozen=True)
    class Whole:
        some: Some

    configs = [Whole(Some()), Whole(Some(chosen=2))]
    assert unset(configs, "onedc train one --set some.named=3 other.forgotten=2") == {("Some", "forgotten")}
