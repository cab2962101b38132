"""Published files to the files that recipes and metrics read, and checks of these. Nothing is fetched here.

A converted file has our keys and the stored precision; its metadata say what it was made of.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onedc.errors import OutputError, WeightsError, refused_as
from onedc.files import file_sha256, make_folder
from onedc.model.lpips import LPIPS
from onedc.pretrained.checkpoint import (
    INDEX_SUFFIX,
    Checkpoint,
    from_tensors,
    joined,
    open_checkpoint,
    shards_of,
)
from onedc.pretrained.fitting import Fit, fit
from onedc.pretrained.loading import LAYOUTS, shapes_of
from onedc.pretrained.places import find_weights, folder_from_hub
from onedc.pretrained.table import PARTS, TEXT, Network, find_networks
from onedc.weights.stream_writer import Entry, write_safetensors

LPIPS_NAMES = ("lpips-squeeze", "lpips-vgg", "lpips-alex")
_TOKENIZER_FILE = "tokenizer_config.json"


@dataclass(frozen=True, kw_only=True)
class State:
    """What a check found of one network in a folder."""

    network: Network
    path: Path
    there: bool
    fault: str = ""  # what is wrong, in one line
    sha256: str = ""

    @property
    def known(self) -> bool:
        """Whether it is the very file that was seen before."""
        return bool(self.network.seen) and self.network.seen == self.sha256


def convert_network(network: Network, files: Sequence[str], folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Write a network's file into a folder.

    Args:
        files: the published file or files, in the order of `network.sources`; a folder or hub id in
            diffusers' layout for what is published so.
    Returns:
        What was written, and what is worth telling of the sources.

    Raises:
        WeightsError: a file that is missing, damaged or of another network.
        OutputError: it cannot be written.
    """
    make_folder(folder)
    target = folder / network.file
    if network.name == TEXT:
        return _convert_text(files[0], target)
    if network.name in LPIPS_NAMES and len(files) > 1:
        paths = [Path(file) for file in files]
        weights, notes = _lpips_weights(network, *paths)
    else:
        paths = [find_weights(files[0], PARTS[network.name]) if network.name in PARTS else Path(files[0])]
        found = fitted(network, paths[0])
        weights, notes = found.weights, found.notes
    _write(target, network, weights, paths)
    return target, notes


def fitted(network: Network, path: Path) -> Fit:
    """A file that holds the whole of a network, under our keys. Raises WeightsError: it does not."""
    layout = LAYOUTS[network.name]
    file = open_checkpoint(path)
    found = fit(file, network.name, layout.build(), layout.rename, ignored=layout.ignored)
    variant = (f"a half-precision variant ({path.name})",) if ".fp16." in path.name else ()
    return Fit(weights=found.weights, prefix=found.prefix, notes=found.notes + variant)


def check_network(network: Network, folder: Path) -> State:
    """What a folder holds of a network: whether its file is whole, finite and of that network."""
    path = folder / network.file
    if not path.exists():
        return State(network=network, path=path, there=False)
    try:
        file = _text_file(path) if network.name == TEXT else path
        weights = fitted(network, file).weights
        for key in weights.shapes:
            weights.tensor(key)
    except WeightsError as error:
        return State(network=network, path=path, there=True, fault=str(error))
    return State(network=network, path=path, there=True, sha256=file_sha256(file))


def _lpips_weights(network: Network, backbone: Path, linear: Path) -> tuple[Checkpoint, tuple[str, ...]]:
    """torchvision's classifier and lpips's linear weights as one network."""
    net = LPIPS(network.name.removeprefix("lpips-"))
    shapes = shapes_of(net)
    features = {key: shape for key, shape in shapes.items() if key.startswith("net.")}
    lines = {key: shape for key, shape in shapes.items() if key.startswith("lin")}
    parts = [
        fit(
            open_checkpoint(backbone),
            f"backbone of {network.name}",
            features,
            "net.{}".format,
            ignored=("classifier.",),
        ),
        fit(open_checkpoint(linear), f"linear weights of {network.name}", lines, _linear_key),
    ]
    constants = from_tensors("constants", {"shift": net.shift, "scale": net.scale})
    weights = joined(network.name, [*(part.weights for part in parts), constants])
    return weights, tuple(note for part in parts for note in part.notes)


def _linear_key(published: str) -> str:
    return published.replace(".model.1.", ".")


def _write(target: Path, network: Network, weights: Checkpoint, paths: Sequence[Path]) -> None:
    """Tensor by tensor; the file is there whole or not at all."""
    entries = {
        key: Entry(dtype=weights.read(key).dtype, shape=shape, read=partial(weights.tensor, key))
        for key, shape in weights.shapes.items()
    }
    origin = [{"file": path.name, "sha256": file_sha256(path)} for path in paths]
    write_safetensors(target, entries, {"network": network.name, "origin": json.dumps(origin)})


def _text_file(folder: Path) -> Path:
    """The weights of a folder of a text encoder that has a tokenizer too.

    Raises:
        WeightsError: something is missing.
    """
    weights = find_weights(str(folder), "text_encoder")
    if not (weights.parent / "config.json").is_file():
        raise WeightsError(f"{weights.parent}: no config.json beside the weights")
    if not any((place / _TOKENIZER_FILE).is_file() for place in (folder / "tokenizer", folder)):
        raise WeightsError(f"{folder}: no {_TOKENIZER_FILE} in this folder or its tokenizer/")
    return weights


def _convert_text(place: str, target: Path) -> tuple[Path, tuple[str, ...]]:
    """Copy encoder and tokenizer of a folder in diffusers' layout, or of a hub's repository."""
    if not Path(place).is_dir():
        parts = [folder_from_hub(place, part) for part in ("text_encoder", "tokenizer")]
        place = str(parts[0][0].parents[1])
    source = Path(place)
    weights = _text_file(source)
    notes = fitted(find_networks((TEXT,))[0], weights).notes
    tokenizer = source / "tokenizer" if (source / "tokenizer").is_dir() else source
    shards = shards_of(weights) if weights.suffix == INDEX_SUFFIX else ()
    files = {f"text_encoder/{name}": weights.parent / name for name in ("config.json", weights.name, *shards)}
    files |= {
        f"tokenizer/{path.name}": path for path in tokenizer.iterdir() if path.suffix in (".json", ".txt")
    }
    _copy_whole(files, target)
    return target, notes


def _copy_whole(files: Mapping[str, Path], target: Path) -> None:
    """Copy files to places below a new folder, which is there with all of them or not at all."""
    part = target.with_name(f".{target.name}.part")
    with refused_as(OutputError, f"{target}: cannot be written"):
        shutil.rmtree(part, ignore_errors=True)
        for name, path in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, part / name)
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
