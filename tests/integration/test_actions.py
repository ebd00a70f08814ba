"""The action gate through a whole gateway: four verdicts in HTTP's own terms, and the judged bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.kernel.canon import sha256_digest
from tests.kit.gateways import RunningGateway, eventually, running_gateway
from tests.kit.rawpeer import Wire, chunked, raw_client
from tests.kit.tools import (
    ESCALATED,
    KEYS,
    OPERATORS,
    PATH,
    REFUNDED,
    TRUSTED,
    Tool,
    act,
    answer,
    ask,
    json_of,
    request,
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
    """A gateway with a route that writes, and one that reads."""
    look = route(
        tool.port, name="look", method="GET", path="/orders/{order_id}", type="support.update_ticket"
    )
    look |= {"effect": "read", "amount": None, "evidence": {"ticket_id": "query:ticket"}}
    async with running_gateway(
        tmp_path, keys=KEYS, operators=OPERATORS, actions=[route(tool.port), look]
    ) as running:
        yield running


async def test_what_is_trusted_goes_as_it_was_judged(gate: RunningGateway, tool: Tool) -> None:
    """The tool gets the very bytes whose digest the record holds, and the agent the tool's very answer."""
    body = orjson.dumps(TRUSTED, option=orjson.OPT_INDENT_2)
    got = await act(gate.port, body, x_custom="kept", x_lumyn_verdict="forged")
    assert (got.status, got.body) == (201, REFUNDED)
    [asked] = tool.executed
    assert asked.start == "POST /pay/orders/O-1/refunds HTTP/1.1"
    assert asked.body == body
    assert asked.header("x-custom") == "kept"
    assert asked.header("authorization") is None
    assert asked.header("x-lumyn-verdict") is None
    assert asked.header("x-request-id") == got.header("x-request-id")
    [record] = await gate.decisions()
    assert record["decision_id"] == got.header("x-lumyn-decision-id")
    assert record["request"]["context"]["digest"] == sha256_digest(body)
    assert record["request"]["action"] == {
        "type": "support.refund",
        "intent": "refund order O-1",
        "amount": {"value": 20, "currency": "USD"},
        "target": {"system": "refunds", "resource_type": "order", "resource_id": "O-1"},
    }
    assert record["request"]["subject"] == {"type": "service", "id": "bot", "tenant_id": "acme"}
    [outcome] = await gate.outcomes()
    assert (outcome["fate"], outcome["status"], outcome["backend"]) == ("complete", 201, "refunds")


async def test_missing_evidence_is_asked_for(gate: RunningGateway, tool: Tool) -> None:
    """422 names each field, its question and where in the request it belongs; nothing is forwarded."""
    got = await act(gate.port, {"amount": 20, "currency": "USD"})
    said = json_of(got)
    assert (got.status, said["verdict"], said["reason_code"]) == (422, "QUERY", "MISSING_EVIDENCE_REFUND")
    assert [(query["field"], query["source"]) for query in said["queries"]] == [
        ("evidence.ticket_id", "body:/ticket"),
        ("evidence.customer_id", "body:/customer"),
    ]
    assert all(query["question"] for query in said["queries"])
    assert got.header("x-should-retry") == "false"
    assert tool.executed == []
    assert (await gate.outcomes())[0]["fate"] == "refused"


async def test_what_is_denied_is_told_why(gate: RunningGateway, tool: Tool) -> None:
    """403 with the deciding code and the decision to look at; nothing is forwarded."""
    got = await act(gate.port, TRUSTED | {"risk": "high"})
    said = json_of(got)
    assert (got.status, said["reason_code"]) == (403, "PAYMENT_INSTRUMENT_HIGH_RISK")
    assert said["decision_id"] == got.header("x-lumyn-decision-id")
    assert got.header("x-should-retry") == "false"
    assert tool.executed == []


async def test_a_person_is_asked(gate: RunningGateway, tool: Tool) -> None:
    """202 with a handle and where to look; repeating asks nobody again."""
    got = await act(gate.port, ESCALATED)
    said = json_of(got)
    assert (got.status, said["verdict"]) == (202, "ESCALATE")
    assert got.header("location") == said["approval"]["poll"] == f"/v0/approvals/{said['decision_id']}"
    assert (got.header("x-should-retry"), got.header("retry-after")) == ("false", "5")
    again = json_of(await act(gate.port, ESCALATED))
    assert again["approval"]["approval_id"] == said["approval"]["approval_id"]
    assert again["decision_id"] != said["decision_id"]
    assert tool.executed == []


