"""From a checkpoint to the weights file that the codec loads, with its card beside it."""

from __future__ import annotations

from pathlib import Path

import torch

from onedc.engine.onnx_export import can_export, export_graphs
from onedc.files import refuse_existing, write_whole
from onedc.train.card import model_card
from onedc.train.checkpoint import read_state
from onedc.train.nets import load_checkpoint
from onedc.weights.file import save_weights

CARD_SUFFIX = ".md"
STORAGE = {"int8": torch.int8, "fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def export_checkpoint(checkpoint: Path, output: Path, *, model_id: int, storage: str, force: bool) -> None:
    """Write the model of a checkpoint, its running mean where there is one, and its card.

    Args:
        checkpoint: the folder of one checkpoint, RUN/checkpoints/step-...
        storage: of the float networks; the seam is stored as integers.

    Raises:
        WeightsError: not a checkpoint of a codec, or its seam has no form in integers.
        MissingExtraError: onnx, which makes the graphs of a light model, is not installed.
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
