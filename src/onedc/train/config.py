"""What a training run is: frozen, documented, checked; and `--set key=value` on top of it.

Every number of a run stands here, whatever the stage; `recipes/` fills it in.
No torch, and nothing is read from disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from onedc.config import ModelConfig
from onedc.errors import ConfigError

HELD_OUT = tuple(f"p-0{n}" for n in range(8))
"""The validation photos of the bundled model's data: names that begin so are never trained on."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where images come from and how crops are cut from them."""

    source: str = ""  # folder of images or .tar shards, a .tar; "hf:", "stream:" or "coco:" and a place
    validation_source: str = ""  # the same for validation ("": the held-out images of `source`)
    stream_gib: float = 50.0  # of a streamed dataset so much is kept on disk
    batch: int = 8  # images of one optimiser step, all processes and accumulation together
    crop_px: int = 256  # side of the square crops, a multiple of 64
    resize_share: float = 0.0  # share of steps whose crops of min_side_px are resized to crop_px
    large_share: float = 0.0  # share of steps with crops of twice the side and a quarter of the batch
    min_side_px: int = 0  # photos with a shorter side below this are enlarged to it (0: to the crop)
    held_out: tuple[str, ...] = ()  # images whose name begins so are for validation and never trained on
    validation_images: int = 24  # how many of those are used
    validation_px: int = 256  # side of their centre crops, a multiple of 64
    workers: int = 0  # loader processes of each training process
    memory_mib: int = 4096  # decoded images kept in memory by each loading process
    latent_cache: str = ""  # folder for vae_latents computed once ("": computed anew for each crop)
    view_px: int = 512  # with a cache: largest side of the window that crops are cut from; a multiple of 64
    pool_windows: int = 0  # windows of view_px of each photo kept on the device, whence crops come (0: none)

    def __post_init__(self) -> None:
        _positive(self, "batch", "crop_px", "validation_px", "view_px")
        if min(self.workers, self.memory_mib, self.validation_images, self.pool_windows) < 0:
            raise ConfigError(
                "data.workers, memory_mib, validation_images, pool_windows: must not be negative"
            )
        for name in ("crop_px", "validation_px", "view_px"):
            if getattr(self, name) % 64:
                raise ConfigError(f"data.{name}: {getattr(self, name)} is not a multiple of 64")
        if min(self.resize_share, self.large_share) < 0 or self.resize_share + self.large_share > 1:
            raise ConfigError(
                f"data: resize_share {self.resize_share}, large_share {self.large_share} exceed 0 .. 1"
            )
        if self.latent_cache and (self.resize_share or self.large_share):
            raise ConfigError("data.latent_cache: needs resize_share and large_share to be 0")
        if self.pool_windows and (self.latent_cache or self.resize_share or self.large_share):
            raise ConfigError("data.pool_windows: goes without latent_cache, resize_share and large_share")
        if (self.latent_cache or self.pool_windows) and self.view_px < self.crop_px:
            raise ConfigError(f"data.view_px: {self.view_px} is less than data.crop_px, {self.crop_px}")
        if self.large_share and self.batch % 4:
            raise ConfigError(f"data.batch: {self.batch} is not a multiple of 4, which large_share needs")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimizer of one group of parameters. Lengths are steps, whatever the number of processes."""

    kind: str = "adamw"  # "adamw", "muon" (AdamW but for matrices) or "sgd" (no state, no momentum)
    lr: float = 1e-4  # peak learning rate
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip: float = 5.0  # largest norm of the gradient
    warmup_steps: int = 0  # linear rise at the start
    decay_steps: int = 0  # cosine fall over the last so many steps
    decay_share: float = 0.0  # or over this share of the run, of its time where run.minutes ends it
    final_share: float = 0.0  # learning rate at the very end, as a share of the peak

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "muon", "sgd"):
            raise ConfigError(f"optim.kind: {self.kind!r} is none of 'adamw', 'muon', 'sgd'")
        if not (self.lr > 0 and self.clip > 0):
            raise ConfigError(f"optim.lr, optim.clip: {self.lr} and {self.clip} must be above 0")
        if self.weight_decay < 0 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError("optim.weight_decay must not be negative, optim.betas from 0 to below 1")
        if min(self.warmup_steps, self.decay_steps) < 0 or not 0 <= self.decay_share <= 1:
            raise ConfigError("optim.warmup_steps, decay_steps, decay_share: out of range")
        if self.decay_steps and self.decay_share:
            raise ConfigError("optim.decay_steps, optim.decay_share: set one of them")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Length, precision and bookkeeping of a run."""

    steps: int = 1000  # optimiser steps
    minutes: float = 0.0  # end after so long, as if the steps were done (0: by steps alone)
    graph: bool = False  # on a GPU: replay loss and gradients of a step as one CUDA graph
    seed: int = 33550336
    precision: str = "no"  # "no" (fp32), "bf16" or "fp16" (autocast), "auto": bf16 where it is fast
    adapter_rank: int = 0  # of adapters in the generator's UNet, whose own layers are then frozen (0: none)
    recompute: bool = False  # keep few activations and compute the rest again: less memory, more time
    accumulation: int = 1  # parts in which each process handles its share of a batch
    ema: float = 0.0  # decay per step of the running mean of the weights (0: none)
    log_every: int = 10  # steps
    validate_every: int = 500  # steps; pictures are made then too (0: never)
    pictures: int = 4  # how many validation images are shown
    checkpoint_every: int = 500  # steps
    keep: int = 2  # how many of the last checkpoints stay, beside the best
    join_seconds: float = 60.0  # how long the processes of a run wait for each other at its start

    def __post_init__(self) -> None:
        _positive(self, "steps", "accumulation", "log_every", "checkpoint_every", "keep", "join_seconds")
        if self.precision not in ("no", "bf16", "fp16", "auto"):
            raise ConfigError(f"run.precision: {self.precision!r} is none of 'no', 'bf16', 'fp16', 'auto'")
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f"run.ema: {self.ema} is not in 0 .. 1")
        if not 0.0 <= self.minutes < float("inf"):
            raise ConfigError(f"run.minutes: {self.minutes} is not a time")
        if self.graph and self.accumulation > 1:
            raise ConfigError("run.graph: goes with run.accumulation=1 alone")
        for name in ("seed", "adapter_rank", "validate_every", "pictures"):
            if getattr(self, name) < 0:
                raise ConfigError(f"run.{name}: {getattr(self, name)} must not be negative")


