"""Who supplies a ready model for a quality byte: one model for all of them, or a family, one at a time.

Knows no library of networks and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import RLock
from typing import Any

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


class ModelSource:
    """Supplies models: one for all quality bytes, or several rates, one in memory at a time.

    Threads may use a single model at once; with several they take turns.

    Args:
        configs: of the models, lowest rate first; the first of several may be one for z only.
        model_id: of all.
        load: brings a model into memory, by its number; that of the default quality at once.

    Attributes:
        config: of the model at the default quality.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        model_id: int,
        load: Callable[[int], ReadyModel],
    ) -> None:
        self.model_id = model_id
        self._configs, self._load = configs, load
        self._turn: AbstractContextManager[object] = RLock() if len(configs) > 1 else nullcontext()
        self._compiles = False
        self._member = self.member_of(quality_byte(DEFAULT_QUALITY))
        self._model: ReadyModel | None = load(self._member)
        self.config = configs[self._member]

    @classmethod
    def of_one(cls, model: ReadyModel) -> ModelSource:
        """A source of a single model that is in memory already."""
        return cls([model.config], model.model_id, lambda _: model)

    @property
    def quality_bytes(self) -> Sequence[int]:
        """The quality bytes that lead to different files, lowest first.

        Of several rates, the highest byte that selects each.
        """
        if len(self._configs) > 1:
            return sorted({self.member_of(byte): byte for byte in range(QUALITY_MAX + 1)}.values())
        if self.config.z_only:
            return (0,)
        return range(QUALITY_MAX + 1) if self.config.quality_knots else (0, QUALITY_MAX)

    def member_of(self, quality_byte: int) -> int:
        """The number of the model that a quality byte selects.

        Bytes from 1 on are spread evenly over the models that code y.
        """
        first = int(self._configs[0].z_only and len(self._configs) > 1)
        if quality_byte == 0:
            return 0
        return first + round((quality_byte - 1) / (QUALITY_MAX - 1) * (len(self._configs) - 1 - first))

    @contextmanager
    def at(self, quality_byte: int) -> Iterator[ReadyModel]:
        """The model for a quality byte; it stays ready inside the block."""
        with self._turn:
            yield self._ready(self.member_of(quality_byte))

    def compile(self) -> None:
        """Have every model's engine compile its networks, once it is in memory."""
        with self._turn:
            self._compiles = True
            self._ready(self._member).engine.compile()

    def _ready(self, member: int) -> ReadyModel:
        """The model in memory, in place of the one that was there."""
        if self._model is None or member != self._member:
            self._model = None  # frees the memory first
            model = self._load(member)
            if self._compiles:
                model.engine.compile()
            self._member, self._model = member, model
        return self._model
