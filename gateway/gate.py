"""Joins the parts of the action gate: routes, their backends, approvals, earlier executions, and their pages.

The composition root makes one of these, as it makes the upstreams of LLM requests; without configured
actions it serves approvals only, which other surfaces ask for too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.admin.approvals import ApprovalPages
from gateway.auth.operators import OperatorRing
from gateway.config import ActionConfig, Config
from gateway.kernel.bounds import APPROVAL_KEPT_S
from gateway.kernel.clock import Clock
from gateway.kernel.ids import IdSource
from gateway.listener.router import Route
from gateway.live import Live
from gateway.pipeline import approvals as approval_claims
from gateway.pipeline import executions as execution_claims
from gateway.pipeline.actions import Counter
from gateway.pipeline.approvals import Approvals
from gateway.pipeline.executions import Executions, Lifetimes
from gateway.pipeline.routes import compile_route
from gateway.pipeline.surroundings import Deadlines, Surroundings
from gateway.pipeline.sweep import Sweeper, Swept
from gateway.proxy.approvals import ApprovalStatus
from gateway.proxy.http_actions import HttpActions, ServedRoute
from gateway.store.port import Store
from gateway.telemetry.metrics import Metrics
from gateway.upstream.address import AddressRule, GuardedResolver
from gateway.upstream.backend import HttpBackend
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import Target, read_target


@dataclass(frozen=True, slots=True)
class Bare:
    """What the gate is given by the composition root."""

    config: Config
    live: Live
    store: Store
    clock: Clock
    ids: IdSource
    metrics: Metrics


class Gate:
    """The action gate of a running gateway; `close` it after the last request."""

    def __init__(self, bare: Bare, around: Surroundings) -> None:
        """Make the backends and compile the routes. Raises InvalidConfigError."""
        config, clock = bare.config, bare.clock
        self._secret = config.service.signing_secret
        self._bare = bare
        self.approvals = Approvals(bare.store, clock)
        keeps = config.idempotency
        self._executions = Executions(
            bare.store,
            clock,
            Lifetimes(round(keeps.ttl_s * 1000), round(keeps.derived_ttl_s * 1000)),
            held_max=keeps.held_max,
        )
        self._backends = [_backend(action, config) for action in config.actions]
        self._actions = HttpActions(
            Counter(bare.live, clock, bare.ids, forward_authorization=not config.keys),
            [
                _served(action, backend, around)
                for action, backend in zip(config.actions, self._backends, strict=True)
            ],
            self.approvals,
            self._executions,
            bare.metrics,
            result_bytes_max=keeps.result_bytes_max,
        )
        self._sweeper = Sweeper(
            bare.store,
            clock,
            (
                Swept(execution_claims.SPACE, 0),
                Swept(approval_claims.SPACE, round(APPROVAL_KEPT_S * 1000)),
            ),
            after=self._executions.count,
        )

    def data_routes(self) -> Sequence[Route]:
        """Return what agents are served."""
        bare = self._bare
        status = ApprovalStatus(bare.live, self.approvals, bare.clock, signing_secret=self._secret)
        return (*self._actions.routes(), *status.routes())

    def admin_routes(self) -> Sequence[Route]:
        """Return what operators are served."""
        bare = self._bare
        operators = OperatorRing([(one.name, one.hash) for one in bare.config.operators])
        pages = ApprovalPages(
            bare.store, self.approvals, operators, bare.clock, bare.metrics, signing_secret=self._secret
        )
        return pages.routes()

    async def prepare(self) -> None:
        """Sweep what has expired and count what is kept, before anything is served. Raises StoreError."""
        await self._sweeper.once()

    async def keep_swept(self) -> None:
        """Do so again and again until cancelled."""
        await self._sweeper.run()

    async def drain(self, deadline_s: float) -> None:
        """Let actions whose clients have left come to their end."""
        await self._actions.drain(deadline_s)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(backend.close() for backend in self._backends))


def check_actions(config: Config) -> None:
    """Check what only the composition can: each route's upstream. Raises InvalidConfigError."""
    for action in config.actions:
        _target(action)


def _target(action: ActionConfig) -> Target:
    where = f"actions.{action.name}.upstream"
    target = read_target(action.upstream, where=where, api_version=False)
    AddressRule.of(action.addresses).check_literal(target, where=where)
    return target


def _backend(action: ActionConfig, config: Config) -> HttpBackend:
    target = _target(action)
    pool = ConnectionPool(
        target,
        connections_max=action.connections_max,
        connect_s=config.limits.connect_s,
        keepalive_s=config.limits.upstream_keepalive_s,
        resolve=GuardedResolver(target, AddressRule.of(action.addresses)),
    )
    return HttpBackend(action.name, pool, api_key=action.api_key)


def _served(action: ActionConfig, backend: HttpBackend, around: Surroundings) -> ServedRoute:
    deadlines = Deadlines(first_byte_s=action.first_byte_s, idle_s=around.deadlines.idle_s)
    return ServedRoute(
        compile_route(action, backend),
        # No intent covers an action, and a call of a tool is never sent a second time by itself.
        replace(around, deadlines=deadlines, governor=None, retries=None),
        action.body_bytes_max,
    )