RANDOM = "random"
"""In a field of `nets`: random weights are meant, not forgotten."""


@dataclass(frozen=True, kw_only=True)
class NetsConfig:
    """Pretrained networks a stage starts from or measures by: paths, "" where not used, or "random"."""

    vae_encoder: str = ""
    vae_decoder: str = ""
    vae: str = ""  # Stable Diffusion's autoencoder in one file, in diffusers' layout
    generator: str = ""  # diffusion UNet in diffusers' layout: start of the generator but for its input
    lpips: str = ""
    lpips_net: str = "squeeze"  # backbone of `lpips`: "squeeze", "vgg" or "alex"
    lpips_averages: bool = False  # pool by means instead of maxima in that backbone
    start: str = ""  # run, checkpoint or weights file that the model's weights are taken from
    codec: str = ""  # weights file of a codec that another learns to imitate
    teacher: str = ""  # tokenizer's run whose indices z learns to predict, or MaskGIT-VQGAN's file
    score: str = ""  # diffusion checkpoint: real score and start of the fake one
    text: str = ""  # folder of a CLIP text encoder with its tokenizer, in transformers' layout


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that a training run depends on."""

    recipe: str = ""  # the name it goes by, once `find_recipe` found it
    model: ModelConfig
    objective: Any  # a frozen dataclass; its class selects the stage
    needs: tuple[str, ...] = ()  # fields of `nets` without which it refuses; "random" there is an answer
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    discriminator_optim: OptimConfig = field(default_factory=OptimConfig)  # fake scores too
    run: RunConfig = field(default_factory=RunConfig)
    nets: NetsConfig = field(default_factory=NetsConfig)

    def with_networks(self) -> TrainConfig:
        """The same with "" for networks that are meant to be random, once all that it needs is named.

        Raises:
            ConfigError: a network that it needs is not named.
        """
        for name in self.needs:
            if not getattr(self.nets, name):
                raise ConfigError(
                    f"nets.{name}: not set, but {self.recipe} needs it; name a run or a file "
                    f"(`onedc nets list`), or set nets.{name}={RANDOM} for random weights"
                )
        meant = {f.name: "" for f in fields(self.nets) if getattr(self.nets, f.name) == RANDOM}
        changes: dict[str, Any] = dict(meant)
        return replace(self, nets=replace(self.nets, **changes))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for run.json."""
        return {**asdict(self), "stage": type(self.objective).__name__}


