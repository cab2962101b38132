"""The one loop of all stages: optimizers, schedules, validation, checkpoints, slices of time.

accelerate gives the device, the precision and the collectives. What is learned is the stage's matter.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import AutocastKwargs, set_seed
from torch import Tensor

from onedc.datasets.photos import Photos
from onedc.errors import ConfigError, OneDCError, WeightsError
from onedc.pretrained.runs import read_state
from onedc.train import checkpoint as ck
from onedc.train.config import OptimConfig, TrainConfig
from onedc.train.data.batches import Batch, Collate, Positions, loader, to_device, validation_batches
from onedc.train.data.crops import Crops, open_data
from onedc.train.data.latents import LatentCache, fingerprint
from onedc.train.data.noise import derived_seed
from onedc.train.data.pool import Pool
from onedc.train.optim.optimizer import GroupOptimizer, RunningMean
from onedc.train.optim.schedule import lr_at
from onedc.train.processes import Clock, Meter, make_accelerator
from onedc.train.replay import Replay
from onedc.train.report import RunLog, write_run_file
from onedc.train.stages.build import build_stage
from onedc.train.stages.stage import Figures, Stage


@dataclass(frozen=True)
class Outcome:
    """How a session of a run ended."""

    step: int  # optimizer steps done, all sessions together
    finished: bool


class Trainer:
    """One session of a run: from its last checkpoint, or the start, to its end or the end of its time."""

    def __init__(
        self, config: TrainConfig, out: Path, *, resume: bool, max_minutes: float | None = None
    ) -> None:
        self.config, self.out = config, out
        self.accelerator = make_accelerator(config.run)
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.clock = Clock(self.accelerator, max_minutes)
        self.checkpoints = ck.CheckpointFolder(out, config.run.keep)
        done = self.checkpoints.steps()
        if done and not resume:
            raise ConfigError(f"{out}: holds a run already; go on with --resume, or name another folder")
        data = open_data(config.data)
        self.training, self.validation = data.training, data.validation
        count = min(len(self.validation), config.data.validation_images)
        if config.run.validate_every and 0 < count < self.world:
            raise ConfigError(f"data.validation_images: {count} images for {self.world} processes")
        self.photos = self.validation_photos = Photos(data.source, config.data.memory_mib)
        if data.validation_source is not data.source:
            self.validation_photos = Photos(data.validation_source, config.data.memory_mib)
        set_seed(config.run.seed)  # the same start in all processes
        self.stage: Stage = build_stage(config)
        self.stage.to(self.accelerator.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizers = [GroupOptimizer(group, self.accelerator) for group in self.stage.optimizer_groups()]
        averaged = {n: p for o in self.optimizers if o.group.ema for n, p in o.group.parameters.items()}
        self.mean = RunningMean(averaged, config.run.ema) if config.run.ema else None
        self.step, self.skipped, self.begun = 0, 0, time.monotonic()
        self.replay = self._replay()
        if done:
            self._restore(self.checkpoints.path(done[-1]))
        set_seed(derived_seed(config.run.seed, self.rank, self.step) % 2**32)  # for a pool alone
        self.positions = Positions(
            config.data, config.run.seed, start=self.step, steps=config.run.steps,
            rank=self.rank, world=self.world, parts=config.run.accumulation,
        )  # fmt: skip

    def run(self) -> Outcome:
        """Train. Ends with a checkpoint, also when time is over or the process is asked to stop.

        Raises:
            OneDCError: a loss that is not a number, or a file that cannot be written; the last checkpoint
                stands.
        """
        config = self.config
        log = None
        if self.accelerator.is_main_process:
            write_run_file(self.out, config, step=self.step, processes=self.world)
            log = RunLog(self.out, step=self.step, steps=config.run.steps, images=config.data.batch)
            if config.run.validate_every and not self.validation:
                log.say("no validation: set data.validation_source, or data.held_out to names of data.source")
        cache = self._cache()
        try:
            with self.clock.listening():
                if cache is None or self._fill(cache, log):
                    self._begin(cache)
                    self._steps(cache, log)
        finally:
            if log:
                log.close()
        return Outcome(self.step, self.done >= 1)

    @property
    def done(self) -> float:
        """Share of the run that is over: of its steps or, in this session, of its time."""
        run = self.config.run
        by_time = (time.monotonic() - self.begun) / (60 * run.minutes) if run.minutes else 0.0
        return max(self.step / run.steps, by_time)

    def _replay(self) -> Replay | None:
        """Graphs of a step, where the run asks for them and there is a GPU.

        Raises:
            ConfigError: the run has what a graph cannot hold.
        """
        config = self.config
        if not config.run.graph:
            return None
        changing = getattr(config.objective, "ramp_steps", 0) or any(
            o.group.every > 1 for o in self.optimizers
        )
        if not config.data.pool_windows or changing or self.world > 1:
            raise ConfigError("run.graph: needs data.pool_windows, one process, and no ramp or alternation")
        return Replay(self._gradients) if self.accelerator.device.type == "cuda" else None

    def _cache(self) -> LatentCache | None:
        folder, vae = self.config.data.latent_cache, self.stage.vae()
        return LatentCache(Path(folder), fingerprint(vae)) if folder and vae else None

    def _fill(self, cache: LatentCache, log: RunLog | None) -> bool:
        """Compute this process's share of the missing vae_latents; False when time ended before."""
        vae: Any = self.stage.vae()
        crops = Crops(self.photos, self.training, self.config.data, self.config.run.seed, cache)
        missing = 0
        for count, index in enumerate(self.training[self.rank :: self.world], 1):
            if self.clock.over_here:
                break
            window = crops.view(index)
            if window is not None and not cache.has(window):
                missing += 1
                with self.accelerator.autocast():
                    cache.add(window, vae.encode, self.accelerator.device)
            if log and missing and count % 50 == 0:
                log.say(f"vae_latents: {count * self.world} of {len(self.training)} photos")
        return not self.clock.over()

    def _begin(self, cache: LatentCache | None) -> None:
        if self.step == 0:
            alike = replace(self.config.data, resize_share=0.0, large_share=0.0)
            crops = Crops(self.photos, self.training, alike, self.config.run.seed, cache)
            collate = Collate(self.config.run.seed)
            device = self.accelerator.device
            samples = (to_device(collate.batch([crops[n]]), device) for n in itertools.count())
            self.stage.begin(samples)
            if self.mean:
                self.mean.restart()

    def _batches(self, cache: LatentCache | None) -> Iterator[Batch]:
        """This process's share of every step, in parts."""
        data, seed, device = self.config.data, self.config.run.seed, self.accelerator.device
        if data.pool_windows:
            own = seed + self.rank  # each process cuts windows of its own
            pool = Pool(self.photos, self.training, data, own, self.stage.targets, device)
            while True:
                yield pool.batch()
        for batch in loader(Crops(self.photos, self.training, data, seed, cache), self.positions):
            yield to_device(batch, device)

    def _steps(self, cache: LatentCache | None, log: RunLog | None) -> None:
        run, batches, meter = self.config.run, self._batches(cache), Meter(self.accelerator)
        parts = [next(batches) for _ in range(run.accumulation)] if self.step < run.steps else []
        self.begun = time.monotonic()  # a pool takes its time first
        ended, over = self.done >= 1, False
        while not ended and not over:
            self._one_step(parts, meter)
            ended, over = self.done >= 1, self.clock.over()
            if self.step % run.log_every == 0 or ended:
                self._report(meter.take(), log)
            value = None
            if run.validate_every and (self.step % run.validate_every == 0 or ended):
                value = self._validate(log)
            if over or ended or self.step % run.checkpoint_every == 0 or self._is_best(value):
                self._save(value)
            if not ended and not over:
                parts = [next(batches) for _ in range(run.accumulation)]

    def _one_step(self, parts: list[Batch], meter: Meter) -> None:
        """One step of every optimizer that is due."""
        self.stage.train()
        count = len(parts)
        self.skipped += sum(part.skipped for part in parts)
        if self.replay:
            self.replay.take(parts[0])
        for optimizer in self.optimizers:
            group = optimizer.group
            if self.step % group.every:
                continue
            for part in parts:
                figures = self.replay(optimizer) if self.replay else self._gradients(optimizer, part, count)
                meter.add(figures, 1 / count)
            lr = self._lr(group.optim, self.step)
            norm = optimizer.step(self.accelerator, lr, keep=bool(self.replay))
            meter.add({f"norm_{group.name}": norm})
            self.stage.after_step(group.name)
        if self.mean:
            self.mean.update(self.step)
        self.step += 1

    def _gradients(self, optimizer: GroupOptimizer, part: Batch, parts: int = 1) -> Figures:
        """Add the gradients of one of so many parts of a batch to those of a group's parameters."""
        self._require_grad(optimizer)
        with self.accelerator.autocast(AutocastKwargs(cache_enabled=not self.config.run.graph)):
            loss, figures = self.stage.loss(optimizer.group.name, part, self.step)
        self.accelerator.backward(loss / parts)
        return {**figures, f"loss_{optimizer.group.name}": loss}

    def _lr(self, optim: OptimConfig, step: int) -> float:
        return lr_at(optim, step, self.config.run.steps, self.done if self.config.run.minutes else None)

    def _require_grad(self, active: GroupOptimizer) -> None:
        """Gradients are taken of the parameters of one optimizer alone."""
        for optimizer in self.optimizers:
            for p in optimizer.parameters:
                p.requires_grad_(optimizer is active)

    def _report(self, values: dict[str, float], log: RunLog | None) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad and self.config.run.precision != "fp16":
            raise self._diverged(f"{bad[0]} is {values[bad[0]]}")
        if log:
            if self.skipped:
                values["skipped_images"] = self.skipped
            log.progress(self.step, values, self.done)
            lr = self._lr(self.config.optim, self.step - 1)
            log.figures(self.step, {**values, "lr": lr})

    def _diverged(self, what: str) -> OneDCError:
        """An error that says from where to go on; everything that is saved is finite."""
        saved = self.checkpoints.steps()
        advice = "begin again with a lower optim.lr; there is no checkpoint yet"
        if saved:
            advice = (
                f"--resume goes on from {self.checkpoints.path(saved[-1])}; if it happens again, begin "
                f"a new run with a lower optim.lr and nets.start={ck.find_checkpoint(self.out)}"
            )
        return OneDCError(f"{self.out}: {what} at step {self.step}, and is not saved; {advice}")

    @torch.no_grad()
    def _validate(self, log: RunLog | None) -> float | None:
        """Figures over the validation images, with the running mean of the weights; the one that counts."""
        self.stage.eval()
        meter = Meter(self.accelerator)
        shown: list[Tensor] = []
        indices = self.validation[: self.config.data.validation_images][self.rank :: self.world]
        with self.mean.in_place() if self.mean else nullcontext():
            for batch in validation_batches(self.validation_photos, indices, self.config.data.validation_px):
                batch = to_device(batch, self.accelerator.device)
                with self.accelerator.autocast():
                    meter.add(self.stage.validate(batch))
                    show = log is not None and len(shown) < self.config.run.pictures
                    picture = self.stage.pictures(batch) if show else None
                if picture is not None:
                    shown.append(picture)
        values = meter.take()
        if not values:
            return None
        value = values[self.stage.best_by]
        if not math.isfinite(value):
            raise self._diverged(f"val_{self.stage.best_by} is {value}")
        if log:
            log.figures(self.step, values, prefix="val_")
            figures = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            log.say(f"validation at step {self.step}: {figures}")
            if shown:
                log.pictures(self.step, "validation", torch.cat(shown))
        return value

    def _is_best(self, value: float | None) -> bool:
        best = self.checkpoints.best() if value is not None else None
        return value is not None and (best is None or value < best.value)

    def _save(self, value: float | None) -> None:
        """A checkpoint of this moment and, if there was one, of its validation.

        Raises:
            OneDCError: values that are not finite; nothing is written.
        """
        files = ck.files_of(self.stage.stored(), self.mean, self.optimizers)
        bad = next(filter(None, map(ck.not_finite, files.values())), None)
        if bad:
            raise self._diverged(f"{bad} is not finite")
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            self.checkpoints.save(self.step, files, {
                "step": self.step,
                "recipe": self.config.recipe,
                "stage": type(self.config.objective).__name__,
                "model": self.stage.model_config.to_json(),
                "validation": value,
                "scaler": scaler.state_dict() if scaler else None,
                "skipped": self.skipped,
            })  # fmt: skip
        self.accelerator.wait_for_everyone()

    def _restore(self, folder: Path) -> None:
        """Everything as it was when `folder` was written.

        Raises:
            WeightsError: the checkpoint is damaged or of another stage or model.
        """
        state = read_state(folder)
        stage = type(self.config.objective).__name__
        if state["stage"] != stage:
            raise WeightsError(f"{folder}: a checkpoint of {state['stage']}, but this recipe is {stage}")
        ck.fill_from(folder, self.stage.stored(), self.mean, self.optimizers)
        if state["scaler"] and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.skipped = state["step"], state["skipped"]
