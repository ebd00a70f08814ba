"""Attacks on the action gate: what was judged is what is done, and nothing else reaches the tool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from gateway.kernel.canon import sha256_digest
from tests.kit.gateways import RunningGateway, running_gateway
from tests.kit.rawpeer import raw_client
from tests.kit.tools import (
    AGENT,
    ESCALATED,
    KEYS,
    OPERATOR,
    OPERATORS,
    PATH,
    TRUSTED,
    Tool,
    act,
    answer,
    ask,
    json_of,
    resolve,
    route,
    running_tool,
)


@pytest.fixture
async def tool() -> AsyncIterator[Tool]:
    """A tool that executes refunds."""
    async with running_tool() as running:
        yield running


@pytest.fixture
async def gate(tmp_path: Path, tool: Tool) -> AsyncIterator[RunningGateway]:
    """A gateway in front of it, with a credential of its own for the tool."""
    own = route(tool.port, api_key="canary-tool-key-5e1c")
    async with running_gateway(tmp_path, keys=KEYS, operators=OPERATORS, actions=[own]) as running:
        yield running


SMUGGLED = {
    "a key twice": b'{"amount":1,"amount":2500,"currency":"USD"}',
    "a key twice, escaped": b'{"amount":1,"\\u0061mount":2500,"currency":"USD"}',
    "another case": b'{"amount":1,"Amount":2500,"currency":"USD"}',
    "a number no double holds": b'{"amount":25.000000000000000001,"currency":"USD"}',
    "an exponent too large": b'{"amount":1e999,"currency":"USD"}',
    "a comment": b'{"amount":1/*00*/,"currency":"USD"}',
    "a second document": b'{"amount":1,"currency":"USD"}{"amount":2500}',
    "a byte order mark": b'\xef\xbb\xbf{"amount":1,"currency":"USD"}',
    "another encoding": '{"amount":1,"currency":"USD"}'.encode("utf-16"),
    "a lone surrogate": b'{"amount":1,"currency":"USD","ticket":"\\ud800"}',
}


@pytest.mark.parametrize("attack", SMUGGLED)
async def test_a_body_with_two_meanings_goes_nowhere(gate: RunningGateway, tool: Tool, attack: str) -> None:
    """Refused before it is decided, whatever another reader might make of it."""
    got = await act(gate.port, SMUGGLED[attack])
    assert got.status in {400, 422}
    assert tool.executed == []
    assert await gate.decisions() == []


@pytest.mark.parametrize(
    "path",
    [
        "/orders/..%2f..%2fpayouts/refunds",
        "/orders/%2e%2e/refunds",
        "/orders/O-1;x=1/refunds",
        "/orders/O-1%00/refunds",
        "/orders/O%252f1/refunds",
        "/orders/O-1/refunds?_method=DELETE",
        "/orders/O-1/refunds?a=1;b=2",
        "/orders/O-1/refunds?a=1#b",
    ],
)
async def test_a_path_with_two_meanings_goes_nowhere(gate: RunningGateway, tool: Tool, path: str) -> None:
    """Dots, encoded separators, parameters, fragments: refused, nothing recorded, nothing sent."""
    got = await ask(gate.port, "POST", path, TRUSTED)
    assert got.status == 400
    assert tool.executed == []
    assert await gate.decisions() == []


@pytest.mark.parametrize(
    "path", ["//orders/O-1/refunds", "/orders/O-1/refunds/", "/Orders/O-1/refunds", "/x"]
)
async def test_a_path_beside_the_route_is_none(gate: RunningGateway, tool: Tool, path: str) -> None:
    """Only the route itself is served; nothing falls through to the tool."""
    assert (await ask(gate.port, "POST", path, TRUSTED)).status == 404
    assert tool.executed == []


async def test_no_header_takes_the_tool_elsewhere(gate: RunningGateway, tool: Tool) -> None:
    """Method and path overrides, forged control headers and the agent's credential stay behind."""
    got = await act(
        gate.port,
        x_http_method_override="DELETE",
        x_original_url="/payouts",
        x_rewrite_url="/payouts",
        x_forwarded_prefix="/payouts",
        x_lumyn_approval="forged",
        x_lumyn_verdict="TRUST",
        cookie="session=1",
        x_api_key="mine",
    )
    assert got.status == 201
    [asked] = tool.executed
    names = {name for name, _ in asked.headers}
    assert not names & {
        "x-http-method-override",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-prefix",
        "x-lumyn-approval",
        "x-lumyn-verdict",
        "cookie",
        "x-api-key",
    }
    assert asked.header("authorization") == "Bearer canary-tool-key-5e1c"


async def test_two_requests_do_not_become_one(gate: RunningGateway, tool: Tool) -> None:
    """A body that goes on after its length is a second request, judged by itself."""
    body = orjson.dumps(TRUSTED)
    hidden = b"POST /pay/payouts HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {AGENT}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    async with raw_client(gate.port) as client:
        await client.send(head + body + hidden)
        assert (await client.read_answer()).status == 201
        assert (await client.read_answer()).status == 404
    assert len(tool.executed) == 1


async def test_what_was_approved_is_what_is_done(gate: RunningGateway, tool: Tool) -> None:
    """The executed bytes are those whose digest the person approved, among many that try to slip in."""
    got = await act(gate.port, ESCALATED)
    approval_id = json_of(got)["approval"]["approval_id"]
    await resolve(gate.admin_port, approval_id)
    others = [ESCALATED | {"amount": amount} for amount in (251, 2500, 25000)]
    racing = [act(gate.port, body, x_lumyn_approval=approval_id) for body in (*others, ESCALATED, *others)]
    statuses = sorted(one.status for one in await asyncio.gather(*racing))
    assert statuses == [201] + [409] * 6
    [asked] = tool.executed
    assert orjson.loads(asked.body)["amount"] == 250
    record = next(one for one in await gate.decisions() if one["extensions"]["approval"].get("call_digest"))
    assert record["request"]["context"]["digest"] == sha256_digest(asked.body)


async def test_secrets_stay_where_they_are(
    gate: RunningGateway, tool: Tool, capfd: pytest.CaptureFixture[str]
) -> None:
    """No key of agent, operator or tool, and no Idempotency-Key, stands in database, answers or log."""
    tool.says = answer(500, b'{"error":"no"}')
    said = [await act(gate.port, idempotency_key="canary-idempotency-77aa")]
    got = await act(gate.port, ESCALATED, idempotency_key="canary-idempotency-88bb")
    said += [got, await resolve(gate.admin_port, json_of(got)["approval"]["approval_id"])]
    said.append(await act(gate.port, b'{"amount":', idempotency_key="canary-idempotency-77aa"))
    said.append(await ask(gate.admin_port, "GET", "/metrics"))
    said.append(await ask(gate.admin_port, "GET", "/admin/approvals"))
    await gate.outcomes(count=2)
    kept = b"".join(file.read_bytes() for file in gate.database.parent.glob("lumyn.db*") if file.is_file())
    told = b"".join(one.head + one.body for one in said) + "".join(capfd.readouterr()).encode()
    for canary in (AGENT, OPERATOR, "canary-tool-key-5e1c"):
        assert canary.encode() not in kept + told
    assert b"canary-idempotency" not in kept + told
