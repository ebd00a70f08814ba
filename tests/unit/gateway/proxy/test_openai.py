"""The routes of OpenAI's API: which there are, and what each exchange is given."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from gateway.auth.keys import LOCAL, KeyRing, Principal
from gateway.kernel.errors import UnauthorizedError
from gateway.proxy import openai
from gateway.proxy.openai import OpenAiProxy
from gateway.wire.errors import anthropic_error_body, openai_error_body
from gateway.wire.openai import Operation
from tests.kit.fakeclient import FakeClient

BOT = Principal("bot", "acme")
KEYS = KeyRing([("sha256:" + sha256(b"k").hexdigest(), BOT)])


class Ran:
    """Stands in for the exchange; notes what it was made of."""

    made: list[tuple[Any, ...]]

    def __init__(self, client: Any, judge: Any, around: Any, *, request_id: str) -> None:
        self.made.append((client, judge, around, request_id))

    async def run(self) -> None:
        """Nothing is run."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the exchanges were made of."""
    Ran.made = []
    monkeypatch.setattr(openai, "Exchange", Ran)
    return Ran.made


def proxy(keys: KeyRing) -> OpenAiProxy:
    """A proxy whose bench knows only keys."""

    class Bench:
        class live:  # noqa: N801 - an attribute of the real one
            class snapshot:  # noqa: N801
                pass

    Bench.live.snapshot.keys = keys  # type: ignore[attr-defined]
    return OpenAiProxy(Bench(), "around", body_bytes_max=77)  # type: ignore[arg-type]


def test_the_routes() -> None:
    """Those that post, the models and each model; in the error shape of their API, within the body bound."""
    routes = proxy(KeyRing([])).routes()
    assert [(route.method, route.path) for route in routes] == [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/messages"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/**"),
    ]
    assert {route.body_bytes_max for route in routes} == {77}
    shapes = [route.shape for route in routes]
    assert shapes[:4] + shapes[5:] == [openai_error_body] * 6
    assert shapes[4] is anthropic_error_body


@pytest.mark.parametrize(
    ("at", "operation"),
    [
        (0, Operation.CHAT),
        (1, Operation.COMPLETION),
        (2, Operation.EMBEDDING),
        (3, Operation.RESPONSE),
        (4, Operation.MESSAGE),
        (5, Operation.MODELS),
        (6, Operation.MODELS),
    ],
)
async def test_each_route_judges_its_own_operation(made: Any, at: int, operation: Operation) -> None:
    """The judge gets the operation of the path, the path as it came, and what correlates the request."""
    route = proxy(KeyRing([])).routes()[at]
    client = FakeClient(route.path.replace("**", "org/m"), headers={"traceparent": "00-ab"})
    await route.handler(client)  # type: ignore[arg-type]
    [(given, judge, around, request_id)] = made
    assert (given, around, request_id) == (client, "around", "r-1")
    assert (judge._operation, judge._path, judge._principal) == (operation, client.path, LOCAL)
    assert (judge._request_id, judge._traceparent) == ("r-1", "00-ab")
    assert judge._headers == client.raw_headers


async def test_an_unsafe_trace_is_left_out(made: Any) -> None:
    """What may not stand in a record or a log does not become a span id."""
    await proxy(KeyRing([])).routes()[0].handler(FakeClient(headers={"traceparent": "a b"}))  # type: ignore[arg-type]
    assert made[0][1]._traceparent is None


async def test_with_keys_each_route_asks_who_it_is(made: Any) -> None:
    """Without a key no exchange begins; with it the judge knows whose it is."""
    for route in proxy(KEYS).routes():
        with pytest.raises(UnauthorizedError):
            await route.handler(FakeClient(route.path))  # type: ignore[arg-type]
    assert made == []
    await proxy(KEYS).routes()[0].handler(FakeClient(headers={"authorization": "Bearer k"}))  # type: ignore[arg-type]
    assert made[0][1]._principal is BOT
