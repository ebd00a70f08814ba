"""The backends of a running gateway: as configured, or the embedded simulator; and their catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.llmd.sim.config import preset
from controller.llmd.sim.server import EmbeddedSim
from gateway.config import Config, RetriesConfig
from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.draws import Draws
from gateway.pipeline.further import Retries
from gateway.pipeline.ports import Backend
from gateway.pipeline.retry import RetryBudget, RetrySettings
from gateway.telemetry.upstream import BackendReading
from gateway.upstream.backend import HttpBackend
from gateway.upstream.breaker import Breaker, BreakerSettings
from gateway.upstream.catalogue import ModelCatalogue
from gateway.upstream.cluster import Share
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import read_target

_CATALOGUE_REFRESH_S: Final = 15.0
"""How soon a model that a backend newly serves is known."""


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where requests go; `close` it after the last one."""

    backends: Sequence[HttpBackend]
    catalogue: ModelCatalogue
    embedded: EmbeddedSim | None
    clock: Clock

    @classmethod
    async def connect(cls, config: Config, *, clock: Clock, randomness: Randomness) -> Upstreams:
        """Make the backends; without any, start the simulator. Raises SetupError."""
        named = [
            (backend.name, backend.url, backend.api_key, backend.connections_max)
            for backend in config.backends
        ]
        embedded = None
        if not named:
            embedded = EmbeddedSim(preset("llmd-demo"))
            url = await embedded.start()
            named = [("embedded", url, None, 1024)]
        limits, draw = config.limits, Draws(randomness)
        settings = BreakerSettings(**config.breaker.model_dump(exclude={"when_all_open"}))
        backends = [
            HttpBackend(
                name,
                ConnectionPool(
                    read_target(url, where=f"backends.{name}.url"),
                    connections_max=connections_max,
                    connect_s=limits.connect_s,
                    keepalive_s=limits.upstream_keepalive_s,
                ),
                api_key=api_key,
                breaker=Breaker(settings, draw),
                refuses=config.breaker.when_all_open == "refuse",
                now=clock.monotonic_s,
            )
            for name, url, api_key, connections_max in named
        ]
        shares = {
            (model.name, share.name): Share(share.weight, share.order)
            for model in config.models
            for share in model.backend
        }
        catalogue = ModelCatalogue(
            backends,
            list(shares),
            created_s=clock.wall_ms() // 1000,
            shares=shares,
            draw=draw,
            now=clock.monotonic_s,
        )
        if embedded is not None:
            await catalogue.refresh()
        return cls(backends, catalogue, embedded, clock)

    def readings(self) -> list[BackendReading]:
        """Return what metrics show of each backend."""
        return [
            BackendReading(
                name=backend.name,
                state=backend.breaker.state(self.clock.monotonic_s()).value,
                openings=backend.breaker.openings,
                in_flight=backend.in_flight,
                results=backend.results,
            )
            for backend in self.backends
        ]

    def sent(self) -> int:
        """Return how many requests have been sent so far."""
        return sum(sum(backend.results.values()) for backend in self.backends)

    def retries(self, config: RetriesConfig, draw: Draws) -> Retries:
        """Return what further attempts share, as they are configured."""
        statuses = frozenset(config.statuses)
        settings = RetrySettings(**config.model_dump(exclude={"statuses"}), statuses=statuses)
        budget = RetryBudget(settings, self.clock.monotonic_s())
        return Retries(settings, budget, self.clock, draw, asyncio.sleep, self.sent)

    def named(self) -> dict[str, Backend]:
        """Return the backends by their names."""
        return {backend.name: backend for backend in self.backends}

    async def keep_fresh(self) -> None:
        """Ask again and again which models there are."""
        while True:
            await self.catalogue.refresh()
            await asyncio.sleep(_CATALOGUE_REFRESH_S)

    async def close(self) -> None:
        """Close every connection, and the simulator."""
        for backend in self.backends:
            await backend.close()
        if self.embedded is not None:
            await self.embedded.stop()
