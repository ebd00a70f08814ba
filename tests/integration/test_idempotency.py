"""Repeated actions through a whole gateway, on both databases: executed once, answered each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.pipeline.executions import SPACE
from gateway.store.claims import ClaimFilter
from tests.kit.gateways import RunningGateway, eventually, running_gateway
from tests.kit.rawpeer import Wire
from tests.kit.tools import (
    ESCALATED,
    KEYS,
    OTHER_AGENT,
    PATH,
    REFUNDED,
    STRANGER,
    TRUSTED,
    Tool,
    act,
    answer,
    ask,
    json_of,
    route,
    running_tool,
)


@pytest.fixture
async def tool() -> AsyncIterator[Tool]:
    """A tool that executes refunds."""
    async with running_tool() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def gate(request: pytest.FixtureRequest, tmp_path: Path, tool: Tool) -> AsyncIterator[RunningGateway]:
    """A gateway on each database."""
    settings: dict[str, Any] = {"keys": KEYS, "actions": [route(tool.port)]}
    if request.param == "postgresql":
        settings["storage"] = {"url": await request.getfixturevalue("postgres").empty()}
    async with running_gateway(tmp_path, **settings) as running:
        yield running


@pytest.fixture
async def plain(tmp_path: Path, tool: Tool) -> AsyncIterator[RunningGateway]:
    """A gateway on SQLite."""
    async with running_gateway(tmp_path, keys=KEYS, actions=[route(tool.port)]) as running:
        yield running


async def test_the_same_key_gets_the_same_answer(gate: RunningGateway, tool: Tool) -> None:
    """Executed once; the repetition gets status, headers and body as the first time, and is told so."""
    tool.says = answer(201, REFUNDED, "x-tool: yes", "set-cookie: a=b")
    first = await act(gate.port, idempotency_key="op-1")
    again = await act(gate.port, idempotency_key="op-1")
    assert (again.status, again.body) == (first.status, first.body) == (201, REFUNDED)
    assert again.header("x-tool") == "yes"
    assert again.header("idempotent-replayed") == "true"
    assert again.header("x-lumyn-decision-id") == first.header("x-lumyn-decision-id")
    assert again.header("x-request-id") != first.header("x-request-id")
    assert len(tool.executed) == 1
    assert len(await gate.decisions()) == 1


async def test_another_body_under_the_key_is_a_conflict(gate: RunningGateway, tool: Tool) -> None:
    """The same key with other bytes is refused with both digests, for good."""
    await act(gate.port, idempotency_key="op-1")
    got = await act(gate.port, TRUSTED | {"amount": 21}, idempotency_key="op-1")
    said = json_of(got)
    assert (got.status, said["reason_code"], got.header("x-should-retry")) == (
        409,
        "IDEMPOTENCY_CONFLICT",
        "false",
    )
    assert said["detail"].count("sha256:") == 2
    other = await ask(gate.port, "POST", "/orders/O-2/refunds", TRUSTED, idempotency_key="op-1")
    assert other.status == 409
    assert len(tool.executed) == 1


async def test_one_of_many_at_once_executes(gate: RunningGateway, tool: Tool) -> None:
    """Ten at once under one key: one executes, the others are sent away to come again, and get its answer."""
    tool.held = asyncio.Event()
    tries = [asyncio.ensure_future(act(gate.port, idempotency_key="op-1")) for _ in range(10)]  # noqa: TID251
    assert await eventually(lambda: sum(one.done() for one in tries) == 9, within_s=5)
    early = [one.result() for one in tries if one.done()]
    assert {(one.status, json_of(one)["reason_code"]) for one in early} == {(409, "IDEMPOTENCY_IN_FLIGHT")}
    assert {(one.header("x-should-retry"), one.header("retry-after")) for one in early} == {("true", "1")}
    tool.held.set()
    got = await asyncio.gather(*tries)
    assert sorted(one.status for one in got) == [201] + [409] * 9
    assert (await act(gate.port, idempotency_key="op-1")).body == REFUNDED
    assert len(tool.executed) == 1


@pytest.mark.parametrize("key", [OTHER_AGENT, STRANGER])
async def test_a_key_belongs_to_who_sends_it(plain: RunningGateway, tool: Tool, key: str) -> None:
    """Another agent's key of the same spelling is another key: nobody reads a stranger's answer."""
    await act(plain.port, idempotency_key="op-1")
    got = await act(plain.port, idempotency_key="op-1", key=key)
    assert got.header("idempotent-replayed") is None
    assert len(tool.executed) == 2


async def test_a_retry_without_a_key_is_recognised(gate: RunningGateway, tool: Tool) -> None:
    """An SDK that says it is trying again gets the first answer; one that does not say so acts again."""
    await act(gate.port)
    again = await act(gate.port, x_stainless_retry_count="1")
    assert (again.status, again.header("idempotent-replayed")) == (201, "true")
    assert len(tool.executed) == 1
    assert (await act(gate.port, x_stainless_retry_count="0")).header("idempotent-replayed") is None
    assert len(tool.executed) == 2


async def test_a_retry_of_what_never_came_executes(plain: RunningGateway, tool: Tool) -> None:
    """A retry whose first try never arrived is the first, and its own repetition is not."""
    first = await act(plain.port, x_stainless_retry_count="1")
    assert first.header("idempotent-replayed") is None
    again = await act(plain.port, x_stainless_retry_count="2")
    assert again.header("idempotent-replayed") == "true"
    assert len(tool.executed) == 1


async def test_a_retry_while_the_first_is_under_way(plain: RunningGateway, tool: Tool) -> None:
    """A client that lost patience and tries again is sent away until the first is through."""
    tool.held = asyncio.Event()
    first = asyncio.ensure_future(act(plain.port))  # noqa: TID251
    assert await eventually(lambda: tool.executed)
    assert (await act(plain.port, x_stainless_retry_count="1")).status == 409
    tool.held.set()
    assert (await first).status == 201
    assert (await act(plain.port, x_stainless_retry_count="1")).body == REFUNDED
    assert len(tool.executed) == 1


async def test_only_executions_are_kept(gate: RunningGateway, tool: Tool) -> None:
    """A refusal keeps nothing: with new evidence, or after an approval, the key is decided anew."""
    assert (await act(gate.port, {"amount": 20, "currency": "USD"}, idempotency_key="op-1")).status == 422
    assert (await act(gate.port, ESCALATED, idempotency_key="op-2")).status == 202
    assert (await act(gate.port, TRUSTED, idempotency_key="op-1")).status == 201
    assert len(tool.executed) == 1
    found = await gate.store.claims(EVERY_TENANT, SPACE, ClaimFilter(), limit=9, cursor=None)
    assert len(found.claims) == 1


async def test_an_error_of_the_tool_is_its_answer(plain: RunningGateway, tool: Tool) -> None:
    """A tool that said no is not asked again under the key; one that said 429 did nothing, and is."""
    tool.says = answer(422, b'{"error":"closed"}')
    await act(plain.port, idempotency_key="op-1")
    tool.says = answer(201, REFUNDED)
    again = await act(plain.port, idempotency_key="op-1")
    assert (again.status, again.body) == (422, b'{"error":"closed"}')
    tool.says = answer(429, b"{}", "retry-after: 1")
    assert (await act(plain.port, idempotency_key="op-2")).status == 429
    tool.says = answer(201, REFUNDED)
    assert (await act(plain.port, idempotency_key="op-2")).status == 201
    assert len(tool.executed) == 3


async def test_what_breaks_off_is_held(plain: RunningGateway, tool: Tool) -> None:
    """A tool that took the request and died leaves an outcome that nobody knows: held, never redone."""

    async def dies(wire: Wire) -> None:
        wire.reset()

    tool.says = dies
    first = await act(plain.port, idempotency_key="op-1")
    assert first.status == 502
    tool.says = answer(201, REFUNDED)
    for _ in range(2):
        again = await act(plain.port, idempotency_key="op-1")
        said = json_of(again)
        assert (again.status, said["reason_code"], again.header("x-should-retry")) == (
            409,
            "IDEMPOTENCY_UNKNOWN",
            "false",
        )
        assert first.header("x-lumyn-decision-id") in said["detail"]
    assert len(tool.executed) == 1
    assert (await act(plain.port, idempotency_key="op-2")).status == 201


async def test_what_was_never_sent_is_free(tmp_path: Path, tool: Tool) -> None:
    """Where there was no connection nothing was done: the key may be tried again."""
    unreachable = route(1)
    async with running_gateway(tmp_path, keys=KEYS, actions=[unreachable]) as gate:
        for _ in range(2):
            got = await act(gate.port, idempotency_key="op-1")
            assert (got.status, json_of(got)["reason_code"]) == (502, "UPSTREAM_UNREACHABLE")
        await gate.outcomes(count=2)
        name = await gate.store.claims(Tenant("acme"), SPACE, ClaimFilter(), limit=9, cursor=None)
        assert name.claims == ()


async def test_an_answer_too_large_to_keep(tmp_path: Path, tool: Tool) -> None:
    """Over the bound the answer goes by whole, and its repetition is told that it was done."""
    tool.says = answer(200, b'"' + b"x" * 100 + b'"')
    settings = {"idempotency": {"result_bytes_max": 50}, "keys": KEYS, "actions": [route(tool.port)]}
    async with running_gateway(tmp_path, **settings) as gate:
        assert len((await act(gate.port, idempotency_key="op-1")).body) == 102
        again = await act(gate.port, idempotency_key="op-1")
        assert (again.status, json_of(again)["reason_code"]) == (409, "IDEMPOTENCY_SPENT")
    assert len(tool.executed) == 1


async def test_an_answer_is_kept_for_its_time(tmp_path: Path, tool: Tool) -> None:
    """After its time to live the key is free, and the action is done anew."""
    settings = {"idempotency": {"ttl_s": 0.05}, "keys": KEYS, "actions": [route(tool.port)]}
    async with running_gateway(tmp_path, **settings) as gate:
        await act(gate.port, idempotency_key="op-1")
        await asyncio.sleep(0.06)
        assert (await act(gate.port, idempotency_key="op-1")).header("idempotent-replayed") is None
    assert len(tool.executed) == 2


async def test_at_the_bound_actions_are_refused(tmp_path: Path, tool: Tool) -> None:
    """Where no more can be kept nothing more is executed: a retry could not be told apart."""
    settings = {"idempotency": {"held_max": 2}, "keys": KEYS, "actions": [route(tool.port)]}
    async with running_gateway(tmp_path, **settings) as gate:
        assert [(await act(gate.port, idempotency_key=f"op-{n}")).status for n in range(2)] == [201, 201]
        got = await act(gate.port, idempotency_key="op-3")
        assert (got.status, json_of(got)["reason_code"]) == (503, "IDEMPOTENCY_FULL")
        assert got.header("x-should-retry") == "true"
        assert (await act(gate.port, idempotency_key="op-1")).header("idempotent-replayed") == "true"
    assert len(tool.executed) == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_bad_key_is_told(plain: RunningGateway, tool: Tool, key: str) -> None:
    """A key that is none costs nothing and executes nothing."""
    assert (await act(plain.port, idempotency_key=key)).status == 422
    assert await plain.decisions() == []
    assert tool.executed == []


async def test_two_keys_are_none(plain: RunningGateway, tool: Tool) -> None:
    """Two Idempotency-Key headers could be read as either: refused."""
    got = await ask(plain.port, "POST", PATH, TRUSTED, idempotency_key="a\r\nidempotency-key: b")
    assert got.status == 422
    assert tool.executed == []


async def test_two_gateways_on_one_store_execute_once(tmp_path: Path, tool: Tool) -> None:
    """Two processes' worth of gateways share one database: a key is claimed by one of them."""
    settings: dict[str, Any] = {"keys": KEYS, "actions": [route(tool.port)]}
    async with (
        running_gateway(tmp_path, **settings) as one,
        running_gateway(tmp_path, **settings) as other,
    ):
        for number in range(10):
            got = await asyncio.gather(
                *(act(gate.port, idempotency_key=f"op-{number}") for gate in (one, other, one, other))
            )
            assert {gate.status for gate in got} <= {201, 409}
            assert (await act(other.port, idempotency_key=f"op-{number}")).body == REFUNDED
            assert len(tool.executed) == number + 1
