"""`/v0` without sockets: who may ask, what is passed on, what is refused before anything is decided."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest

from gateway.auth.keys import KeyRing, Principal
from gateway.auth.signature import sign
from gateway.config import PolicyConfig
from gateway.engine.decide import EngineSettings
from gateway.kernel.errors import (
    ForbiddenError,
    InvalidRequestError,
    MalformedRequestError,
    NotFoundError,
    UnauthorizedError,
)
from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.live import Live, Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline.kept import Appended
from gateway.pipeline.policies import load_policies
from gateway.proxy.actions import ActionGate
from tests.kit.entries import entry_id
from tests.kit.fakeclient import FakeClient

REQUEST: Any = {
    "schema_version": "decision_request.v0",
    "subject": {"type": "agent", "id": "bot"},
    "action": {"type": "support.update_ticket", "intent": "close it"},
    "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
}


class Asked:
    """Decisions that note what they were asked."""

    def __init__(self, memory_id: str | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.memory_id = memory_id

    async def decide(self, request: Any) -> bytes:
        self.calls.append(("decide", request))
        return b'{"verdict":"TRUST"}'

    async def read(self, scope: Any, decision_id: str) -> bytes:
        self.calls.append(("read", scope, decision_id))
        return b"{}"

    async def append_event(self, scope: Any, decision_id: str, kind: str, data: Any) -> Appended:
        self.calls.append(("append", scope, decision_id, kind, data))
        return Appended("E", self.memory_id)


POLICIES = load_policies(PolicyConfig())
KEYS = KeyRing([("sha256:" + sha256(b"k").hexdigest(), Principal("bot", "acme", actions=("support.*",)))])


async def ask(
    method: str,
    target: str,
    body: Any = b"",
    *,
    keys: KeyRing = KeyRing([]),  # noqa: B008 - it is never changed
    secret: str | None = None,
    memory_id: str | None = None,
    **headers: str,
) -> tuple[FakeClient, Asked]:
    """Ask one route."""
    asked = Asked(memory_id)
    live = Live(Snapshot(POLICIES, MemoryIndex(), EngineSettings(), keys, top_k=5))
    gate = ActionGate(live, asked, signing_secret=secret, body_bytes_max=100)  # type: ignore[arg-type]
    segments = target.split("/")
    [route] = [
        route
        for route in gate.routes()
        if route.method == method
        and len(route.path.split("/")) == len(segments)
        and route.path.split("/")[2] == segments[2]
    ]
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    client = FakeClient(target, text, headers)
    await route.handler(client)  # type: ignore[arg-type]
    return client, asked


async def test_a_request_is_read_strictly_and_decided() -> None:
    """The record's own bytes are the answer."""
    client, asked = await ask("POST", "/v0/decide", REQUEST)
    assert (client.status, client.answered) == (200, b'{"verdict":"TRUST"}')
    assert asked.calls == [("decide", REQUEST)]


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"{", MalformedRequestError), (b"[]", InvalidRequestError), (b'{"a":1,"a":2}', InvalidRequestError)],
)
async def test_what_is_no_request(body: bytes, error: type[Exception]) -> None:
    """It is refused as what it is."""
    with pytest.raises(error):
        await ask("POST", "/v0/decide", body)


async def test_a_key_decides_for_its_tenant_and_its_actions() -> None:
    """Another tenant, none, and an action outside the key's patterns are 403."""
    bearer = {"authorization": "Bearer k"}
    mine = {**REQUEST, "subject": {**REQUEST["subject"], "tenant_id": "acme"}}
    _, asked = await ask("POST", "/v0/decide", mine, keys=KEYS, **bearer)
    assert len(asked.calls) == 1
    for theirs in (REQUEST, {**mine, "subject": {**mine["subject"], "tenant_id": "zeta"}}):
        with pytest.raises(ForbiddenError) as caught:
            await ask("POST", "/v0/decide", theirs, keys=KEYS, **bearer)
        assert caught.value.pointer == "/subject/tenant_id"
    other = {**mine, "action": {**mine["action"], "type": "account.close"}}
    with pytest.raises(ForbiddenError, match="does not cover"):
        await ask("POST", "/v0/decide", other, keys=KEYS, **bearer)


async def test_reading_is_scoped() -> None:
    """A key reads its own tenant, the local operator every one; what is no id is not looked for."""
    _, asked = await ask("GET", f"/v0/decisions/{entry_id(1)}")
    assert asked.calls == [("read", EVERY_TENANT, entry_id(1))]
    _, asked = await ask("GET", f"/v0/decisions/{entry_id(1)}", keys=KEYS, authorization="Bearer k")
    assert asked.calls == [("read", Tenant("acme"), entry_id(1))]
    with pytest.raises(NotFoundError):
        await ask("GET", "/v0/decisions/x")


async def test_events() -> None:
    """Type and data are passed on, the type without its spaces, the data as an object."""
    target = f"/v0/decisions/{entry_id(1)}/events"
    client, asked = await ask("POST", target, {"type": " note ", "data": {"a": 1}, "else": 1})
    assert client.json == {"event_id": "E"}
    assert asked.calls == [("append", EVERY_TENANT, entry_id(1), "note", {"a": 1})]
    client, asked = await ask("POST", target, {"type": "label"}, memory_id="M")
    assert client.json == {"event_id": "E", "memory_id": "M"}
    assert asked.calls[0][4] == {}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({}, "/type"),
        ({"type": 1}, "/type"),
        ({"type": " "}, "/type"),
        ({"type": "note", "data": []}, "/data"),
    ],
)
async def test_what_is_no_event(body: Any, pointer: str) -> None:
    """It is 422 with a pointer."""
    with pytest.raises(InvalidRequestError) as caught:
        await ask("POST", f"/v0/decisions/{entry_id(1)}/events", body)
    assert caught.value.pointer == pointer


async def test_an_event_of_nothing() -> None:
    """What is no id is 404, whatever the body."""
    with pytest.raises(NotFoundError):
        await ask("POST", "/v0/decisions/x/events", b"{")


async def test_the_policy_in_force() -> None:
    """The main policy and the packs, each with id, version and hash."""
    client, _ = await ask("GET", "/v0/policy")
    assert client.json["policy_hash"] == POLICIES.main.policy_hash
    assert [pack["policy_id"] for pack in client.json["packs"]] == [pack.policy_id for pack in POLICIES.packs]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v0/decide", orjson.dumps(REQUEST)),
        ("GET", f"/v0/decisions/{entry_id(1)}", b""),
        ("POST", f"/v0/decisions/{entry_id(1)}/events", b'{"type":"note"}'),
        ("GET", "/v0/policy", b""),
    ],
)
async def test_every_route_asks_who_it_is(method: str, target: str, body: bytes) -> None:
    """Without the key, or where there is a secret without the signature, nothing is served."""
    with pytest.raises(UnauthorizedError):
        await ask(method, target, body, keys=KEYS)
    with pytest.raises(UnauthorizedError):
        await ask(method, target, body, keys=KEYS, secret="s", authorization="Bearer k")
    signature = {"x-lumyn-signature": sign(b"s", body)}
    client, _ = await ask(method, target, body, keys=KEYS, secret="s", **signature)
    assert client.status == 200
