"""Who supplies a ready model for a quality byte: one model for all of them, or a family, one at a time.

Knows no library of networks and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import RLock
from typing import Any, Protocol

from onedc.config import ModelConfig
from onedc.constants import QUALITY_MAX
from onedc.container.packing import Contents, quality_byte, unpack
from onedc.engine.protocol import Engine
from onedc.entropy.z_prior import ZPrior
from onedc.target_size import DEFAULT_QUALITY


@dataclass(frozen=True, kw_only=True)
class ReadyModel:
    """A model that codes.

    Attributes:
        config: the configuration of its networks.
        model_id: what .1dc headers say.
        fingerprint: sha256 over all that a file's bits depend on.
        engine: runs its networks.
        z_prior: codes its z.
    """

    config: ModelConfig
    model_id: int
    fingerprint: bytes
    engine: Engine
    z_prior: ZPrior

    def unpack(self, data: bytes, **limits: Any) -> Contents:
        """A file of this model taken apart; `limits` as of `container.unpack`.

        Raises:
            FormatError: damaged, of another model, or beyond the limits.
        """
        return unpack(
            data,
            fingerprint=self.fingerprint,
            model_id=self.model_id,
            least_position_millibits=self.z_prior.least_position_millibits,
            **limits,
        )


class ModelSource(Protocol):
    """Supplies models.

    Attributes:
        config: of the model at the default quality.
        model_id: of all its models.
    """

    @property
    def config(self) -> ModelConfig: ...

    @property
    def model_id(self) -> int: ...

    @property
    def quality_bytes(self) -> Sequence[int]:
        """The quality bytes that lead to different files, lowest first."""

    def member_of(self, quality_byte: int) -> int:
        """The number of the model that a quality byte selects."""

    def at(self, quality_byte: int) -> AbstractContextManager[ReadyModel]:
        """The model for a quality byte; it stays ready inside the block."""

    def compile(self) -> None:
        """Have every model's engine compile its networks."""


class SingleModel:
    """One model for all quality bytes; threads may use it at once."""

    def __init__(self, model: ReadyModel) -> None:
        self.model = model
        self.config, self.model_id = model.config, model.model_id

    @property
    def quality_bytes(self) -> Sequence[int]:
        """See `ModelSource`."""
        if self.config.z_only:
            return (0,)
        return range(QUALITY_MAX + 1) if self.config.quality_knots else (0, QUALITY_MAX)

    def member_of(self, quality_byte: int) -> int:
        """See `ModelSource`."""
        return 0

    def at(self, quality_byte: int) -> AbstractContextManager[ReadyModel]:
        """See `ModelSource`."""
        return nullcontext(self.model)

    def compile(self) -> None:
        """See `ModelSource`."""
        self.model.engine.compile()


class ModelFamily:
    """Several rates, each a model of its own, one in memory at a time: threads take turns.

    Args:
        configs: of the members, lowest rate first; the first may be one for z only.
        model_id: of all.
        load: brings a member into memory, by its number; that of the default quality at once.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        model_id: int,
        load: Callable[[int], ReadyModel],
    ) -> None:
        self.model_id = model_id
        self._configs, self._load = configs, load
        self._lock = RLock()
        self._compiles = False
        self._member = self.member_of(quality_byte(DEFAULT_QUALITY))
        self._model: ReadyModel | None = load(self._member)
        self.config = configs[self._member]

    @property
    def quality_bytes(self) -> Sequence[int]:
        """One quality byte for each rate, the highest that selects it."""
        return sorted({self.member_of(byte): byte for byte in range(QUALITY_MAX + 1)}.values())

    def member_of(self, quality_byte: int) -> int:
        """See `ModelSource`. Bytes from 1 on are spread evenly over the members that code y."""
        first = int(self._configs[0].z_only and len(self._configs) > 1)
        if quality_byte == 0:
            return 0
        return first + round((quality_byte - 1) / (QUALITY_MAX - 1) * (len(self._configs) - 1 - first))

    @contextmanager
    def at(self, quality_byte: int) -> Iterator[ReadyModel]:
        """See `ModelSource`."""
        with self._lock:
            yield self._ready(self.member_of(quality_byte))

    def compile(self) -> None:
        """See `ModelSource`; a rate is compiled when it comes into memory."""
        with self._lock:
            self._compiles = True
            self._ready(self._member).engine.compile()

    def _ready(self, member: int) -> ReadyModel:
        """The member in memory, in place of the one that was there."""
        if self._model is None or member != self._member:
            self._model = None  # frees the memory first
            model = self._load(member)
            if self._compiles:
                model.engine.compile()
            self._member, self._model = member, model
        return self._model
