"""A probe of what z knows: a head predicts the teacher's tokens from the z of a finished codec.

    onedc train small-probe --plugin experiments/probe.py --data SHARDS --nets NETWORKS --out OUT \
        --set nets.start=CODEC nets.teacher=TOKENS

The codec stays as it is, so `distill_accuracy` in validation says how much of the tokens lies in z, whether
it was trained with distillation or without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedc.config import FSQ_DIMS, FSQ_LEVELS, SMALL
from onedc.model.hyperprior import FSQ
from onedc.model.maskgit import MaskGITTokenizer
from onedc.model.onedc import OneDC
from onedc.train.config import HELD_OUT, DataConfig, OptimConfig, RunConfig, TrainConfig
from onedc.train.data.batches import Batch
from onedc.train.losses.distill import CODE_WEIGHT, DistillHead, distillation
from onedc.train.networks.loading import load_model, load_tokenizer
from onedc.train.recipes import RECIPES
from onedc.train.recipes.tiny import tiny_stage1
from onedc.train.stages.build import STAGES
from onedc.train.stages.coding import used_share
from onedc.train.stages.stage import Figures, OptimizerGroup, Stage, trainable
from onedc.train.stages.tokenizer import PixelTokenizer


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Nothing to choose: the head is that of distillation."""


class Probe(Stage):
    """Only the head is trained."""

    best_by = "loss"

    def __init__(
        self,
        model: OneDC,
        teacher: PixelTokenizer | MaskGITTokenizer,
        optim: OptimConfig,
    ) -> None:
        super().__init__()
        self.model, self.teacher = model.requires_grad_(False), teacher.requires_grad_(False)
        self.optim, self.model_config = optim, model.config
        self.head = DistillHead(FSQ_DIMS * FSQ_LEVELS, len(teacher.codebook))

    def stored(self) -> dict[str, nn.Module]:
        return {"head": self.head}

    def optimizer_groups(self) -> list[OptimizerGroup]:
        return [OptimizerGroup("probe", trainable(self.head, "head"), self.optim)]

    def vae(self) -> nn.Module:
        return self.model.vae

    def loss(self, group: str, batch: Batch, step: int) -> tuple[Tensor, Figures]:
        with torch.no_grad():
            _, z_hat = self.model.analyse(batch.x, self.model.vae.encode(batch.x))
            _, indices = self.teacher(batch.x)
        entropy, error, accuracy = distillation(
            self.head(levels_apart(z_hat)), self.teacher.codebook, indices
        )
        used = used_share(self.model.fsq.to_indices(z_hat))
        figures = {"distill_ce": entropy, "distill_mse": error, "distill_accuracy": accuracy, "z_used": used}
        return entropy + CODE_WEIGHT * error, figures

    def validate(self, batch: Batch) -> Figures:
        total, figures = self.loss("probe", batch, 0)
        return figures | {"loss": total}


def levels_apart(z_hat: Tensor) -> Tensor:
    """z_hat [B,7,h,w] -> a channel of zeros and ones for each level of each dimension [B,28,h,w]."""
    return F.one_hot(FSQ.to_levels(z_hat), FSQ_LEVELS).permute(0, 1, 4, 2, 3).flatten(1, 2).float()


def small_probe() -> TrainConfig:
    """How many of the tokens of nets.teacher can be predicted from z of nets.start, a run of stage I."""
    return TrainConfig(
        needs=("start",),
        model=SMALL,
        objective=ProbeConfig(),
        data=DataConfig(batch=16, crop_px=256, held_out=HELD_OUT),
        optim=OptimConfig(lr=1e-3, betas=(0.9, 0.99), warmup_steps=20, decay_steps=300, final_share=0.02),
        run=RunConfig(steps=600, precision="auto", ema=0.99, log_every=25, validate_every=600),
    )


def tiny_probe() -> TrainConfig:
    """For tests only."""
    return replace(tiny_stage1(), objective=ProbeConfig())


STAGES[ProbeConfig] = lambda _, config: Probe(
    load_model(config.model, config.nets), load_tokenizer(config.nets), config.optim
)
RECIPES["small-probe"], RECIPES["tiny-probe"] = small_probe, tiny_probe
