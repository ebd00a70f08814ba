"""The action routes as they are served, over sockets: what is answered before anything is decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.proxy import http_actions as module
from tests.kit.fakeclient import FakeClient
from tests.kit.gateways import running_gateway
from tests.kit.tools import KEYS, PATH, TRUSTED, act, ask, json_of, route, running_tool


@pytest.mark.parametrize(
    ("count", "retry"),
    [("1", True), ("9", True), ("0", False), ("", False), ("-1", False), ("x", False), ("1" * 9, False)],
)
def test_a_retry_says_so(count: str, retry: bool) -> None:
    """Only a whole number above zero tells that a client has tried before."""
    client = FakeClient(headers={"x-stainless-retry-count": count})
    assert module._is_retry(client) is retry  # type: ignore[arg-type]
    assert not module._is_retry(FakeClient())  # type: ignore[arg-type]


async def test_each_route_is_served_with_its_own_bounds(tmp_path: Path) -> None:
    """Method, path and body bound are the route's; a GET takes no body."""
    async with running_tool() as tool:
        look = route(tool.port, name="look", method="GET", path="/orders/{order_id}", effect="read")
        look |= {"amount": None, "evidence": {}, "type": "support.update_ticket"}
        actions = [route(tool.port, body_bytes_max=200), look]
        async with running_gateway(tmp_path, keys=KEYS, actions=actions) as gate:
            assert (await ask(gate.port, "PUT", PATH, TRUSTED)).status == 405
            assert (await act(gate.port, TRUSTED | {"note": "x" * 200})).status == 413
            assert (await ask(gate.port, "GET", "/orders/O-1", {"a": 1})).status == 413
            assert (await ask(gate.port, "POST", "/orders/O-1", TRUSTED)).status == 405
            assert (await ask(gate.port, "POST", "/orders/O-1/refunds/", TRUSTED)).status == 404
            assert (await act(gate.port)).status == 201
            assert len(await gate.decisions()) == len(tool.executed) == 1


async def test_what_is_no_request_leaves_no_decision(tmp_path: Path) -> None:
    """It costs a line in the log, and nothing is recorded, claimed or forwarded."""
    async with (
        running_tool() as tool,
        running_gateway(tmp_path, keys=KEYS, actions=[route(tool.port)]) as gate,
    ):
        got = await act(gate.port, b'{"amount":1,"amount":2}', idempotency_key="k")
        assert (got.status, json_of(got)["pointer"]) == (422, "/amount")
        assert await gate.decisions() == []
        assert (await act(gate.port, idempotency_key="k")).status == 201
        assert len(tool.executed) == 1


async def test_a_trace_is_kept(tmp_path: Path) -> None:
    """The client's request id and span stand in the record."""
    async with (
        running_tool() as tool,
        running_gateway(tmp_path, keys=KEYS, actions=[route(tool.port)]) as gate,
    ):
        await act(gate.port, x_request_id="r-7", traceparent="00-abc-def-01")
        [record] = await gate.decisions()
        assert record["trace"] == {"correlation_id": "r-7", "span_id": "00-abc-def-01"}
