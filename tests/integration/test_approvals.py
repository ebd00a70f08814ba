"""Approvals from the question to the one execution, over sockets, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.kernel.types import EVERY_TENANT
from tests.kit.gateways import RunningGateway, running_gateway
from tests.kit.tools import (
    AGENT,
    ESCALATED,
    KEYS,
    OPERATORS,
    OTHER_AGENT,
    STRANGER,
    TRUSTED,
    Tool,
    act,
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


def settings_for(tool: Tool, **changed: Any) -> dict[str, Any]:
    """A gateway's settings with the refund route, agents and an operator."""
    return {"keys": KEYS, "operators": OPERATORS, "actions": [route(tool.port, **changed)]}


@pytest.fixture(params=["sqlite", "postgresql"])
async def gate(request: pytest.FixtureRequest, tmp_path: Path, tool: Tool) -> AsyncIterator[RunningGateway]:
    """A gateway on each database."""
    settings = settings_for(tool)
    if request.param == "postgresql":
        settings["storage"] = {"url": await request.getfixturevalue("postgres").empty()}
    async with running_gateway(tmp_path, **settings) as running:
        yield running


async def asked(gate: RunningGateway, body: object = ESCALATED, **headers: str) -> str:
    """Ask for a refund that waits for a person; return the approval's id."""
    got = await act(gate.port, body, **headers)
    assert got.status == 202, got.body
    found: str = json_of(got)["approval"]["approval_id"]
    return found


async def test_asked_approved_executed_once(gate: RunningGateway, tool: Tool) -> None:
    """Pending, approved, and then the very same request goes, exactly once; every step is on the record."""
    approval_id = await asked(gate)
    assert json_of(await ask(gate.port, "GET", f"/v0/approvals/{approval_id}"))["state"] == "pending"
    assert (await resolve(gate.admin_port, approval_id)).status == 200
    shown = json_of(await ask(gate.port, "GET", f"/v0/approvals/{approval_id}"))
    assert (shown["state"], shown["resolved_by"], shown["reason"]) == ("approved", "ann", "known customer")
    got = await act(gate.port, ESCALATED)
    assert (got.status, got.header("x-lumyn-verdict")) == (201, "ESCALATE")
    again = await act(gate.port, ESCALATED)
    assert (again.status, json_of(again)["reason_code"]) == (409, "APPROVAL_USED")
    assert len(tool.executed) == 1

    executing = got.header("x-lumyn-decision-id")
    shown = json_of(await ask(gate.port, "GET", f"/v0/approvals/{approval_id}"))
    assert (shown["state"], shown["used_by"]) == ("used", executing)
    record = json_of(await ask(gate.port, "GET", f"/v0/decisions/{executing}"))
    assert record["extensions"]["approval"]["approval_id"] == approval_id
    assert record["extensions"]["approval"]["approved_by"] == "ann"
    first = json_of(await ask(gate.port, "GET", f"/v0/decisions/{approval_id}"))
    steps = [
        event["data"].get("state") for event in first["decision_event_log"] if event["type"] == "override"
    ]
    assert steps == ["pending", "approved", "used"]


async def test_eight_at_once_execute_one(gate: RunningGateway, tool: Tool) -> None:
    """Of eight concurrent repetitions of an approved request one executes; the others are refused."""
    approval_id = await asked(gate)
    await resolve(gate.admin_port, approval_id)
    got = await asyncio.gather(*(act(gate.port, ESCALATED) for _ in range(8)))
    assert sorted(one.status for one in got) == [201] + [409] * 7
    assert {json_of(one)["reason_code"] for one in got if one.status == 409} == {"APPROVAL_USED"}
    assert len(tool.executed) == 1
    assert len(await gate.decisions()) == 9
    fates = [outcome["fate"] for outcome in await gate.outcomes(count=9)]
    assert sorted(fates) == ["complete"] + ["refused"] * 8


