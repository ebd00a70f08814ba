"""The controller in the request path: a slow simulated llm-d, a burst, and what the records say of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from controller.core import replay
from controller.llmd.sim.config import preset
from controller.llmd.sim.server import EmbeddedSim
from controller.stored import stored_case
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import InvalidConfigError
from gateway.kernel.types import JSONObject
from tests.kit.gateways import RunningGateway, eventually, running_gateway
from tests.kit.rawpeer import Wire, raw_server

LADDER = ["llama-70b", "llama-8b", "llama-1b"]
MODELS = [
    {
        "name": model.name,
        "backend": "sim",
        "price_in": model.price_in,
        "price_out": model.price_out,
        "quality": model.quality,
    }
    for model in preset("llmd-demo-small").models
]
CHAT: JSONObject = {
    "name": "chat",
    "service_class": "standard",
    "latency": {"ttft_ms": 1500, "e2e_ms": 6000},
    "quality": {"models": LADDER, "floor": "llama-1b"},
    "on_pressure": ["downgrade", "cap_tokens", "shed"],
}
PROMPT = " a word" * 1000
"""About 1750 tokens: half a second of prefill for the slowed 70B."""
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'


def sim(url: str) -> JSONObject:
    """The backend's entry of the configuration."""
    return {"name": "sim", "url": url, "dialect": "llm-d>=0.11"}


@contextlib.asynccontextmanager
async def governed(directory: Path, **settings: Any) -> AsyncIterator[RunningGateway]:
    """A gateway with one intent before the slowed simulator."""
    simulator = EmbeddedSim(preset("llmd-demo-small"))
    url = await simulator.start()
    try:
        config = {
            "backends": [sim(f"{url}/v1")],
            "models": MODELS,
            "intents": [CHAT],
            **settings,
        }
        async with running_gateway(directory, **config) as one:
            yield one
    finally:
        await simulator.stop()


async def ask(session: aiohttp.ClientSession, text: str, **extra: Any) -> tuple[int, dict[str, str]]:
    """Ask for a short streamed answer; return status and headers."""
    body = {
        "model": "llama-70b",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 12,
        "stream": True,
        **extra,
    }
    async with session.post(
        "/v1/chat/completions",
        data=io.BytesIO(orjson.dumps(body)),
        headers={"content-type": "application/json"},
    ) as answer:
        await answer.read()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}


async def burst(one: RunningGateway, count: int, gap_s: float) -> list[tuple[int, dict[str, str]]]:
    """Ask `count` times, `gap_s` apart, and wait for all answers."""
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{one.port}", connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        asking = []
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                asking.append(group.create_task(ask(session, f"{number}{PROMPT}")))
                await asyncio.sleep(gap_s)
        return [task.result() for task in asking]


def control_entries(one: RunningGateway, kind: str) -> list[JSONObject]:
    """Return the bodies of the control records of one kind, as the file holds them."""
    with contextlib.closing(sqlite3.connect(one.database)) as connection:
        rows = connection.execute(
            "SELECT body FROM entries WHERE kind = 'control' AND label = ? ORDER BY seq", (kind,)
        ).fetchall()
    return [orjson.loads(body) for (body,) in rows]


def kinds(record: JSONObject) -> set[str]:
    """The control actions of a record."""
    return {action["kind"] for action in record["extensions"]["control"]["actions"]}


async def set_mode(one: RunningGateway, mode: str) -> tuple[int, Any]:
    """Set the controller's mode as an operator does."""
    async with (
        aiohttp.ClientSession(one.admin_url) as session,
        session.put("/admin/control/mode", data=orjson.dumps({"mode": mode})) as answer,
    ):
        return answer.status, orjson.loads(await answer.read())


async def admin(one: RunningGateway, path: str) -> Any:
    """Read an admin page."""
    async with aiohttp.ClientSession(one.admin_url) as session, session.get(path) as answer:
        assert answer.status == 200
        return orjson.loads(await answer.read())


