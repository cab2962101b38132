"""The work of a batch as actors of Ray Data, on this machine or a cluster; results come back to the caller.

All machines must see the source under the same path. Ray is imported when it is asked for.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from onedc.batch.items import Item
from onedc.batch.work import Outcome, Spec, Worker
from onedc.errors import ConfigError, OneDCError, one_line, optional

_MOST_BLOCKS = 5000
"""A block of items is what an actor is given at a time, and what is done again when it dies."""
_LEAST_ITEMS = 8
ANSWER_S = 5.0
"""How long a cluster may take to answer at its address."""
SETTINGS = b"\x04"
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + SETTINGS + bytes(5)
"""By RFC 9113: what a client begins with, and the type of frame that a server, as Ray's are, answers with."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where Ray runs and what it gives to each actor."""

    address: str | None = None  # of a cluster, as "auto" or "host:port"; None: this machine
    actors: int = 1
    cpus: float = 0.5  # of each actor
    gpus: float = 0.0  # of each actor

    def __post_init__(self) -> None:
        if self.actors < 1 or not self.cpus > 0 or not self.gpus >= 0:
            asked = f"{self.actors} actors of {self.cpus:g} CPUs and {self.gpus:g} GPUs"
            raise ConfigError(f"{asked}: at least 1 actor and CPUs above 0 are needed")

    def outcomes(self, spec: Spec, items: list[Item]) -> Iterator[list[Outcome]]:
        """As `work.Worker.outcomes`, by actors; their order is any.

        Raises:
            MissingExtraError: Ray is not installed.
            ConfigError: an actor asks for more processors than this machine has.
            OneDCError: Ray cannot be reached, or gives up.
        """
        ray = _ray()
        spec = replace(spec, threads=spec.threads or max(1, round(self.cpus)))
        self._start(ray)
        try:
            results = self._dataset(ray, items).map_batches(
                _Actor,
                fn_constructor_args=(spec,),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=self.actors),
                num_cpus=self.cpus,
                num_gpus=self.gpus or None,
            )
            for row in results.iter_rows():
                yield pickle.loads(row["outcomes"])
        except (ray.exceptions.RayError, ConnectionError, ValueError, RuntimeError) as error:
            raise OneDCError(f"Ray: {str(error).strip().splitlines()[-1]}") from error

    def _start(self, ray: Any) -> None:
        """Connect, unless this process is connected."""
        if not ray.is_initialized():
            self._check_address()
            try:
                ray.init(
                    address=self.address or "local",
                    include_dashboard=None if self.address else False,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            except Exception as error:  # Ray raises the plainest one where its node does not come up in time
                where = self.address or "this machine"
                raise OneDCError(f"Ray cannot be reached at {where}: {one_line(error)}") from error
        processors = ray.cluster_resources().get("CPU", 0)
        if self.address is None and self.cpus > processors:
            raise ConfigError(
                f"an actor asks for {self.cpus:g} CPUs, and there are {processors:g}; "
                "ask for less by --ray-cpus"
            )
        ray.data.DataContext.get_current().enable_progress_bars = False

    def _check_address(self) -> None:
        """Raise OneDCError where no Ray listens at the address, at which it would try for 14 minutes."""
        address = self.address
        if address == "auto":
            address = os.environ.get("RAY_ADDRESS", address)
        if address in (None, "auto", "local"):
            return
        place = urlsplit(address if "://" in address else f"//{address}")
        try:
            if not place.hostname or not place.port:
                raise OSError("an address is HOST:PORT, ray://HOST:PORT or auto")
            with socket.create_connection((place.hostname, place.port), timeout=ANSWER_S) as connection:
                connection.sendall(HTTP2_PREFACE)
                if connection.recv(9)[3:4] != SETTINGS:  # the type of a frame
                    raise OSError("what listens there is not Ray")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OneDCError(f"Ray cannot be reached at {address}: {reason}") from error

    def _dataset(self, ray: Any, items: list[Item]) -> Any:
        """One row, a pickled list of items, for each block."""
        size = max(_LEAST_ITEMS, -(-len(items) // _MOST_BLOCKS))
        rows = [{"items": pickle.dumps(items[i : i + size])} for i in range(0, len(items), size)]
        return ray.data.from_items(rows, override_num_blocks=len(rows))


class _Actor:
    """A worker in a process of Ray's."""

    def __init__(self, spec: Spec) -> None:
        self.worker = Worker(spec)

    def __call__(self, table: Any) -> Any:
        import pyarrow

        outcomes = [
            [outcome for batch in self.worker.outcomes(pickle.loads(row.as_py())) for outcome in batch]
            for row in table.column("items")
        ]
        return pyarrow.table({"outcomes": pyarrow.array(map(pickle.dumps, outcomes), pyarrow.binary())})


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = optional("ray", "ray")
    optional("ray.data", "ray")
    return ray
