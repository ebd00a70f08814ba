"""Is the process alive, may it be given traffic, and what does it measure. No probe ever calls a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from gateway.listener.client import HttpClient
from gateway.listener.router import Route
from gateway.telemetry.metrics import Metrics
from gateway.wire.errors import v0_error_body


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether traffic may come, and in one line why not."""

    ready: bool
    reason: str


class HealthPages:
    """Serves liveness and readiness on any listener, metrics on the admin one."""

    def __init__(
        self, readiness: Callable[[], Readiness], metrics: Metrics, *, facts: Callable[[], dict[str, str]]
    ) -> None:
        """`facts` are shown with readiness: the policy that is in force."""
        self._readiness = readiness
        self._metrics = metrics
        self._facts = facts

    def routes(self) -> Sequence[Route]:
        """Return the probes, with the names that other gateways taught people."""
        live = ("/health/live", "/health/liveness", "/healthz")
        ready = ("/health/ready", "/health/readiness", "/health", "/readyz")
        return (
            *(Route("GET", path, self._live, v0_error_body, 0) for path in live),
            *(Route("GET", path, self._ready, v0_error_body, 0) for path in ready),
        )

    def metrics_route(self) -> Route:
        """Return `/metrics`."""
        return Route("GET", "/metrics", self._render_metrics, v0_error_body, 0)

    async def _live(self, client: HttpClient) -> None:
        await client.send(200, b'{"ok":true}')

    async def _ready(self, client: HttpClient) -> None:
        state = self._readiness()
        body = {"ready": state.ready, "reason": state.reason, **self._facts()}
        await client.send(200 if state.ready else 503, orjson.dumps(body))

    async def _render_metrics(self, client: HttpClient) -> None:
        await client.send(200, self._metrics.render(), media="text/plain; version=0.0.4; charset=utf-8")
