"""Stage I of `small`, then with a GAN, at the speed of one large GPU: minutes there are hours of two cores.

    python runs/small_on_gpu.py --data SHARDS --nets NETWORKS --start WEIGHTS_OR_RUN --tokens RUN -o OUT

The networks and the terms are those of `small-decay`, some weighing otherwise (`configured`); what differs is
how they are fed. Windows of all photos and their vae_latents lie on the GPU, crops are cut and noise is drawn
there, loss and gradients are replayed as one CUDA graph, and Muon moves matrices of one shape together. So a
run is not repeatable to the bit, as one of `onedc train` is. The learning rate falls to nothing at the end of
the given time. With --gan-seconds all but the autoencoder moves on for so long against a critic too, from the
running mean on. OUT is a run that `onedc export`, `onedc train` (nets.start) and `runs/held_out.py` take.
Without a GPU it works, slowly.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from onedc.cli.jobs import exit_status
from onedc.cli.streams import tell
from onedc.datasets.photos import Photos
from onedc.errors import ConfigError, ImageError, OneDCError, OutputError
from onedc.image import RGBArray
from onedc.model.lpips import BACKBONES
from onedc.train.balance import balanced
from onedc.train.checkpoint import CheckpointFolder, module_tensors
from onedc.train.config import TrainConfig
from onedc.train.data import Batch, open_data
from onedc.train.dmd import critic_gan_loss, generator_gan_loss
from onedc.train.ema import RunningMean
from onedc.train.muon import is_matrix
from onedc.train.nets import load_lpips, load_model, load_tokenizer
from onedc.train.noise import derived_seed
from onedc.train.recipes import find_recipe, with_places
from onedc.train.report import write_run_file
from onedc.train.score import FeatureHeads
from onedc.train.stage import Figures, Player
from onedc.train.stage1 import PixelTerms, Stage1, windows

VIEW_PX, VIEWS = 512, 8  # side of a photo's windows, and how many of each
SMALLEST_PX, SHRUNK_PX = 250, 400  # shorter sides: of photos that are left out; to which photos are shrunk
PLATEAU, GAN_PLATEAU = 0.35, 0.4  # share of the time before the learning rate falls
WARMUP_STEPS, GAN_AFTER = 50, 100  # steps of the rate's rise, and before the critic is heard
GAN_SHARE, GAN_WEIGHT, GAN_LARGEST = 0.5, 0.3, 3.0  # of other terms' gradient; weight at first, and at most
GAN_RATE = 1e-3  # learning rate of the critic
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024
MOMENTUM, UPDATE_RMS = 0.95, 0.2  # of Muon; the second makes its steps as large as AdamW's


@dataclass(frozen=True)
class DeviceNoise:
    """What a batch takes for `onedc.train.noise.Noise`: drawn on the device, by its own generator."""

    count: int
    device: torch.device

    def uniform(self, _tag: str, *shape: int) -> Tensor:
        """[B,*shape] in 0 <= u < 1."""
        return torch.rand(self.count, *shape, device=self.device)

    def integers(self, _tag: str, low: int, high: int) -> Tensor:
        """[B] int64, low <= n < high."""
        return torch.randint(low, high, (self.count,), device=self.device)


def views(pixels: RGBArray, rng: np.random.Generator) -> Iterator[RGBArray]:
    """Windows of a photo, two in five shrunk first, half mirrored; small photos grow by reflection."""
    if min(pixels.shape[:2]) < SMALLEST_PX:
        return
    for _ in range(VIEWS):
        view, low = pixels, min(pixels.shape[:2])
        if rng.random() < 0.4 and low > SHRUNK_PX:
            share = rng.uniform(max(0.6, SHRUNK_PX / low), 1.0)
            size = (round(pixels.shape[1] * share), round(pixels.shape[0] * share))
            view = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        lacking = [(0, max(VIEW_PX - side, 0)) for side in view.shape[:2]]
        view = np.pad(view, (*lacking, (0, 0)), mode="symmetric")
        top, left = (int(rng.integers(0, side - VIEW_PX + 1)) for side in view.shape[:2])
        view = view[top : top + VIEW_PX, left : left + VIEW_PX]
        yield np.ascontiguousarray(view[:, ::-1] if rng.random() < 0.5 else view)


class Pool:
    """Windows of photos and their vae_latents, both on the device."""

    def __init__(self, config: TrainConfig, vae: Any, device: torch.device) -> None:
        self.device, seed = device, config.run.seed
        data = open_data(config.data)
        photos = Photos(data.source, memory_mib=0)

        def cut(index: int) -> list[RGBArray]:
            try:
                return list(views(photos[index], np.random.default_rng(derived_seed(seed, index, "views"))))
            except ImageError:
                return []

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            found = [view for made in workers.map(cut, data.training) for view in made]
        if not found:
            raise OneDCError(f"{config.data.source}: no photo of {SMALLEST_PX} px or more a side")
        self.x = torch.stack([torch.from_numpy(view).permute(2, 0, 1) for view in found]).to(device)
        self.latents = torch.cat([self._encoded(vae, part) for part in self.x.split(16)])

    @torch.no_grad()
    def _encoded(self, vae: Any, x: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            latents: Tensor = vae.encode(unit(x))
        return latents.half()

    def batch(self, count: int, side: int) -> Batch:
        """Crops of random windows [B,3,side,side]."""
        chosen = torch.randint(0, len(self.x), (count,), device=self.device)
        corners = torch.randint(0, (VIEW_PX - side) // 8 + 1, (count, 2), device=self.device)
        x = windows(self.x[chosen], 8 * corners, side)
        latents = windows(self.latents[chosen], corners, side // 8)
        noise: Any = DeviceNoise(count, self.device)
        return Batch(unit(x), latents.float(), noise, [""] * count, [""] * count, 0)


def unit(x: Tensor) -> Tensor:
    """Bytes [B,3,H,W] -> [-1,1]."""
    return (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices of [K,A,B], nearly, in bf16, by five Newton-Schulz steps."""
    m = matrices.bfloat16()
    wide = m.shape[1] < m.shape[2]
    m = m if wide else m.transpose(1, 2)
    m = m / m.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        square = m @ m.transpose(1, 2)
        m = a * m + (b * square + c * square @ square) @ m
    return m if wide else m.transpose(1, 2)