async def test_eight_first_at_once_ask_once(gate: RunningGateway, tool: Tool) -> None:
    """Eight concurrent first requests open one approval between them, and all are told of it."""
    got = await asyncio.gather(*(act(gate.port, ESCALATED) for _ in range(8)))
    assert {one.status for one in got} == {202}
    assert len({json_of(one)["approval"]["approval_id"] for one in got}) == 1
    listed = json_of(await ask(gate.admin_port, "GET", "/admin/approvals?state=pending"))["approvals"]
    assert len(listed) == 1
    assert tool.executed == []


async def test_changed_arguments_are_refused_with_both_digests(gate: RunningGateway, tool: Tool) -> None:
    """250 was approved and 2,500 is sent under its name: refused, recorded, both digests told."""
    approval_id = await asked(gate)
    await resolve(gate.admin_port, approval_id)
    got = await act(gate.port, ESCALATED | {"amount": 2500}, x_lumyn_approval=approval_id)
    said = json_of(got)
    assert (got.status, said["reason_code"]) == (409, "APPROVAL_MISMATCH")
    for digest in (said["approval"]["arguments_digest"], said["approval"]["approved_arguments_digest"]):
        assert digest in said["detail"]
    assert tool.executed == []
    record = (await gate.decisions())[0]
    assert record["extensions"]["approval"]["refused"] == "APPROVAL_MISMATCH"
    assert record["request"]["action"]["amount"]["value"] == 2500
    assert (await act(gate.port, ESCALATED, x_lumyn_approval=approval_id)).status == 201


async def test_an_operation_s_key_finds_its_approval(gate: RunningGateway, tool: Tool) -> None:
    """With an Idempotency-Key the changed request need not name the approval to be caught."""
    approval_id = await asked(gate, idempotency_key="op-7")
    await resolve(gate.admin_port, approval_id)
    got = await act(gate.port, ESCALATED | {"amount": 2500}, idempotency_key="op-7")
    assert json_of(got)["reason_code"] == "APPROVAL_MISMATCH"
    done = await act(gate.port, ESCALATED, idempotency_key="op-7")
    assert done.status == 201
    replayed = await act(gate.port, ESCALATED, idempotency_key="op-7")
    assert (replayed.status, replayed.header("idempotent-replayed")) == (201, "true")
    assert len(tool.executed) == 1


async def test_a_changed_request_without_a_name_asks_anew(gate: RunningGateway, tool: Tool) -> None:
    """Other arguments by themselves are another request: a person is asked about those."""
    await resolve(gate.admin_port, await asked(gate))
    other = await asked(gate, ESCALATED | {"amount": 2500})
    shown = json_of(await ask(gate.admin_port, "GET", f"/admin/approvals/{other}"))
    assert shown["action"]["amount"] == {"value": 2500, "currency": "USD"}
    assert shown["reason_codes"] == ["REFUND_OVER_ESCALATION_LIMIT"]
    assert tool.executed == []


async def test_a_denial_is_told(gate: RunningGateway, tool: Tool) -> None:
    """Denied: the repetition is refused with the reason, and not to be retried."""
    approval_id = await asked(gate)
    assert (await resolve(gate.admin_port, approval_id, "deny")).status == 200
    got = await act(gate.port, ESCALATED)
    said = json_of(got)
    assert (got.status, said["reason_code"], got.header("x-should-retry")) == (
        403,
        "APPROVAL_DENIED",
        "false",
    )
    assert "known customer" in said["detail"]
    assert tool.executed == []


@pytest.mark.parametrize("key", [AGENT, STRANGER, None, "nonsense"])
async def test_no_agent_approves(gate: RunningGateway, tool: Tool, key: str | None) -> None:
    """An API key of the data plane is no operator's, and neither is none."""
    approval_id = await asked(gate)
    assert (await resolve(gate.admin_port, approval_id, key=key)).status == 401
    assert (await act(gate.port, ESCALATED)).status == 202
    assert tool.executed == []


async def test_nobody_approves_where_nobody_is_configured(tmp_path: Path, tool: Tool) -> None:
    """Without operators the page says so, whoever asks."""
    async with running_gateway(tmp_path, **settings_for(tool) | {"operators": []}) as gate:
        approval_id = await asked(gate)
        got = await resolve(gate.admin_port, approval_id)
        assert got.status == 403
        assert "operators" in json_of(got)["detail"]