async def test_advisory_lets_it_pass_and_asks_nobody(tmp_path: Path, tool: Tool) -> None:
    """Under advisory the true verdict is recorded, the action goes, and no approval is opened."""
    settings: dict[str, Any] = {"keys": KEYS, "policy": {"mode": "advisory"}, "actions": [route(tool.port)]}
    async with running_gateway(tmp_path, **settings) as gate:
        got = await act(gate.port, ESCALATED)
        assert (got.status, got.header("x-lumyn-verdict")) == (201, "ESCALATE")
        listed = json_of(await ask(gate.admin_port, "GET", "/admin/approvals"))
        assert listed == {"approvals": [], "next_cursor": None}


async def test_a_reading_route_reads(gate: RunningGateway, tool: Tool) -> None:
    """A GET goes with its query as it came, is decided on it, and is no execution that is kept."""
    tool.says = answer(200, b"[]")
    got = await ask(gate.port, "GET", "/orders/O%2D7?ticket=T-1&x=%20y", idempotency_key="k")
    assert got.status == 200
    again = await ask(gate.port, "GET", "/orders/O%2D7?ticket=T-1&x=%20y", idempotency_key="k")
    assert again.header("idempotent-replayed") is None
    assert [asked.start for asked in tool.executed] == [
        "GET /pay/orders/O%2D7?ticket=T-1&x=%20y HTTP/1.1"
    ] * 2
    record = (await gate.decisions())[0]
    assert record["request"]["evidence"] == {"ticket_id": "T-1"}
    assert record["request"]["action"]["target"]["resource_id"] == "O-7"


async def test_an_error_of_the_tool_is_relayed(gate: RunningGateway, tool: Tool) -> None:
    """What the tool refuses reaches the agent as the tool said it, and the record says `failed`."""
    tool.says = answer(409, b'{"error":"already refunded"}', "x-tool: yes")
    got = await act(gate.port)
    assert (got.status, got.body, got.header("x-tool")) == (409, b'{"error":"already refunded"}', "yes")
    [outcome] = await gate.outcomes()
    assert (outcome["fate"], outcome["status"]) == ("failed", 409)


async def test_no_redirect_is_followed(gate: RunningGateway, tool: Tool) -> None:
    """A redirect is the agent's to see: the gate sends nothing anywhere else."""
    tool.says = answer(307, b"", f"location: http://127.0.0.1:{tool.port}/elsewhere")
    got = await act(gate.port)
    assert (got.status, got.header("location")) == (307, f"http://127.0.0.1:{tool.port}/elsewhere")
    assert len(tool.executed) == 1


async def test_a_stream_is_relayed_as_it_comes(gate: RunningGateway, tool: Tool) -> None:
    """Server-sent events of a tool need no end mark of OpenAI's: their framing says that they are whole."""
    events = [b"data: one\n\n", b"data: two\n\n"]

    async def stream(wire: Wire) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await wire.send(head + chunked(*events))
        await wire.read_all()

    tool.says = stream
    got = await act(gate.port)
    assert (got.status, got.body, got.complete) == (200, b"".join(events), True)
    [outcome] = await gate.outcomes()
    assert outcome["fate"] == "complete"
    assert "usage" not in outcome


async def test_a_key_covers_what_it_covers(tmp_path: Path, tool: Tool) -> None:
    """A key without the action type is refused before anything is decided; so is one that is none."""
    keys = [KEYS[0] | {"actions": ["llm.*"]}]
    async with running_gateway(tmp_path, keys=keys, actions=[route(tool.port)]) as gate:
        assert (await act(gate.port)).status == 403
        assert (await act(gate.port, key="nonsense")).status == 401
        assert (await act(gate.port, key=None)).status == 401
        assert await gate.decisions() == []
    assert tool.executed == []


async def test_a_store_that_fails_forwards_nothing(gate: RunningGateway, tool: Tool) -> None:
    """Where the decision cannot be committed the agent is told 503, and to come again."""
    await gate.store.close()
    got = await act(gate.port)
    assert (got.status, got.header("x-should-retry")) == (503, "true")
    assert tool.executed == []
    got = await act(gate.port, idempotency_key="k")
    assert got.status == 503
    assert tool.executed == []


