"""Probes: alive is not ready, and the metrics are on one listener only."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.admin.health import HealthPages, Readiness
from gateway.telemetry.metrics import Metrics
from tests.kit.fakeclient import FakeClient


def pages(*, ready: bool, reason: str = "") -> HealthPages:
    """The pages of a gateway in a state."""
    state = Readiness(ready=ready, reason=reason)
    return HealthPages(lambda: state, Metrics(), facts=lambda: {"policy_id": "p"})


async def asked(page: Any, path: str) -> FakeClient:
    """Ask one path."""
    [route] = [route for route in page.routes() if route.path == path]
    assert (route.method, route.body_bytes_max) == ("GET", 0)
    client = FakeClient(path)
    await route.handler(client)
    return client


@pytest.mark.parametrize("path", ["/health/live", "/health/liveness", "/healthz"])
async def test_alive(path: str) -> None:
    """A process that answers is alive, also while it is not ready."""
    client = await asked(pages(ready=False), path)
    assert (client.status, client.json) == (200, {"ok": True})


@pytest.mark.parametrize("path", ["/health/ready", "/health/readiness", "/health", "/readyz"])
async def test_ready(path: str) -> None:
    """200 while traffic may come, 503 with the reason while not; both with the policy in force."""
    client = await asked(pages(ready=True), path)
    assert (client.status, client.json) == (200, {"ready": True, "reason": "", "policy_id": "p"})
    client = await asked(pages(ready=False, reason="draining"), path)
    assert (client.status, client.json["reason"]) == (503, "draining")


async def test_metrics() -> None:
    """They are Prometheus' text, and not among the routes of every listener."""
    page = pages(ready=True)
    assert "/metrics" not in {route.path for route in page.routes()}
    client = FakeClient("/metrics")
    await page.metrics_route().handler(client)  # type: ignore[arg-type]
    assert client.media == "text/plain; version=0.0.4; charset=utf-8"
    assert b"lumyn_internal_errors_total 0.0" in client.answered
