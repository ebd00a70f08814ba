"""One comparison against a scripted gateway: modes, records, early ends, and what is said of them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from controller.evaluate.arms.verdict import verdict
from loadtest import run as runs
from loadtest.generate import Users
from loadtest.rows import read_rows
from loadtest.run import ALONE, Plan, Run
from loadtest.stage import Child, Place, StageError
from loadtest.view import Screen
from loadtest.world import services
from tests.kit.loads import LOAD, OWN, answering, plain, schedule, streamed
from tests.kit.rawpeer import Message, raw_server


class Gateway:
    """A gateway as far as a run sees one: it decides everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.mode = "active"
        self.modes: list[str] = []
        self.decided: list[str] = []
        self.in_flight = 0
        self.forgets = False

    def __call__(self, message: Message) -> bytes | None:
        path = message.start.split(" ")[1]
        if path == "/admin/control":
            return plain(self.control())
        if path == "/admin/control/mode":
            self.mode = orjson.loads(message.body)["mode"]
            self.modes.append(self.mode)
            return plain(self.control())
        if path.startswith("/admin/decisions"):
            return plain({"decisions": [] if self.forgets else self.records(), "next_cursor": None})
        self.decided.append(f"D{len(self.decided)}")
        return streamed(own=OWN.replace(b"D1", self.decided[-1].encode()))

    def control(self) -> dict[str, Any]:
        page = {"mode": self.mode, "queued": 0, "in_flight": self.in_flight, "models": []}
        return {**page, "epochs_opened": [], "epochs_closed": []}

    def records(self) -> list[dict[str, Any]]:
        actions = [{"kind": "MODEL_SWITCHED", "reason": "switched llama-70b -> llama-8b: dear"}]
        control = {"intent": "premium", "plan": {"cause": "lat_price"}, "actions": actions}
        return [
            {
                "decision_id": name,
                "verdict": "TRUST",
                "request": {"action": {"type": "llm.chat_completion"}},
                "extensions": {"control": control},
            }
            for name in self.decided
        ]


def plan(out: Path, port: int, *, admin: bool = True, **fields: Any) -> Plan:
    """A plan of half a second against a port."""
    origin = f"http://127.0.0.1:{port}"
    values: dict[str, Any] = {
        "load": LOAD,
        "schedule": schedule(),
        "services": services(),
        "arms": ("none", "controlled"),
        "out": out,
        "users": Users(headers={}, drain_s=2.0),
        "prices": {"llama-8b": (0.1, 0.2)},
        "facts": {"seed": "1"},
        "wall_s": lambda: 1_700_000_000.0,
        "place": Place(f"{origin}/v1", origin if admin else None),
        "agree": False,
    }
    return Plan(**{**values, **fields})


async def played(out: Path, gateway: Gateway, **fields: Any) -> Any:
    """Play a plan against a scripted gateway."""
    async with raw_server(answering(gateway)) as server:
        return await Run(
            plan(out, server.port, **fields), Screen(terminal=False, write=lambda _: None)
        ).play()


async def test_both_arms_on_one_schedule(tmp_path: Path) -> None:
    """Bypass, then active; every request has its row and its record, and the decisions are told in words."""
    gateway = Gateway()
    run = await played(tmp_path, gateway)
    assert gateway.modes == ["bypass", "active"]
    assert [arm.name for arm in run.arms] == ["none", "controlled"]
    for arm in run.arms:
        assert [one.at_s for one in arm.offered] == [ask.at_s for ask in schedule().asks]
        assert {one.cause for one in arm.offered} == {"lat_price"}
        assert {one.text for one in arm.told} == {"switched llama-70b -> llama-8b: dear"}
        assert len(read_rows(tmp_path / f"requests-{arm.name}.jsonl")) == len(arm.offered)
        assert arm.moments
        assert re.fullmatch(r"\d\d:\d\d:\d\d", arm.began)
    assert all(check.ok for check in run.checks)
    assert run.partial == ""
    assert sum(one.cost_uusd for one in run.arms[0].offered) == pytest.approx(1.6 * len(run.arms[0].offered))


async def test_a_gateway_that_forgets_is_found(tmp_path: Path) -> None:
    """What clients were told of and the ledger does not hold fails the run."""
    gateway = Gateway()
    gateway.forgets = True
    run = await played(tmp_path, gateway)
    assert verdict(run).word == "FAIL"
    assert "controlled: decisions lost from the ledger" in verdict(run).line


async def test_without_an_admin_api_there_is_one_arm(tmp_path: Path) -> None:
    """The gateway as it is: no mode is set, no record read."""
    gateway = Gateway()
    run = await played(tmp_path, gateway, admin=False, arms=(ALONE,))
    assert gateway.modes == []
    assert run.checks == ()
    assert run.arms[0].about == "as it is"


async def test_an_early_end_is_partial(tmp_path: Path) -> None:
    """The arm that was on has what it has, those after it are not played, and the rows are on disk."""
    gateway = Gateway()
    runs_made: list[Run] = []

    def answer(message: Message) -> bytes | None:
        if "/v1/chat" in message.start:
            runs_made[0].interrupt("ended by SIGINT")
        return gateway(message)

    async with raw_server(answering(answer)) as server:
        one = Run(plan(tmp_path, server.port), Screen(terminal=False, write=lambda _: None))
        runs_made.append(one)
        run = await one.play()
    assert (run.partial, [arm.name for arm in run.arms]) == ("ended by SIGINT", ["none"])
    assert 0 < len(run.arms[0].offered) < len(schedule().asks)
    assert read_rows(tmp_path / "requests-none.jsonl")
    assert verdict(run).word == "PARTIAL"


async def test_a_process_that_ends_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that dies in the middle leaves a partial report with its last words."""

    class Dead(Child):
        running = False

        def last_words(self) -> str:
            return "the disk is full"

    one = Run(plan(tmp_path, 1), Screen(terminal=False, write=lambda _: None))
    watching = asyncio.get_running_loop().create_task(one._watch([Dead("gateway", [], tmp_path)]))
    async with asyncio.timeout(2.0):
        await one._stop.wait()
    watching.cancel()
    await asyncio.wait([watching])
    assert one._why == "the gateway ended: the disk is full"


async def test_a_gateway_that_others_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their traffic would be measured too."""
    monkeypatch.setattr(runs, "IDLE_S", 0.4)
    gateway = Gateway()
    gateway.in_flight = 3
    with pytest.raises(StageError, match="not idle"):
        await played(tmp_path, gateway)


async def test_arms_side_by_side_raise_one_error(tmp_path: Path) -> None:
    """What one of them cannot do is said once, in words, and not as a group of exceptions."""
    async with raw_server(answering(Gateway())) as server:
        port = server.port
    one = Run(plan(tmp_path, port, together=True), Screen(terminal=False, write=lambda _: None))
    with pytest.raises(StageError, match="connection refused"):
        await one.play()


async def test_a_policy_of_the_clients_side(tmp_path: Path) -> None:
    """Its arm runs with the controller in bypass, and what it refuses is no record's business."""
    gateway = Gateway()
    run = await played(tmp_path, gateway, arms=("limit",), knee_rps=1.0)
    assert gateway.modes == ["bypass"]
    shed = [one for one in run.arms[0].offered if one.status == "shed"]
    assert shed
    assert len(gateway.decided) == len(run.arms[0].offered) - len(shed)
    assert all(check.ok for check in run.checks)
