"""A published file against the weights of a network: under which prefix they lie, that all are there.

Trainers leave the same network under other names: `module.` of several processes, `_orig_mod.` of a compiled
one, a table within a table, a running mean (EMA) beside the weights. What was found is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from onedc.errors import WeightsError
from onedc.pretrained.checkpoint import Checkpoint, list_keys

COMPILED = "_orig_mod."
"""What torch.compile puts before the names of a module, wherever it stands."""

Shapes = Mapping[str, tuple[int, ...]]
Rename = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A file that holds a network."""

    weights: Checkpoint  # under our keys, with the expected shapes
    prefix: str  # before the published keys, "" where there is none
    notes: tuple[str, ...]  # what is worth telling of what was found


def fit(
    file: Checkpoint,
    what: str,
    expected: Shapes,
    rename: Rename = str,
    *,
    ignored: tuple[str, ...] = (),
    prefix: str | None = None,
) -> Fit:
    """The file under our keys, once it holds exactly what is expected.

    Args:
        what: the network, for messages.
        ignored: what published keys begin with that are of no use here.
        prefix: where in the file the network lies; None: found out, a running mean before plain weights.

    Raises:
        WeightsError: missing or unknown weights, or other shapes; some are named. Or the file holds the
            network twice, and nothing says which one to take.
    """
    file, notes = _uncompiled(file)
    if prefix is None:
        prefix, told = _find_prefix(file, what, expected, rename)
        notes += told
    inside = {key.removeprefix(prefix): key for key in file.shapes if key.startswith(prefix)}
    wanted = {key: place for key, place in inside.items() if not key.startswith(ignored)}
    _check(file.name, what, wanted, expected, rename)
    if len(file.shapes) > len(wanted):
        notes.append(f"{len(file.shapes) - len(wanted)} other tensors passed over")
    weights = _shaped(file.chosen(wanted).renamed(rename), what, expected)
    return Fit(weights=weights, prefix=prefix, notes=tuple(notes))


def _uncompiled(file: Checkpoint) -> tuple[Checkpoint, list[str]]:
    if not any(COMPILED in key for key in file.shapes):
        return file, []
    return file.renamed(lambda key: key.replace(COMPILED, "")), [f"names hold {COMPILED!r}"]


def _find_prefix(file: Checkpoint, what: str, expected: Shapes, rename: Rename) -> tuple[str, list[str]]:
    """Where in the file the network lies: the prefix under which most of its weights are."""
    found: Counter[str] = Counter()
    for key in file.shapes:
        starts = [0, *(at + 1 for at, letter in enumerate(key) if letter == ".")]
        found.update(key[:start] for start in starts if rename(key[start:]) in expected)
    whole = [prefix for prefix, count in found.items() if count == len(expected)]
    means = [prefix for prefix in whole if "ema" in prefix.lower()]
    if len(means) == 1 and len(whole) > 1:
        return means[0], [f"the running mean (EMA) under {means[0]!r} was taken"]
    if len(whole) > 1:
        raise WeightsError(
            f"{file.name}: holds the {what} {len(whole)} times, under {list_keys(whole)}; keep one"
        )
    prefix = whole[0] if whole else max(found, key=found.__getitem__, default="")
    return prefix, [f"under {prefix!r}"] if prefix else []


def _check(name: str, what: str, wanted: Mapping[str, str], expected: Shapes, rename: Rename) -> None:
    """Raise WeightsError where the keys are not those expected."""
    ours = {rename(key) for key in wanted}
    missing = expected.keys() - ours
    unknown = [place for key, place in wanted.items() if rename(key) not in expected]
    counts = [
        f"{len(keys)} {kind} ({list_keys(keys)})"
        for kind, keys in (("missing", missing), ("unknown", unknown))
        if keys
    ]
    if counts:
        raise WeightsError(f"{name}: not the {what}: weights {', '.join(counts)}")


def _shaped(file: Checkpoint, what: str, expected: Shapes) -> Checkpoint:
    """The file with the expected shapes; a 1x1 convolution may stand for a linear layer."""
    for key, wanted in expected.items():
        found = file.shapes[key]
        if found[: len(wanted)] != wanted or any(side != 1 for side in found[len(wanted) :]):
            raise WeightsError(f"{file.name}: {key!r} is {list(found)}, the {what} has {list(wanted)}")

    def read(key: str) -> Tensor:
        return file.read(key).reshape(expected[key])

    return Checkpoint(name=file.name, shapes={key: tuple(expected[key]) for key in file.shapes}, read=read)