class Mover:
    """What `optim.kind=muon` does, for matrices of one shape together. Gradients stay where they are."""

    def __init__(self, player: Player) -> None:
        self.parameters, self.player = list(player.parameters.values()), player
        self.matrices: dict[tuple[int, int, bool], list[Tensor]] = {}
        others: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, p in player.parameters.items():
            slow = name in player.slow
            if is_matrix(p):
                self.matrices.setdefault((len(p), p[0].numel(), slow), []).append(p)
            else:
                others[slow].append(p)
        self.momentum = {
            key: torch.zeros(len(ps), *key[:2], device=ps[0].device) for key, ps in self.matrices.items()
        }
        groups = [{"params": ps, "share": self._share(slow)} for slow, ps in others.items() if ps]
        self.adamw = torch.optim.AdamW(groups, betas=player.optim.betas, weight_decay=0.0)

    def _share(self, slow: bool) -> float:
        return self.player.slow_share if slow else 1.0

    @torch.no_grad()
    def step(self, lr: float) -> Tensor:
        """One move; returns the norm of the gradient before clipping."""
        for p in self.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        norm = nn.utils.clip_grad_norm_(self.parameters, self.player.optim.clip)
        for key, ps in self.matrices.items():
            rows, columns, slow = key
            rate = lr * self._share(slow)
            gradient = torch.stack([p.grad.reshape(rows, columns) for p in ps if p.grad is not None])
            self.momentum[key].lerp_(gradient, 1 - MOMENTUM)
            update = orthogonal(gradient.lerp(self.momentum[key], MOMENTUM)).float()
            if not slow:
                torch._foreach_mul_(ps, 1 - rate * self.player.optim.weight_decay)
            update = update * (-rate * UPDATE_RMS * math.sqrt(max(rows, columns)))
            torch._foreach_add_(ps, [u.reshape(p.shape) for u, p in zip(update, ps, strict=True)])
        for group in self.adamw.param_groups:
            group["lr"] = lr * group["share"]
        self.adamw.step()
        return norm


