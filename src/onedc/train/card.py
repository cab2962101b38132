"""The model card that travels with exported weights: data and licences, steps, figures."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from onedc.config import ModelConfig
from onedc.errors import WeightsError
from onedc.train.nets import has_taef2
from onedc.train.run_log import last_validation, read_log, read_run_file


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
            f"MIT licence{_moved(config)}. Its "
            "notice travels with these weights. Its author does not list the images it was trained on."
        )
    return "\n\n".join(parts) + "\n"


def _moved(config: dict[str, Any]) -> str:
    """What became of TAEF2's decoder, as far as a run's config tells."""
    nets = config["nets"]
    if config["objective"].get("train_decoder"):
        return ", its decoder trained on"
    if nets["start"]:
        return f", as it stands in {Path(nets['start']).name}"
    if nets["vae_decoder"] or not has_taef2(ModelConfig.from_json(json.dumps(config["model"]))):
        return ""
    return ", its decoder trained on (from the weights that come with onedc)"


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
