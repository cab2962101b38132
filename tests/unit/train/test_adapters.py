"""Adapters of the generator's UNet: the paper's layers and counts, and what merging them means."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onedc.config import SD15, TINY
from onedc.errors import ConfigError
from onedc.model.lora import DOWN, adapt
from onedc.model.synthesis import OneStepGenerator
from onedc.train.checkpoint import find_checkpoint
from onedc.train.config import TrainConfig, apply_settings
from onedc.train.export import export_checkpoint
from onedc.train.loop import Trainer
from onedc.train.networks.loading import checkpoint_model
from onedc.train.recipes import find_recipe
from onedc.weights.lora import merged


def test_layers_and_counts_are_the_papers() -> None:
    with torch.device("meta"):
        generator = OneStepGenerator(SD15)
        adapt(generator.unet, 64)
    names = [name for name, _ in generator.named_parameters() if "adapter" in name]
    assert len(names) == 2 * 278
    sizes = {name: p.numel() for name, p in generator.named_parameters() if p.requires_grad}
    assert round(sum(sizes[name] for name in names) / 1e6, 3) == 67.252
    assert round(sum(sizes.values()) / 1e6, 3) == 69.110


def test_merged_layers_do_what_the_adapted_did() -> None:
    torch.manual_seed(0)
    generator = OneStepGenerator(TINY).eval()
    x, tokens, quality = torch.randn(1, 32, 16, 16), torch.randn(1, 64, 2, 2), torch.tensor([90])
    before = generator(x, tokens, quality)
    adapt(generator.unet, 4)
    torch.testing.assert_close(generator(x, tokens, quality), before)
    for name, p in generator.named_parameters():
        if "adapter_up" in name:
            torch.nn.init.normal_(p, std=0.1)
    adapted = generator(x, tokens, quality)
    assert (adapted - before).abs().max() > 0.1
    other = OneStepGenerator(TINY).eval()
    other.load_state_dict(merged(generator.state_dict(), "run"))
    torch.testing.assert_close(other(x, tokens, quality), adapted, atol=1e-4, rtol=1e-4)


def test_stages_move_adapters_alone_and_hand_on_merged_layers(
    tiny: Callable[..., TrainConfig], tmp_path: Path, no_graphs: None
) -> None:
    quick = (
        "run.adapter_rank=4",
        "run.steps=2",
        "run.validate_every=0",
        "run.checkpoint_every=1",
    )
    first = tiny(*quick, "run.recompute=true")
    trainer = Trainer(first, tmp_path / "one", resume=False)
    start = {
        n: p.clone() for n, p in trainer.stage.named_parameters() if n.startswith("model.generator.unet.")
    }
    trainer.clock.over = lambda: trainer.step >= 1  # type: ignore[method-assign]
    trainer.run()
    trainer = Trainer(first, tmp_path / "one", resume=True)
    assert trainer.run().finished
    moved = {n for n, p in trainer.stage.named_parameters() if n in start and not torch.equal(p, start[n])}
    assert any(name.endswith(DOWN) for name in moved)
    assert all("adapter" in name or ".conv_in." in name for name in moved)
    place = find_checkpoint(tmp_path / "one")
    handed = checkpoint_model(place)
    assert not any("adapter" in name for name in handed)
    export_checkpoint(place, tmp_path / "w.safetensors", model_id=0, storage="fp32", force=False)
    own = ("objective.generator_every=1", "run.precision=bf16", "objective.storage=bf16")
    second = tiny(*quick, *own, f"nets.start={tmp_path / 'one'}", recipe="tiny-stage2")
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    trainer = Trainer(second, tmp_path / "two", resume=False)
    kept = dict(trainer.stage.named_parameters())["model.generator.unet.mid_block.resnets.0.conv1.weight"]
    assert (kept.dtype, kept.requires_grad) == (torch.bfloat16, False)
    assert trainer.run().finished
    assert "dmd" in json.loads((tmp_path / "two/log.jsonl").read_text().splitlines()[-1])


def test_a_negative_rank_is_refused() -> None:
    with pytest.raises(ConfigError, match="adapter_rank"):
        apply_settings(find_recipe("tiny-stage1"), ["run.adapter_rank=-1"])