def _positive(config: Any, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise ConfigError(f"{type(config).__name__}.{name}: {getattr(config, name)} must be above 0")


def apply_settings(config: TrainConfig, settings: Iterable[str]) -> TrainConfig:
    """A copy of `config` with all "dotted.name=value" set at once; of several for one name the last counts.

    Raises:
        ConfigError: no such name, or a value of another type or out of range.
    """
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: expected name=value")
        values[name.strip()] = text.strip()
    changed: TrainConfig = _set(config, values, "")
    return changed


def _set(node: Any, values: Mapping[str, str], lead: str) -> Any:
    """`node` with new values; fields that check each other change together."""
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, str]] = {}
    for name, text in values.items():
        head, dot, rest = name.partition(".")
        old = _field(node, head, lead + name)
        if dot:
            if not is_dataclass(old):
                raise ConfigError(f"--set {lead}{name}: {head} has no fields")
            inner.setdefault(head, {})[rest] = text
        elif is_dataclass(old):
            known = ", ".join(f.name for f in fields(old))
            raise ConfigError(f"--set {lead}{name}: name one of its fields: {known}")
        else:
            changes[head] = _parse(text, get_type_hints(type(node))[head], lead + name)
    for head, own in inner.items():
        changes[head] = _set(getattr(node, head), own, f"{lead}{head}.")
    return replace(node, **changes)


def _field(node: Any, name: str, full: str) -> Any:
    known = [f.name for f in fields(node)]
    if name not in known:
        raise ConfigError(f"--set {full}: no field {name!r}; there are {', '.join(known)}")
    return getattr(node, name)


def _parse(text: str, kind: Any, full: str) -> Any:
    """`text` as a value of the annotated type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if text == "none" and type(None) in arguments:
            return None
        return _parse(text, next(a for a in arguments if a is not type(None)), full)
    if origin is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        kinds = [arguments[0]] * len(parts) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(parts):
            raise ConfigError(f"--set {full}: expected {len(kinds)} values with commas, got {text!r}")
        return tuple(_parse(part, each, full) for part, each in zip(parts, kinds, strict=True))
    if kind is bool:
        if text not in ("true", "false"):
            raise ConfigError(f"--set {full}: expected true or false, got {text!r}")
        return text == "true"
    try:
        value = kind(text)
        if kind is float and not math.isfinite(value):
            raise ValueError
    except ValueError as error:
        expected = "a finite number" if kind is float else kind.__name__
        raise ConfigError(f"--set {full}: expected {expected}, got {text!r}") from error
    return value


def is_default(config: Any, name: str) -> bool:
    """Whether a dotted name is of a field with a default that it has."""
    *path, last = name.split(".")
    for part in path:
        config = getattr(config, part, None)
    known = {f.name: f for f in fields(config)} if is_dataclass(config) else {}
    return last in known and known[last].default == getattr(config, last)


def flat(values: Mapping[str, Any], lead: str = "") -> dict[str, Any]:
    """Nested plain values by their dotted names; tuples as lists."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{lead}{name}.")
        else:
            found[lead + name] = list(value) if isinstance(value, tuple) else value
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Dotted names at which two nested mappings of plain values differ."""
    a, b = flat(old), flat(new)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