async def test_a_burst_is_spread_over_the_ladder_and_the_records_say_why(tmp_path: Path) -> None:
    """Under a burst requests are switched or capped, in words, and every pressed plan replays bit for bit."""
    async with governed(tmp_path) as one:
        answers = await burst(one, 50, 0.03)
        outcomes = await one.outcomes(count=50, within_s=10)
        records = await one.decisions(limit=100)
        reports = await admin(one, "/admin/intents")
        state = await admin(one, "/admin/control")
        ticks = {entry["digest"]: entry["state"] for entry in control_entries(one, "tick")}
    touched = [record for record in records if kinds(record) & {"MODEL_SWITCHED", "TOKENS_CAPPED"}]
    assert touched
    for record in touched:
        control, evidence = record["extensions"]["control"], record["request"]["evidence"]
        sentences = [action["reason"] for action in control["actions"]]
        assert any(words.startswith(("switched llama-70b -> ", "capped at ")) for words in sentences)
        assert evidence["planned_model"] == control["plan"]["model"]
        assert evidence["model"] == "llama-70b"
        assert control["sent_digest"] != record["request"]["context"]["digest"]
    pressed = [control for record in records if "options" in (control := record["extensions"]["control"])]
    assert pressed
    for control in pressed:
        case = stored_case(control, ticks[control["snapshot"]["tick_digest"]])
        assert replay(*case).same
    served = {headers["x-lumyn-decision-id"]: headers["x-lumyn-model"] for _, headers in answers}
    assert served == {
        record["decision_id"]: record["request"]["evidence"].get("planned_model", "llama-70b")
        for record in records
    }
    assert all("met" in outcome["control"] for outcome in outcomes if outcome["fate"] == "complete")
    [report] = reports["intents"]
    assert report["downgraded"] + report["capped"] >= len(touched)
    assert state["counts"]["offered"] == 50


async def test_in_bypass_the_same_burst_is_left_alone(tmp_path: Path) -> None:
    """Every request goes to the model it asked for, with its own bytes; the change of mode is on record."""
    async with governed(tmp_path) as one:
        assert (await set_mode(one, "bypass"))[0] == 200
        await burst(one, 16, 0.03)
        records = await one.decisions(limit=100)
        changes = control_entries(one, "mode")
    assert {kind for record in records for kind in kinds(record)} == {"PASSED"}
    assert {record["request"]["evidence"]["planned_model"] for record in records} == {"llama-70b"}
    assert not any("sent_digest" in record["extensions"]["control"] for record in records)
    assert [change["reason"] for change in changes] == ["set to bypass by the operator"]


async def test_without_pressure_the_bytes_pass_as_they_came(tmp_path: Path) -> None:
    """Identity: body byte for byte; the forged control header is gone and the intent's own is there."""
    seen: list[tuple[bytes, bytes]] = []

    async def script(wire: Wire) -> None:
        request = await wire.read_request()
        seen.append((request.head, request.body))
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")

    body = b'{ "model":"llama-70b" ,"messages":[{"role":"user","content":"\\u0041"}],"x":1.0}'
    async with raw_server(script) as backend, governed(tmp_path, backends=[sim(backend.url)]) as one:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{one.port}") as session:
            headers = {"content-type": "application/json", "x-llm-d-inference-objective": "critical"}
            async with session.post("/v1/chat/completions", data=io.BytesIO(body), headers=headers) as answer:
                assert answer.status == 200
                assert answer.headers["x-lumyn-actions"] == "PASSED"
        [record] = await one.decisions()
    [(head, got)] = seen
    assert got == body
    assert head.lower().count(b"x-llm-d-inference-objective: standard") == 1
    assert b"critical" not in head
    assert "options" not in record["extensions"]["control"]
    assert record["request"]["context"]["digest"] == sha256_digest(body)
    assert record["request"]["evidence"]["intent"] == "chat"


async def test_every_shed_request_has_its_record(tmp_path: Path) -> None:
    """A refusal by the controller is a decision, a fate and a 429 that says when to come again."""
    dear = CHAT | {"cost": {"max_usd_per_request": 0.000001}}
    async with governed(tmp_path, intents=[dear]) as one:
        answers = await burst(one, 5, 0)
        fates = [outcome["fate"] for outcome in await one.outcomes(count=5)]
        records = await one.decisions()
    assert [status for status, _ in answers] == [429] * 5
    assert all(int(headers["retry-after"]) >= 1 for _, headers in answers)
    assert all(headers["x-should-retry"] == "true" for _, headers in answers)
    assert fates == ["shed"] * 5
    assert {headers["x-lumyn-decision-id"] for _, headers in answers} == {
        record["decision_id"] for record in records
    }
    for record in records:
        assert record["extensions"]["control"]["actions"] == [
            {"kind": "SHED", "reason": "refused: no permitted rung fits the hard cost limit"}
        ]
        assert "planned_model" not in record["request"]["evidence"]