@pytest.mark.parametrize("key", [OTHER_AGENT, STRANGER])
async def test_an_approval_is_its_key_s_alone(gate: RunningGateway, tool: Tool, key: str) -> None:
    """Another key can neither see it nor use it, by name or by sending the very same bytes."""
    approval_id = await asked(gate)
    await resolve(gate.admin_port, approval_id)
    assert (await ask(gate.port, "GET", f"/v0/approvals/{approval_id}", key=key)).status == 404
    named = await act(gate.port, ESCALATED, key=key, x_lumyn_approval=approval_id)
    assert (named.status, json_of(named)["reason_code"]) == (404, "APPROVAL_UNKNOWN")
    plain = await act(gate.port, ESCALATED, key=key)
    assert plain.status == 202
    assert json_of(plain)["approval"]["approval_id"] != approval_id
    assert tool.executed == []


@pytest.mark.parametrize(
    "forged", ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "x", "../../etc", "01arz3ndektsv4rrffq69g5fav"]
)
async def test_a_forged_name_is_refused_and_recorded(gate: RunningGateway, tool: Tool, forged: str) -> None:
    """An approval that is none lets nothing through and asks nobody."""
    got = await act(gate.port, ESCALATED, x_lumyn_approval=forged)
    assert (got.status, json_of(got)["reason_code"]) == (404, "APPROVAL_UNKNOWN")
    assert (await gate.outcomes())[0]["fate"] == "refused"
    assert json_of(await ask(gate.admin_port, "GET", "/admin/approvals"))["approvals"] == []
    assert tool.executed == []


async def test_an_agent_cannot_write_its_own_approval(gate: RunningGateway, tool: Tool) -> None:
    """The events endpoint takes no approval, and one that was forged past it would not count."""
    approval_id = await asked(gate)
    body = {"type": "override", "data": {"kind": "approval", "state": "approved", "by": "ann"}}
    got = await ask(gate.port, "POST", f"/v0/decisions/{approval_id}/events", body)
    assert (got.status, json_of(got)["pointer"]) == (422, "/data/kind")
    assert len(await gate.store.events(EVERY_TENANT, approval_id)) == 2
    assert (await act(gate.port, ESCALATED)).status == 202
    assert tool.executed == []


async def test_an_expired_approval_asks_anew(tmp_path: Path, tool: Tool) -> None:
    """What nobody used in time is void: by name it is refused, else a new question says why."""
    async with running_gateway(tmp_path, **settings_for(tool, use_s=0.05)) as gate:
        approval_id = await asked(gate)
        await resolve(gate.admin_port, approval_id)
        await asyncio.sleep(0.06)
        named = await act(gate.port, ESCALATED, x_lumyn_approval=approval_id)
        assert json_of(named)["reason_code"] == "APPROVAL_EXPIRED"
        anew = json_of(await act(gate.port, ESCALATED))
        assert anew["approval"]["follows"] == {"approval_id": approval_id, "reason": "APPROVAL_EXPIRED"}
        assert tool.executed == []


async def test_another_policy_voids_it(tmp_path: Path, tool: Tool) -> None:
    """Approved under one policy, used after a restart under another: refused with both hashes."""
    policy = tmp_path / "policy.yml"
    text = Path("policies/lumyn-support.v0.yml").read_text()
    policy.write_text(text)
    settings = settings_for(tool) | {"policy": {"path": str(policy)}}
    async with running_gateway(tmp_path, **settings) as gate:
        approval_id = await asked(gate)
        await resolve(gate.admin_port, approval_id)
    policy.write_text(text.replace("refund_escalation_usd: 200", "refund_escalation_usd: 201"))
    async with running_gateway(tmp_path, **settings) as gate:
        named = await act(gate.port, ESCALATED, x_lumyn_approval=approval_id)
        assert json_of(named)["reason_code"] == "APPROVAL_POLICY_CHANGED"
        assert (await act(gate.port, ESCALATED)).status == 202
        assert tool.executed == []


