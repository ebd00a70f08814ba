"""The generator: open loop, latency from the due time, misses kept, Retry-After honoured."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from controller.core import Outcome
from controller.evaluate.policy import Refuse, Send
from loadtest.client import Client, read_origin
from loadtest.generate import Generator, Users
from loadtest.rows import Row
from loadtest.schedule import Ask, Schedule
from tests.kit.loads import WORD, answering, plain, refused, schedule, streamed
from tests.kit.rawpeer import Message, Script, raw_server

USERS = Users(headers={"premium": {"authorization": "Bearer p"}}, run_id="run-", drain_s=5.0)


async def played(
    script: Script, load: Schedule, users: Users = USERS, stop: asyncio.Event | None = None, **more: Any
) -> tuple[Generator, list[Row]]:
    """Play a schedule against a script; return the generator and its rows by due time."""
    written: list[Row] = []
    async with raw_server(script) as server:
        client = Client(read_origin(f"http://127.0.0.1:{server.port}/v1"))
        generator = Generator(load, client, users, written.append, **more)
        await generator.run(stop or asyncio.Event())
        client.close()
    assert generator.progress.rows == written
    return generator, sorted(written, key=lambda row: row.at_s)


async def test_every_request_has_its_row() -> None:
    """Complete, with tokens, model, actions and the record's id; sent when due, with its class's key."""
    seen: list[Message] = []

    def answer(message: Message) -> bytes:
        seen.append(message)
        return streamed()

    load = schedule()
    generator, rows = await played(answering(answer), load)
    assert [row.request_id for row in rows] == [ask.request_id for ask in load.asks]
    row = rows[0]
    assert (row.status, row.tokens_in, row.tokens_out, row.chunks) == ("complete", 12, 2, 3)
    assert (row.model, row.actions, row.decision_id) == ("llama-8b", ("MODEL_SWITCHED",), "D1")
    assert row.ttft_s is not None
    assert row.e2e_s is not None
    assert 0 <= row.ttft_s <= row.e2e_s
    assert sum(generator.progress.chunks.values()) == 3 * len(rows)
    keys = {message.header("authorization") for message in seen}
    assert keys <= {"Bearer p", None}
    assert {message.header("x-request-id") for message in seen} == {
        f"run-{ask.request_id}-1" for ask in load.asks
    }


async def test_a_slow_system_gets_no_less() -> None:
    """Requests are sent though nothing is answered; what is not there after the drain is unfinished."""
    load = schedule()
    users = Users(headers={}, drain_s=0.2)
    began = time.perf_counter()
    generator, rows = await played(answering(lambda _: None), load, users)
    assert len(rows) == len(load.asks)
    assert {row.status for row in rows} == {"unfinished"}
    assert generator.progress.open == 0
    assert time.perf_counter() - began < 3.0


async def test_a_patience_that_ends_is_a_timeout() -> None:
    """With what had arrived by then: a first token stays a first token."""

    def answer(_: Message) -> bytes:
        whole = streamed(events=(WORD,))
        return whole[: whole.rindex(b"0\r\n\r\n")]

    _, rows = await played(answering(answer), schedule(), Users(headers={}, patience_s=0.3, drain_s=5.0))
    assert {row.status for row in rows} == {"timeout"}
    assert all(row.ttft_s is not None and row.model == "llama-8b" and row.tokens_out == 1 for row in rows)


async def test_refusals_are_kept_as_what_they_are() -> None:
    """Shed, with the decision that explains it; nobody retries unless told to."""
    _, rows = await played(answering(lambda _: refused(429, "SHED", retry_after="1")), schedule())
    assert {(row.status, row.http_status, row.decision_id, row.tries) for row in rows} == {
        ("shed", 429, "D2", 1)
    }


async def test_clients_come_back_as_they_are_told() -> None:
    """A retrying client waits as long as it was asked to, says which try it is, and may be served then."""
    at: dict[str, list[tuple[float, str | None]]] = {}

    def answer(message: Message) -> bytes:
        name = (message.header("x-request-id") or "").rpartition("-")[0]
        tries = at.setdefault(name, [])
        tries.append((time.perf_counter(), message.header("x-stainless-retry-count")))
        return refused(429, "SHED", retry_after="1") if len(tries) == 1 else streamed()

    load = schedule(base_rps=4.0)
    _, rows = await played(answering(answer), load, Users(headers={}, retries=2, drain_s=8.0))
    assert {(row.status, row.tries) for row in rows} == {("complete", 2)}
    assert all(row.e2e_s is not None and row.e2e_s >= 1.0 for row in rows)
    for first, second in at.values():
        assert second[0] - first[0] >= 1.0
        assert (first[1], second[1]) == (None, "1")


async def test_broken_answers_failed() -> None:
    """No end mark, a connection that ends: failed, with the reason."""
    _, rows = await played(answering(lambda _: streamed(events=(WORD,))), schedule())
    assert {(row.status, row.error) for row in rows} == {("failed", "the stream has no end mark")}


async def test_tool_actions_are_asked_beside() -> None:
    """At the origin, not below the base URL; their rows hold the verdict."""
    paths: set[str] = set()

    def answer(message: Message) -> bytes:
        paths.add(message.start)
        if "/v0/" in message.start:
            return plain({"verdict": "TRUST", "decision_id": "D9"})
        return streamed()

    load = schedule(tools_rps=10.0)
    _, rows = await played(answering(answer), load)
    acts = [row for row in rows if row.kind == "act"]
    assert len(acts) == len(load.acts) > 0
    assert {(row.status, row.verdict, row.decision_id) for row in acts} == {("complete", "TRUST", "D9")}
    assert paths == {"POST /v0/decide HTTP/1.1", "POST /v1/chat/completions HTTP/1.1"}


async def test_an_early_end_keeps_what_there_is() -> None:
    """Nothing more is sent; what was sent has its row."""
    stop = asyncio.Event()

    def answer(_: Message) -> bytes:
        stop.set()
        return streamed()

    load = schedule()
    _, rows = await played(answering(answer), load, stop=stop)
    assert 0 < len(rows) < len(load.asks)


class Alternating:
    """A policy that refuses every other request and sends the rest elsewhere."""

    def __init__(self) -> None:
        self.asked = 0
        self.told: list[tuple[str, str]] = []

    async def admit(self, ask: Ask, now_s: float) -> Send | Refuse:
        self.asked += 1
        if self.asked % 2:
            return Refuse(ask.request_id, "shed", 1.0)
        return Send(ask.request_id, "elsewhere", None)

    def first_token(self, request_id: str, now_s: float) -> None:
        self.told.append(("first", request_id))

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        self.told.append((outcome.status, request_id))


async def test_a_policy_on_the_clients_side_decides_first() -> None:
    """What it refuses is never sent; what it sends names its model, and it hears of first token and end."""
    bodies: list[bytes] = []

    def answer(message: Message) -> bytes:
        bodies.append(message.body)
        return streamed()

    gate = Alternating()
    load = schedule()
    _, rows = await played(answering(answer), load, gate=gate)
    shed = [row for row in rows if row.status == "shed"]
    assert len(shed) == (len(rows) + 1) // 2
    assert all(row.http_status is None for row in shed)
    assert len(bodies) == len(rows) - len(shed)
    assert all(b'"model":"elsewhere"' in body for body in bodies)
    assert sorted(kind for kind, _ in gate.told) == sorted(["first", "complete"] * len(bodies))
