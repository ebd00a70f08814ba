"""`controller.governor`: terms from plans, the control part of a record, and its replay."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from controller.core import Controller, ControllerConfig, replay
from controller.governor import Governor
from controller.intent import Bias, Budget, Intent, IntentSet, Latency, Match, PressureAction
from controller.llmd.translate import Dialect, Engine
from controller.plan import Mode, digest
from controller.stored import stored_case
from tests.kit.control import catalogue, intent

CHAT = intent("chat", bias=Bias.LATENCY, latency=Latency(ttft_ms=2000.0, e2e_ms=20_000.0, max_queue_ms=500.0))


class ManualClock:
    """A clock that a test moves."""

    now_s = 100.0

    def monotonic_s(self) -> float:
        """Return the time that was set."""
        return self.now_s


@dataclass
class Notes:
    """A journal that keeps what it is told, as JSON."""

    kept: list[tuple[str, Any]] = field(default_factory=list)

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Keep it."""
        self.kept.append((kind, orjson.loads(orjson.dumps(body))))

    def ticks(self) -> dict[str, Any]:
        """Return the states that are in the ledger, by digest."""
        return {body["digest"]: body["state"] for kind, body in self.kept if kind == "tick"}


@dataclass(frozen=True)
class Asked:
    """A request."""

    ticket: str = "t"
    intent: str | None = None
    permitted: tuple[str, ...] = ("*",)
    key: str = "bot"
    tenant: str | None = "acme"
    route: str = "/v1/chat/completions"
    model: str = "large"
    stream: bool = True
    input_tokens: int = 500
    max_tokens: int | None = None
    fields: Mapping[str, int | str] = field(default_factory=dict)
    choices: int = 1
    service_tier: str | None = None
    arrived_s: float = 100.0


@dataclass(frozen=True)
class Ending:
    """An end."""

    fate: str | None = "complete"
    forwarded: bool = True
    status: int | None = 200
    error: str | None = None
    input_tokens: int | None = 500
    output_tokens: int = 20
    cached_tokens: int = 0
    truncated: bool = False


def governor(*intents: Intent) -> Governor:
    """A governor over three models in one pool."""
    clock = ManualClock()
    controller = Controller(ControllerConfig(catalogue(), IntentSet(intents or (CHAT,))), clock.now_s)
    return Governor(controller, clock, Notes(), {"pool": Engine(Dialect.LLM_D_0_11)})


def notes(one: Governor) -> Notes:
    """The journal behind a governor."""
    journal: Notes = one._ledger._journal  # type: ignore[assignment]
    return journal


def at(one: Governor, now_s: float) -> float:
    """Move the clock."""
    one._clock.now_s = now_s  # type: ignore[attr-defined]
    return now_s


async def test_a_calm_request_passes_with_its_headers_and_no_table() -> None:
    """Nothing to set in the body, llm-d's constraints beside it, and a control part without options."""
    one = governor()
    terms = await one.admit(Asked())
    assert (terms.turn, terms.model, terms.fields, terms.actions) == ("admitted", "large", {}, ("PASSED",))
    headers = dict(terms.headers)
    assert headers["x-llm-d-inference-objective"] == "standard"
    assert headers["x-llm-d-slo-ttft-ms"] == "2000"
    assert set(terms.control) == {"intent", "service_class", "mode", "snapshot_digest", "actions", "plan"}
    assert notes(one).kept == []
    observed = one.ended("t", Ending())
    assert observed is not None
    assert observed["output_tokens"] == 20
    assert one.ended("t", Ending()) is None, "an end is told once"


async def test_two_hundred_plans_replay_bit_for_bit() -> None:
    """Under a storm every pressed plan is made again from its record and the ledger's ticks, to the bit."""
    one, rng = governor(), random.Random(7)
    stored: list[dict[str, Any]] = []
    kinds: set[str] = set()
    waiting: list[asyncio.Task[Any]] = []
    loop = asyncio.get_running_loop()
    for number in range(400):
        now_s = at(one, 100.0 + number * 0.02)
        asked = Asked(f"t{number}", input_tokens=rng.choice((50, 4000, 20_000)), arrived_s=now_s)
        waiting.append(loop.create_task(one.admit(replace(asked, stream=rng.random() < 0.7))))
        await asyncio.sleep(0)
        if number % 25 == 24:
            one.loop.tick()
        if number > 60 and rng.random() < 0.4:
            one.first_token(f"t{number - 60}")
            one.ended(f"t{number - 60}", Ending())
    for step in range(200):
        at(one, 108.0 + step)
        one.loop.tick()
        await asyncio.sleep(0)
    for task in waiting:
        if not task.done():
            task.cancel()
            continue
        terms = task.result()
        kinds.update(terms.actions)
        stored.append(orjson.loads(orjson.dumps(terms.control)))
    pressed = [control for control in stored if "options" in control]
    ticks = notes(one).ticks()
    assert len(pressed) >= 200
    assert {"MODEL_SWITCHED"} <= kinds
    for control in pressed:
        assert digest(control["snapshot"]) == control["snapshot_digest"]
        replayed = replay(*stored_case(control, ticks[control["snapshot"]["tick_digest"]]))
        assert replayed.same, (replayed.differs, control["actions"])


