"""From a checkpoint to the weights file that the codec loads, and the model card that travels with it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from onedc.engine.onnx_export import can_export, export_graphs
from onedc.errors import WeightsError
from onedc.files import refuse_existing, write_whole
from onedc.pretrained.runs import read_state
from onedc.train.networks.loading import load_checkpoint
from onedc.train.report import last_validation, read_log, read_run_file
from onedc.weights.file import read_content, save_changed, save_weights, weights_of

CARD_SUFFIX = ".md"
STORAGE = {"int8": torch.int8, "fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def export_checkpoint(checkpoint: Path, output: Path, *, model_id: int, storage: str, force: bool) -> None:
    """Write the model of a checkpoint, its running mean where there is one, and its card.

    Args:
        checkpoint: the folder of one checkpoint, RUN/checkpoints/step-...
        storage: of the float networks; the seam is stored as integers.

    Raises:
        WeightsError: not a checkpoint of a codec, or its seam has no form in integers.
        MissingExtraError: onnx, which makes the graphs, is not installed.
        OutputError: a file that exists, or cannot be written.
    """
    card_file = f"{output}{CARD_SUFFIX}"
    for path in (output, card_file):
        refuse_existing(path, force=force)
    model = load_checkpoint(checkpoint)
    card = model_card(checkpoint.resolve().parent.parent, read_state(checkpoint)["step"])
    graphs = export_graphs(model.config) if can_export(model.config) else {}
    save_weights(output, model, model_id=model_id, dtype=STORAGE[storage], graphs=graphs)
    write_whole(card_file, card.encode(), force=force)


def add_graphs(weights: Path, output: Path, *, force: bool) -> None:
    """Copy a weights file with its graphs made anew.

    Raises:
        WeightsError: no weights file, or a damaged one.
        ConfigError: a model that has no graphs.
        MissingExtraError: onnx is not installed.
        OutputError: a file that exists, or cannot be written.
    """
    refuse_existing(output, force=force)
    content = read_content(weights)
    graphs = export_graphs(weights_of(content, weights).config)
    save_changed(content, output, graphs=graphs, force=force)


def model_card(run: Path, step: int) -> str:
    """The card of a checkpoint of a run, as Markdown.

    Raises:
        WeightsError: the run's records are missing or damaged.
    """
    try:
        record = read_run_file(run / "run.json")
        lines = read_log(run / "log.jsonl")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{run}: its records cannot be read ({error})") from error
    config = record["config"]
    parts = [
        f"# {config['model']['name']}: weights after {step} steps of {config['recipe']}",
        _training(record, config, step),
        "## Figures on the validation images\n\n" + _figures(lines, step),
        "## Training images\n\n" + _images(Path(config["data"]["source"])),
    ]
    if config["model"]["vae"] == "taef2":
        parts.append(
            "## Autoencoder\n\nTAEF2 by Ollin Boer Bohan (github.com/madebyollin/taesd), "
            f"MIT licence{_vae_history(config)}. Its "
            "notice travels with these weights. Its author does not list the images it was trained on."
        )
    return "\n\n".join(parts) + "\n"


def _vae_history(config: dict[str, Any]) -> str:
    """What became of TAEF2, as far as a run's config tells."""
    if config["model"].get("reduced"):
        return ", reduced and trained on"
    if config["objective"].get("train_decoder"):
        return ", its decoder trained on"
    start = config["nets"]["start"]
    return f", as it stands in {Path(start).name}" if start else ""


def _training(record: dict[str, Any], config: dict[str, Any], step: int) -> str:
    data, commit = config["data"], record["git"].get("commit", "unknown")
    return (
        f"Stage {config['stage'].removesuffix('Config')}, {data['batch']} crops of {data['crop_px']} px a "
        f"step ({step * data['batch']} in all), seed {config['run']['seed']}, source at {commit}, "
        f"torch {record['versions']['torch']}."
    )


def _figures(lines: list[dict[str, float]], step: int) -> str:
    scored = last_validation(lines, step)
    if not scored:
        return "None were taken."
    figures = {n.removeprefix("val_"): v for n, v in scored.items() if n.startswith("val_")}
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in sorted(figures.items()))
    return f"After step {scored['step']}, on crops of images never trained on.\n\n| | |\n|---|---|\n{rows}"


def _images(source: Path) -> str:
    """Licences and sources, from the manifests beside the images where there are any."""
    rows: list[dict[str, str]] = []
    for manifest in sorted(source.glob("MANIFEST*.csv")) if source.is_dir() else []:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            rows += list(csv.DictReader(file))
    if not rows:
        return f"From `{source.name}`, which has no manifest: sources and licences are not known here."
    licences = Counter(row.get("licence_as_stated") or "not stated" for row in rows)
    table = "\n".join(f"| {licence} | {count} |" for licence, count in licences.most_common())
    places = Counter(row.get("source_repo") or "not stated" for row in rows)
    listed = ", ".join(f"{place} ({count})" for place, count in places.most_common())
    return (
        f"{len(rows)} photos, with the licence that each source states.\n\n"
        f"| Licence | Photos |\n|---|---|\n{table}\n\nSources: {listed}."
    )