async def test_who_waits_in_vain_and_who_leaves_while_waiting(tmp_path: Path) -> None:
    """An expired request is told so with 503; one whose client left has its record too; no slot is lost."""
    release = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await release.wait()
        await wire.send(SSE + EVENT + b"data: [DONE]\n\n")

    only = CHAT | {
        "quality": {"models": ["llama-70b"]},
        "on_pressure": ["shed"],
        "latency": {"ttft_ms": 60_000, "max_queue_ms": 300},
    }
    async with (
        raw_server(script) as backend,
        governed(tmp_path, backends=[sim(backend.url)], intents=[only]) as one,
        aiohttp.ClientSession(f"http://127.0.0.1:{one.port}") as session,
        asyncio.TaskGroup() as group,
    ):
        governor = one.gateway._governor
        assert governor is not None
        governor._controller.deployments["llama-70b"].limit.restore(4)
        governor.loop.tick()
        running = [group.create_task(ask(session, "hello")) for _ in range(4)]
        assert await eventually(lambda: governor._controller.in_flight == 4)
        leaver = group.create_task(ask(session, "hello"))
        assert await eventually(lambda: governor._controller.queued == 1)
        leaver.cancel()
        assert await eventually(lambda: governor._controller.queued == 0)
        status, headers = await ask(session, "hello")
        release.set()
        assert [(await task)[0] for task in running] == [200] * 4
        fates = [outcome["fate"] for outcome in await one.outcomes(count=6)]
        assert governor._controller.in_flight == 0
    assert (status, headers["x-should-retry"]) == (503, "true")
    assert float(headers["x-lumyn-queue-ms"]) >= 290
    assert headers["x-lumyn-actions"].endswith("EXPIRED")
    assert fates == ["expired", "client_gone"] + ["complete"] * 4


async def test_a_broken_controller_costs_nobody_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request passes as if nobody governed: its record has no control part, and the fault is counted."""
    async with governed(tmp_path) as one:
        monkeypatch.setattr(one.gateway._governor, "_terms", None)
        answers = await burst(one, 2, 0)
        records = await one.decisions()
        assert one.gateway._governor is not None
        assert one.gateway._governor._controller.in_flight == 0
    assert [(status, headers["x-lumyn-model"]) for status, headers in answers] == [(200, "llama-70b")] * 2
    assert all("control" not in record["extensions"] for record in records)


async def test_without_intents_there_is_no_controller(tmp_path: Path) -> None:
    """No governor, no pages, no header and no part of the record: the path is what it was."""
    async with governed(tmp_path, intents=[]) as one:
        [(status, headers)] = await burst(one, 1, 0)
        [record] = await one.decisions()
        assert one.gateway._governor is None
        async with aiohttp.ClientSession(one.admin_url) as session, session.get("/admin/control") as answer:
            assert answer.status == 404
    assert status == 200
    assert "x-lumyn-actions" not in headers
    assert set(record["extensions"]) == {"derived"}
    assert not {"intent", "planned_model"} & set(record["request"]["evidence"])


async def test_intents_that_cannot_be_met_are_refused_at_load(tmp_path: Path) -> None:
    """Each problem is named with its pointer, and nothing listens."""
    with pytest.raises(InvalidConfigError, match="/intents/0/quality/models: no model"):
        async with governed(tmp_path, intents=[CHAT | {"quality": {"models": ["gpt-9"]}}]):
            pass


async def test_a_backends_own_metrics_are_shown(tmp_path: Path) -> None:
    """Where a backend names its metrics page, what it says of itself stands beside what was seen of it."""
    async with raw_server(_metrics) as pages:
        backend = sim("http://127.0.0.1:1/v1") | {"metrics_url": f"http://127.0.0.1:{pages.port}/metrics"}
        async with governed(tmp_path, backends=[backend]) as one:
            governor = one.gateway._governor
            assert governor is not None
            assert await eventually(lambda: governor.loop.scraped)
            state = await admin(one, "/admin/control")
            assert await eventually(lambda: len(governor.loop.scraped) == len(LADDER))
    assert state["scraped"]["llama-70b"]["running"] == 3.0


async def _metrics(wire: Wire) -> None:
    while True:
        await wire.read_request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 28\r\n\r\nvllm:num_requests_running 3\n")


async def test_a_mode_that_is_none_is_refused(tmp_path: Path) -> None:
    """The mode stays as it was."""
    async with governed(tmp_path) as one:
        assert (await set_mode(one, "guarded"))[0] == 422
        assert (await set_mode(one, "shadow"))[1]["operator_mode"] == "shadow"
        await burst(one, 1, 0)
        [record] = await one.decisions()
        assert control_entries(one, "mode")
    assert record["extensions"]["control"]["shadow"]["plan"]["model"] == "llama-70b"