async def test_a_changed_record_does_not_replay() -> None:
    """The comparison can fail: another price in the ledger's tick gives another plan."""
    one = governor()
    tick_of: dict[str, Any] = {}
    controls = []
    for number in range(300):
        now_s = at(one, 100.0 + number * 0.01)
        loop = asyncio.get_running_loop()
        task = loop.create_task(one.admit(Asked(f"t{number}", input_tokens=20_000, arrived_s=now_s)))
        await asyncio.sleep(0)
        if number % 50 == 49:
            one.loop.tick()
        if task.done():
            controls.append(orjson.loads(orjson.dumps(task.result().control)))
        else:
            task.cancel()
    tick_of = notes(one).ticks()
    switched = [c for c in controls if "options" in c and c["plan"]["model"] != "large"]
    control = switched[-1]
    tick = tick_of[control["snapshot"]["tick_digest"]]
    for model in tick["models"]:
        model["price"] += 1000.0
    assert not replay(*stored_case(control, tick)).same


async def test_a_cap_is_applied_and_never_raised() -> None:
    """The intent's ceiling lowers both spellings of the body's and adds one where there is none."""
    one = governor(replace(CHAT, max_tokens=64))
    asked = Asked(max_tokens=100, fields={"max_tokens": 100})
    assert dict((await one.admit(asked)).fields) == {"max_tokens": 64}
    assert dict((await one.admit(Asked("u"))).fields) == {"max_completion_tokens": 64}
    small = Asked("v", max_tokens=10, fields={"max_tokens": 10})
    assert dict((await one.admit(small)).fields) == {}


async def test_a_hard_budget_sheds_and_says_so() -> None:
    """The turn is `shed`, with the reason; nothing is in flight afterwards."""
    one = governor(replace(CHAT, usd_per_request_max=1e-9))
    terms = await one.admit(Asked())
    assert (terms.turn, terms.actions) == ("shed", ("SHED",))
    assert "hard cost limit" in terms.reason
    assert terms.headers == ()
    assert one.ended("t", Ending(fate="shed", forwarded=False)) is None
    assert one.control()["in_flight"] == 0


async def test_who_waits_too_long_expires() -> None:
    """A full model lets a request wait until its deadline; then its turn is `expired`, in words."""
    only = replace(CHAT, models=("large",), on_pressure=(PressureAction.SHED,))
    one = governor(only)
    one._controller.deployments["large"].limit.restore(4)
    one.loop.tick()
    for number in range(4):
        await one.admit(Asked(f"t{number}"))
    task = asyncio.get_running_loop().create_task(one.admit(Asked("late")))
    await asyncio.sleep(0)
    at(one, 101.0)
    one.loop.tick()
    terms = await task
    assert (terms.turn, terms.actions[-1]) == ("expired", "EXPIRED")
    assert terms.control["actions"][-1]["kind"] == "EXPIRED"


async def test_only_the_keys_own_intents_are_chosen() -> None:
    """Patterns of the key bound both what it may name and what matches; none of its own means no targets."""
    gold = replace(CHAT, name="gold", match=Match(tenant="nobody"))
    one = governor(CHAT, gold)
    assert (await one.admit(Asked("a", intent="gold"))).intent == "gold"
    assert (await one.admit(Asked("b", intent="gold", permitted=("ch*",)))).intent == "chat"
    assert (await one.admit(Asked("c", permitted=("other-*",)))).intent == "default"


async def test_an_answer_that_is_not_streamed_is_no_hang() -> None:
    """Its first token cannot be seen: no target for it, and its silence opens no breaker."""
    one = governor()
    terms = await one.admit(Asked(stream=False))
    assert "x-llm-d-slo-ttft-ms" not in dict(terms.headers)
    for second in range(1, 15):
        at(one, 100.0 + second)
        one.loop.tick()
    assert one._controller.state.models[0].usable
    observed = one.ended("t", Ending())
    assert observed is not None
    assert observed["met"]
    assert one._controller.deployments["large"].decoding == 0


