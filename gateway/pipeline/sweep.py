"""Takes expired claims away, so that what is kept beside the ledger stays bounded by its time to live."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from gateway.kernel.bounds import CLAIMS_SWEPT_MAX
from gateway.kernel.clock import Clock
from gateway.kernel.errors import StoreError
from gateway.kernel.types import EVERY_TENANT
from gateway.store.claims import ClaimFilter, ClaimStep, Fit
from gateway.store.port import Store
from gateway.telemetry.log import LOG, name_fault

SWEEP_S: Final = 60.0
"""Between two rounds: claims live for minutes at least."""


@dataclass(frozen=True, slots=True)
class Swept:
    """A space, and how long its claims are kept after they have expired."""

    space: str
    kept_ms: int


class Sweeper:
    """Sweeps some spaces of one store; several processes may sweep at the same time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        spaces: tuple[Swept, ...],
        *,
        after: Callable[[], Awaitable[None]],
    ) -> None:
        """`after` is called after each round, to count what is left."""
        self._store = store
        self._clock = clock
        self._spaces = spaces
        self._after = after

    async def sweep(self) -> int:
        """Take away what has expired; return how many claims. Raises StoreError."""
        count = 0
        for swept in self._spaces:
            wanted = ClaimFilter(expired_ms=self._clock.wall_ms() - swept.kept_ms)
            while True:
                page = await self._store.claims(
                    EVERY_TENANT, swept.space, wanted, limit=CLAIMS_SWEPT_MAX, cursor=None
                )
                steps = [
                    # One that was claimed anew meanwhile stays.
                    ClaimStep(claim, over=claim, removes=True, fit=Fit.SKIPS)
                    for claim in page.claims
                ]
                if not steps:
                    break
                await self._store.submit((), steps=steps)
                count += len(steps)
        return count

    async def once(self) -> None:
        """Sweep, and have what is left counted. Raises StoreError."""
        await self.sweep()
        await self._after()

    async def run(self) -> None:
        """Do so again and again until cancelled; a store that does not answer is logged once."""
        failing = False
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.once()
                failing = False
            except StoreError as error:
                if not failing:
                    LOG.warning("claims cannot be swept", extra={"facts": name_fault(error)})
                failing = True