async def test_an_answer_that_breaks_off_is_cut(gate: RunningGateway, tool: Tool) -> None:
    """A tool that dies in the middle leaves the agent with an answer that is visibly not whole."""

    async def half(wire: Wire) -> None:
        await wire.send(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"half":')

    tool.says = half
    async with raw_client(gate.port) as client:
        await client.send(request("POST", PATH, TRUSTED))
        got = await client.read_answer()
    assert not got.complete
    assert (await gate.outcomes())[0]["fate"] == "cut"


async def test_a_client_that_leaves_does_not_undo_what_it_asked_for(gate: RunningGateway, tool: Tool) -> None:
    """The action is carried to its end without its client, and its repetition gets the answer."""
    tool.held = asyncio.Event()
    async with raw_client(gate.port) as client:
        await client.send(request("POST", PATH, TRUSTED, idempotency_key="op-1"))
        assert await eventually(lambda: tool.executed)
        client.reset()
    under_way = await act(gate.port, idempotency_key="op-1")
    assert (under_way.status, json_of(under_way)["reason_code"]) == (409, "IDEMPOTENCY_IN_FLIGHT")
    tool.held.set()
    [outcome] = await gate.outcomes()
    assert outcome["fate"] == "complete"
    got = await act(gate.port, idempotency_key="op-1")
    assert (got.status, got.body, got.header("idempotent-replayed")) == (201, REFUNDED, "true")
    assert len(tool.executed) == 1


async def test_a_client_that_leaves_a_reading_gives_it_up(gate: RunningGateway, tool: Tool) -> None:
    """What only reads is given up with its client, as an LLM's answer is."""
    tool.held = asyncio.Event()
    async with raw_client(gate.port) as client:
        await client.send(request("GET", "/orders/O-1?ticket=T-1"))
        assert await eventually(lambda: tool.executed)
        client.reset()
    [outcome] = await gate.outcomes()
    assert outcome["fate"] == "client_gone"


async def test_a_drain_ends_what_is_carried(tmp_path: Path, tool: Tool) -> None:
    """A gateway that stops gives an action without a client its time, then cuts it, and says so."""
    tool.held = asyncio.Event()
    settings: dict[str, Any] = {"keys": KEYS, "actions": [route(tool.port)], "limits": {"drain_s": 0.1}}
    async with running_gateway(tmp_path, **settings) as gate, raw_client(gate.port) as client:
        await client.send(request("POST", PATH, TRUSTED, idempotency_key="op-1"))
        assert await eventually(lambda: tool.executed)
        client.reset()
    async with running_gateway(tmp_path, **settings) as gate:
        [outcome] = await gate.outcomes()
        assert outcome["fate"] == "cut"
        got = await act(gate.port, idempotency_key="op-1")
        assert (got.status, json_of(got)["reason_code"]) == (409, "IDEMPOTENCY_UNKNOWN")
    assert len(tool.executed) == 1


async def test_a_stop_tells_the_client_that_is_there(tmp_path: Path, tool: Tool) -> None:
    """At the end of the drain a waiting client is not left hanging, and its action is recorded as cut."""
    tool.held = asyncio.Event()
    settings: dict[str, Any] = {"keys": KEYS, "actions": [route(tool.port)], "limits": {"drain_s": 0.1}}
    async with contextlib.AsyncExitStack() as stack:
        async with running_gateway(tmp_path, **settings) as gate:
            client = await stack.enter_async_context(raw_client(gate.port))
            await client.send(request("POST", PATH, TRUSTED))
            assert await eventually(lambda: tool.executed)
        assert await client.closed(5)
    async with running_gateway(tmp_path, **settings) as gate:
        assert (await gate.outcomes())[0]["fate"] == "cut"


async def test_metrics_tell_of_actions(gate: RunningGateway, tool: Tool) -> None:
    """Actions have a histogram of their own and stay out of the LLMs'."""
    await act(gate.port, idempotency_key="k")
    await act(gate.port, idempotency_key="k")
    await act(gate.port, ESCALATED)
    page = (await ask(gate.admin_port, "GET", "/metrics")).body.decode()
    assert 'lumyn_action_duration_seconds_count{operation="support.refund"} 1.0' in page
    assert 'lumyn_action_repeats_total{answer="REPLAYED"} 1.0' in page
    assert 'lumyn_approvals_total{step="asked"} 1.0' in page
    assert 'gen_ai_operation_name="support.refund"' not in page