async def test_a_fault_frees_the_slot_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks behind the admission is raised, and leaves nothing in flight."""
    one = governor()
    monkeypatch.setattr(one, "_control", None)
    with pytest.raises(TypeError):
        await one.admit(Asked())
    assert one.control()["in_flight"] == 0
    assert one._controller.tally.exception_share > 0


@pytest.mark.parametrize(
    ("ending", "count"),
    [
        (Ending(), "completed"),
        (Ending(fate="client_gone"), "cancelled"),
        (Ending(fate=None, forwarded=False), "cancelled"),
        (Ending(fate="failed", status=400), "cancelled"),
        (Ending(fate="cut"), "cancelled"),
        (Ending(fate="failed", status=503), "failed"),
        (Ending(fate="failed", status=None, error="UPSTREAM_TIMEOUT"), "failed"),
        (Ending(fate="cut", error="UPSTREAM_BROKEN"), "failed"),
    ],
)
async def test_ends_are_counted_for_what_they_say_of_the_model(ending: Ending, count: str) -> None:
    """A client's own mistake, or its leaving, is no failure of a model."""
    one = governor()
    await one.admit(Asked())
    assert one.ended("t", ending) is not None
    assert one.control()["counts"][count] == 1


async def test_operators_see_and_set() -> None:
    """Reports and state are JSON; a mode that is none changes nothing; a change is noted."""
    one = governor(replace(CHAT, budget=Budget(1.0, 60.0)))
    await one.admit(Asked())
    one.loop.tick()
    json.dumps([one.intents(), one.control(), one.reading()], allow_nan=False)
    assert one.reading()["intents"]["chat"]["shed"] == 0
    assert not one.set_mode("guarded")
    assert one.set_mode("bypass")
    assert one.control()["mode"] == Mode.BYPASS.value
    assert [kind for kind, _ in notes(one).kept if kind == "mode"] == ["mode"]
    assert (await one.admit(Asked("u"))).control["mode"] == "bypass"


async def test_a_fault_of_the_ticks_lets_everybody_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a turn that no tick will ever bring: who waits is released, who comes passes."""
    one = governor(replace(CHAT, models=("large",)))
    one._controller.deployments["large"].limit.restore(4)
    one.loop.tick()
    for number in range(4):
        await one.admit(Asked(f"t{number}"))
    task = asyncio.get_running_loop().create_task(one.admit(Asked("waits")))
    await asyncio.sleep(0)
    assert not task.done()

    async def broken() -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(one.loop, "run", broken)
    with pytest.raises(ValueError, match="a fault"):
        await one.run()
    assert (await task).turn == "admitted"
    assert (await one.admit(Asked("comes"))).control["mode"] == "bypass"


async def test_a_further_attempt_has_fresh_headers() -> None:
    """What is left of the first token's time is less than it was; who is not in flight has none."""
    one = governor()
    terms = await one.admit(Asked())
    assert dict(terms.headers)["x-llm-d-slo-ttft-ms"] == "2000"
    at(one, 100.75)
    assert dict(one.headers(Asked()))["x-llm-d-slo-ttft-ms"] == "1250"
    assert one.headers(Asked(ticket="gone")) == ()


async def test_a_detour_has_terms_of_its_own() -> None:
    """The next model, its fields and headers, a control part with its reason; and nothing moves yet."""
    one = governor()
    await one.admit(Asked())
    terms = one.detour(Asked(), {"large"})
    assert terms is not None
    assert (terms.turn, terms.model, terms.fields) == ("admitted", "mid", {"model": "mid"})
    assert terms.actions == ("MODEL_SWITCHED",)
    assert "large gave no answer" in terms.reason
    assert terms.control["plan"]["model"] == "mid"
    assert one._controller.deployments["large"].in_flight == 1
    assert one.detour(Asked(), {"large", "mid", "small"}) is None


@pytest.mark.parametrize(
    ("ending", "blamed"),
    [
        (Ending(fate="failed", status=None, error="UPSTREAM_UNREACHABLE"), True),
        (Ending(fate="failed", status=None, error="UPSTREAM_TIMEOUT"), True),
        (Ending(fate="failed", status=502), True),
        (Ending(fate="failed", status=503), False),
        (Ending(fate="failed", status=429), False),
    ],
)
async def test_a_diverted_request_ends_where_it_went(ending: Ending, blamed: bool) -> None:
    """Its slot moves at once, a full model is not blamed, and the end is that of the second model."""
    one = governor()
    await one.admit(Asked())
    terms = one.detour(Asked(), {"large"})
    assert terms is not None
    one.diverted(Asked(), terms, ending)
    deployments = one._controller.deployments
    assert (deployments["large"].in_flight, deployments["mid"].in_flight) == (0, 1)
    assert any(failed for _, failed in deployments["large"].breaker._events) is blamed
    observed = one.ended("t", Ending())
    assert observed is not None
    assert observed["output_tokens"] == 20
    assert deployments["mid"].in_flight == 0
