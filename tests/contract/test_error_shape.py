"""One error shape for each API, over every route that there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from gateway.listener.router import Route
from gateway.listener.server import Listener
from tests.kit.gateways import RunningGateway, running_gateway

OPENAI = {"message", "type", "param", "code"}
OURS = {"detail", "reason_code", "pointer", "request_id"}
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway with a secret and a key, so that every guarded route can refuse."""
    key = {"name": "bot", "hash": "sha256:" + "a" * 64}
    async with running_gateway(tmp_path, keys=[key], service={"signing_secret": "s"}) as one:
        yield one


def routes_of(listener: Listener | None) -> list[Route]:
    """Return every route that a listener serves."""
    assert listener is not None
    router = listener._router
    tables = [*router._exact.values(), *(methods for _, methods in router._patterns)]
    return [route for methods in tables for route in methods.values()]


def check(path: str, status: int, headers: Any, body: bytes) -> None:
    """Hold one error against the shape of its API."""
    value = orjson.loads(body)
    if path.startswith("/v1/messages"):
        assert set(value) == {"type", "error", "request_id"}
        assert value["type"] == "error"
        assert value["request_id"] == headers["x-request-id"]
        assert set(value["error"]) == OPENAI
        message = value["error"]["message"]
    elif path.startswith("/v1/"):
        assert set(value) == {"error"}
        assert set(value["error"]) == OPENAI
        message = value["error"]["message"]
        assert value["error"]["type"] in {"invalid_request_error", "authentication_error", "server_error"}
    else:
        assert set(value) == OURS
        assert value["request_id"] == headers["x-request-id"]
        message = value["detail"]
    assert message
    assert isinstance(message, dict) or message[0] == "`" or message[0].islower() or message.startswith("API")
    assert headers["content-type"] == "application/json"
    assert headers["x-should-retry"] == ("true" if status == 503 else "false")
    assert headers["x-request-id"]


async def test_every_route_refuses_in_the_shape_of_its_api(gateway: RunningGateway) -> None:
    """Without credentials, with a wrong method and with a wrong body: one shape each, never an empty 500."""
    listeners = (
        (gateway.port, gateway.gateway._data),
        (gateway.admin_port, gateway.gateway._admin),
    )
    refused = 0
    async with aiohttp.ClientSession() as session:
        for port, listener in listeners:
            routes = routes_of(listener)
            assert len(routes) > 8
            for route in routes:
                path = route.path.replace("**", "*").replace("*", "0" * 26)
                for method in METHODS:
                    body = b"{" if method == "POST" else None
                    async with session.request(
                        method,
                        f"http://127.0.0.1:{port}{path}",
                        data=body,
                        headers={"content-type": "application/json"},
                    ) as answer:
                        text = await answer.read()
                        assert answer.status < 500, (method, path, text)
                        if answer.status >= 400:
                            check(path, answer.status, answer.headers, text)
                            refused += 1
    assert refused > 60


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v0/nothing", "/admin/nothing", "/", "/v1", "/v0/decisions//x"]
)
async def test_an_unknown_path_is_answered_in_the_shape_of_its_api(
    gateway: RunningGateway, path: str
) -> None:
    """404 on both listeners."""
    async with aiohttp.ClientSession() as session:
        for port in (gateway.port, gateway.admin_port):
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                text = await answer.read()
                assert answer.status in {404, 405}
                if port == gateway.port or not path.startswith("/v1/"):
                    check(path, answer.status, answer.headers, text)