class Step:
    """Loss and gradients of fresh batches: on a GPU one CUDA graph, made once."""

    def __init__(self, stage: Stage1, pool: Pool, mover: Mover, config: TrainConfig) -> None:
        self.stage, self.pool, self.mover, self.data = stage, pool, mover, config.data
        self.graph: torch.cuda.CUDAGraph | None = None
        if pool.device.type == "cuda":
            self._capture()

    def _capture(self) -> None:
        self.batch = self._fresh()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(3):
                self._forget()
                self._gradients(self.batch)
        torch.cuda.current_stream().wait_stream(beside)
        self._forget()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.figures = self._gradients(self.batch)

    def _fresh(self) -> Batch:
        return self.pool.batch(self.data.batch, self.data.crop_px)

    def _forget(self) -> None:
        for p in self.mover.parameters:
            p.grad = None

    def _gradients(self, batch: Batch) -> Figures:
        with torch.autocast(self.pool.device.type, torch.bfloat16, cache_enabled=False):
            loss, figures = self.stage.loss("codec", batch, step=0)
        loss.backward()
        return {name: value.detach() for name, value in {**figures, "loss": loss}.items()}

    def __call__(self) -> Figures:
        """Leave the gradients of a batch in the parameters."""
        fresh = self._fresh()
        if self.graph is None:
            self._forget()
            return self._gradients(fresh)
        assert self.batch.vae_latents is not None and fresh.vae_latents is not None
        self.batch.x.copy_(fresh.x)
        self.batch.vae_latents.copy_(fresh.vae_latents)
        self.graph.replay()
        return self.figures


class Critic:
    """Judges what LPIPS's network sees; heard from step GAN_AFTER on, with GAN_SHARE of the gradient."""

    def __init__(self, device: torch.device) -> None:
        self.heads = FeatureHeads(BACKBONES["squeeze"].widths).to(device)
        self.adamw = torch.optim.AdamW(self.heads.parameters(), lr=GAN_RATE, betas=(0.5, 0.99))
        self.weight = torch.full((), GAN_WEIGHT, device=device)
        self.heard = torch.zeros((), device=device)  # 0 or 1

    def generator_loss(self, terms: PixelTerms) -> Tensor:
        """Low where decoded pictures pass for photos."""
        return torch.stack([generator_gan_loss(logits) for logits in self.heads(terms.seen)]).mean()

    def loss(self, terms: PixelTerms) -> Tensor:
        """Its own loss, which moves nothing else."""
        pairs = zip(self.heads(terms.wanted), self.heads([f.detach() for f in terms.seen]), strict=True)
        return torch.stack([critic_gan_loss(*pair) for pair in pairs]).mean()

    @torch.no_grad()
    def weigh(self, gan: Tensor, others: Tensor) -> Tensor:
        """The weight, a running mean, after these two gradients of the generator's last layer."""
        norms = gan.float().norm(), others.float().norm()
        return self.weight.lerp_(balanced(*norms, GAN_SHARE, GAN_LARGEST), 0.1)

    def move(self, step: int) -> None:
        """Learn from step `step`, counted from 0."""
        self.adamw.step()
        if step + 1 == GAN_AFTER:
            self.heard.fill_(1.0)


