"""The backends of a running gateway: as configured, or the embedded simulator; and their catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.llmd.sim.config import preset
from controller.llmd.sim.server import EmbeddedSim
from gateway.config import Config
from gateway.upstream.backend import HttpBackend
from gateway.upstream.catalogue import ModelCatalogue
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

    @classmethod
    async def connect(cls, config: Config, *, created_s: int) -> Upstreams:
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
        limits = config.limits
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
            )
            for name, url, api_key, connections_max in named
        ]
        models = [(model.name, model.backend) for model in config.models]
        catalogue = ModelCatalogue(backends, models, created_s=created_s)
        if embedded is not None:
            await catalogue.refresh()
        return cls(backends, catalogue, embedded)

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