async def test_an_approval_outlives_the_gateway(tmp_path: Path, tool: Tool) -> None:
    """Asked before a restart, approved and used after it."""
    async with running_gateway(tmp_path, **settings_for(tool)) as gate:
        approval_id = await asked(gate)
    async with running_gateway(tmp_path, **settings_for(tool)) as gate:
        await resolve(gate.admin_port, approval_id)
    async with running_gateway(tmp_path, **settings_for(tool)) as gate:
        assert (await act(gate.port, ESCALATED)).status == 201


async def test_another_upstream_is_another_call(tmp_path: Path, tool: Tool) -> None:
    """What was approved for one place does not go to another."""
    async with running_gateway(tmp_path, **settings_for(tool)) as gate:
        approval_id = await asked(gate)
        await resolve(gate.admin_port, approval_id)
    moved = settings_for(tool, upstream=f"http://127.0.0.1:{tool.port}/other")
    async with running_gateway(tmp_path, **moved) as gate:
        named = await act(gate.port, ESCALATED, x_lumyn_approval=approval_id)
        assert json_of(named)["reason_code"] == "APPROVAL_MISMATCH"
        assert (await act(gate.port, ESCALATED)).status == 202
        assert tool.executed == []


async def test_pages_and_filters(gate: RunningGateway) -> None:
    """Operators page through what waits, narrowed by state and key; a bad filter is told."""
    ids = [await asked(gate, ESCALATED | {"amount": amount}) for amount in (300, 301, 302)]
    await asked(gate, ESCALATED, key=STRANGER)
    await resolve(gate.admin_port, ids[0], "deny")
    listed = json_of(
        await ask(gate.admin_port, "GET", "/admin/approvals?state=pending&principal=bot&limit=1")
    )
    assert [one["approval_id"] for one in listed["approvals"]] == [ids[2]]
    cursor = listed["next_cursor"]
    path = f"/admin/approvals?state=pending&principal=bot&limit=9&cursor={cursor}"
    rest = json_of(await ask(gate.admin_port, "GET", path))
    assert [one["approval_id"] for one in rest["approvals"]] == [ids[1]]
    assert rest["next_cursor"] is None
    assert len(json_of(await ask(gate.admin_port, "GET", "/admin/approvals"))["approvals"]) == 4
    for query in ("state=open", "limit=0", "limit=x", "cursor=y", "colour=red", "limit=1&limit=2"):
        assert (await ask(gate.admin_port, "GET", f"/admin/approvals?{query}")).status == 422
    assert (await ask(gate.admin_port, "GET", "/admin/approvals/x")).status == 404


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"reason":""}', b'{"reason":" "}', b'{"reason":"\\u001b[2J"}', b'{"reason":1}', b"[]"],
)
async def test_a_word_needs_a_reason(tmp_path: Path, tool: Tool, body: bytes) -> None:
    """Without a reason that a person can read nothing is approved."""
    async with running_gateway(tmp_path, **settings_for(tool)) as gate:
        approval_id = await asked(gate)
        path = f"/admin/approvals/{approval_id}/approve"
        got = await ask(gate.admin_port, "POST", path, body, key="operator-key")
        assert got.status in {400, 422}
        assert (await act(gate.port, ESCALATED)).status == 202


async def test_a_store_that_fails_loses_no_question(gate: RunningGateway, tool: Tool) -> None:
    """Where the question cannot be recorded the agent is told 503, and nobody was asked."""
    await gate.store.close()
    got = await act(gate.port, ESCALATED)
    assert got.status == 503
    assert orjson.loads(got.body)["reason_code"] == "STORAGE_UNAVAILABLE"
    assert (await resolve(gate.admin_port, "01ARZ3NDEKTSV4RRFFQ69G5FAV")).status == 503
    assert tool.executed == []


async def test_trusted_requests_need_nobody(gate: RunningGateway, tool: Tool) -> None:
    """An approval that is named for no reason is not looked at."""
    got = await act(gate.port, TRUSTED, x_lumyn_approval="nonsense")
    assert got.status == 201
    assert len(tool.executed) == 1