class GANStep(Step):
    """A step of stage I that a critic judges too; both learn from one forward pass.

    Gradients of the distortion and of the critic's say meet at the decoded vae_latents and go on as one; the
    autoencoder, which they pass before, has to stand still.
    """

    def __init__(self, stage: Stage1, pool: Pool, mover: Mover, config: TrainConfig, critic: Critic) -> None:
        self.critic = critic
        super().__init__(stage, pool, mover, config)

    def _forget(self) -> None:
        super()._forget()
        self.critic.adamw.zero_grad()

    def _gradients(self, batch: Batch) -> Figures:
        stage, critic, layer = self.stage, self.critic, self.stage.model.generator.unet.conv_out.weight
        autocast = torch.autocast(self.pool.device.type, torch.bfloat16, cache_enabled=False)
        with autocast:
            coded = stage.coded(batch)
            cost, told = stage.cost(batch, coded, step=0)
            leaf = coded.decoded.detach().requires_grad_(True)
            terms = stage.pixel_terms(batch, leaf)
            distortion, figures = stage.distortion(terms, coded._replace(decoded=leaf))
            gan = critic.generator_loss(terms)
        (by_gan,) = torch.autograd.grad(gan, leaf, retain_graph=True)
        (by_others,) = torch.autograd.grad(distortion, leaf)
        grads = (by_gan, by_others)
        pair = (torch.autograd.grad(coded.decoded, layer, g, retain_graph=True)[0] for g in grads)
        weight = critic.heard * critic.weigh(*pair)
        torch.autograd.backward([coded.decoded, cost], [by_others + weight * by_gan, None])
        with autocast:
            critic_loss = critic.loss(terms)
        critic_loss.backward()
        own = {
            "loss": distortion + cost,
            "gan_generator": gan,
            "gan_critic": critic_loss,
            "gan_weight": weight,
        }
        return {name: value.detach() for name, value in {**figures, **told, **own}.items()}


def train(
    stage: Stage1,
    pool: Pool,
    config: TrainConfig,
    seconds: float,
    log: Path,
    *,
    done: int,
    critic: Critic | None,
) -> int:
    """Train for so long after `done` steps, and leave the running mean of the weights; the steps of all."""
    (player,) = stage.players()
    mover, mean = Mover(player), RunningMean(player.parameters, config.run.ema)
    one = GANStep(stage, pool, mover, config, critic) if critic else Step(stage, pool, mover, config)
    plateau, begun, step = GAN_PLATEAU if critic else PLATEAU, time.monotonic(), 0
    sums: dict[str, Tensor] = {}
    while (share := (time.monotonic() - begun) / seconds) < 1:
        fall = min(1.0, (1 - share) / (1 - plateau))
        figures = {**one(), "norm": mover.step(config.optim.lr * fall * min(1.0, (step + 1) / WARMUP_STEPS))}
        if critic:
            critic.move(step)
        mean.update(step)
        step += 1
        sums = {name: sums.get(name, 0) + value.float() for name, value in figures.items()}
        if step % config.run.log_every == 0:
            means = {name: float(s) / config.run.log_every for name, s in sums.items()}
            report(log, done + step, means, share)
            sums = {}
    mean.adopt()
    return done + step


def report(log: Path, step: int, values: Mapping[str, float], share: float) -> None:
    """A line of the log, and of standard error; a loss that is no number ends the run."""
    with log.open("a") as file:
        print(json.dumps({"step": step, **values}), file=file)
    shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
    tell(f"{share:.0%}  step {step}  {shown}")
    if not math.isfinite(values["loss"]):
        raise OneDCError(f"{log}: loss is {values['loss']} at step {step}; try a lower learning rate")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    summary = (__doc__ or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--data", required=True, help="photos, as for onedc train")
    parser.add_argument("--nets", required=True, type=Path, help="pretrained networks, as for onedc train")
    parser.add_argument("--start", required=True, help="weights file, run or checkpoint to begin from")
    parser.add_argument("--tokens", default="", help="run of small-tokenizer, for distillation")
    parser.add_argument("-o", "--output", required=True, type=Path, help="the run's folder")
    parser.add_argument("--seconds", type=float, default=600, help="of training (default: 600)")
    parser.add_argument("--batch", type=int, default=56, help="crops of a step (default: 56)")
    parser.add_argument("--crop-px", type=int, default=384, help="side of a crop (default: 384)")
    parser.add_argument("--lr", type=float, default=5e-4, help="at its peak (default: 5e-4)")
    parser.add_argument("--gan-seconds", type=float, default=0, help="of training with a GAN (default: none)")
    parser.add_argument("--gan-lr", type=float, default=1.5e-4, help="then, at its peak (default: 1.5e-4)")
    parser.add_argument("--seed", type=int, default=1, help="seed of chance (default: 1)")
    return parser.parse_args(arguments)


def configured(args: argparse.Namespace) -> TrainConfig:
    """`small-decay` with other weights of terms and with what the command line says."""
    config = with_places(find_recipe("small-decay"), data=args.data, nets=args.nets)
    objective = replace(
        config.objective,
        weights=replace(config.objective.weights, lpips=2.0),
        drop_y=0.15,
        window_px=max(args.crop_px * 7 // 16 // 8 * 8, 64),
    )
    if args.tokens:
        objective = replace(objective, distill=replace(objective.distill, weight=0.1))
    return replace(
        config,
        objective=objective,
        nets=replace(config.nets, start=args.start, teacher=args.tokens),
        data=replace(config.data, batch=args.batch, crop_px=args.crop_px),
        optim=replace(config.optim, lr=args.lr, warmup_steps=WARMUP_STEPS),
        run=replace(config.run, seed=args.seed, ema=0.997),
    )


def check(args: argparse.Namespace) -> None:
    """Raises ConfigError for numbers that make no sense."""
    if args.crop_px > VIEW_PX:
        raise ConfigError(f"--crop-px {args.crop_px}: at most {VIEW_PX}")
    if not 0 < args.seconds < math.inf or not 0 <= args.gan_seconds < math.inf:
        raise ConfigError(f"--seconds {args.seconds}, --gan-seconds {args.gan_seconds}: not a time")


def save(folder: CheckpointFolder, step: int, stage: Stage1, config: TrainConfig) -> None:
    """A checkpoint of the stage as it is."""
    folder.begin(step)
    folder.write(step, "model", module_tensors(stage.stored()))
    stored = {"step": step, "recipe": config.recipe, "stage": "Stage1Config", "model": config.model.to_json()}
    folder.commit(step, stored)


def run(args: argparse.Namespace) -> None:
    """Train and write a checkpoint of the running mean, at the end and before the GAN."""
    check(args)
    config = configured(args)
    gently = replace(config, optim=replace(config.optim, lr=args.gan_lr))
    folder, log = CheckpointFolder(args.output, keep=1), args.output / "log.jsonl"
    if folder.steps():
        raise OutputError(f"{args.output}: holds a run already; name another folder")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    teacher = load_tokenizer(config.nets) if args.tokens else None
    model = load_model(config.model, config.nets)
    stage = Stage1(model, load_lpips(config.nets), config.objective, config.optim, teacher)
    stage = stage.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    write_run_file(args.output, config, step=0, processes=1)
    log.write_text("")
    pool = Pool(config, model.vae, device)
    tell(f"{len(pool.x)} windows of {VIEW_PX} px")
    step = train(stage, pool, config, args.seconds, log, done=0, critic=None)
    save(folder, step, stage, config)
    if args.gan_seconds:
        stage.zero_grad()  # the first graph's memory
        stage.vae().requires_grad_(False)
        step = train(stage, pool, gently, args.gan_seconds, log, done=step, critic=Critic(device))
        save(folder, step, stage, gently)
    print(folder.path(step))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    return exit_status(lambda: run(parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
