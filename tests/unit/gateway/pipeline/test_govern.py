"""Exchanges under a governor: what it is asked and told, and that its faults cost nobody an answer."""

from __future__ import annotations

import asyncio

import pytest

from gateway.kernel.errors import ExpiredError, ShedError, StoreUnavailableError
from gateway.kernel.types import Fate, Verdict
from gateway.pipeline.govern import ending_of, turned_away
from gateway.pipeline.ports import Ending
from gateway.pipeline.sighting import Sighting
from gateway.wire.sse import StreamWatch
from tests.kit.playbook import ASKED, LEAVES, SSE_HEAD, STOPS, Head, Planned, Playbook, verdict

SEND = "send POST /v1/chat/completions"
DELTA = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def to_admission() -> Playbook:
    """The way to the governor."""
    return Playbook() << "read" << "decide" << "admit"


def served() -> Playbook:
    """An admitted request with a streamed answer."""
    book = to_admission() << "plan admitted" << "commit decision" << SEND >> Head(headers=SSE_HEAD)
    book = book << "head 200"
    for data in (DELTA, DONE):
        book = book << "chunk" >> data << f"relay {len(data)}"
    return book << "chunk" << "queue outcome:complete" << "end" << "release"


async def test_an_admitted_request_is_planned_recorded_and_followed() -> None:
    """Decide, admit, persist, forward; the governor hears of first token and end."""
    played = await served().play(governed=True)
    headers = played.ports.sent[0][1]
    assert headers["x-lumyn-model"] == "small"
    assert headers["x-lumyn-actions"] == "MODEL_SWITCHED,TOKENS_CAPPED"
    [first, ending] = played.ports.told
    assert first == "first token of t"
    assert (ending.fate, ending.forwarded, ending.output_tokens) == ("complete", True, 1)
    [outcome] = played.outcomes
    assert outcome["control"] == {"met": True}
    assert outcome["model"] == "small"


@pytest.mark.parametrize(("turn", "status"), [("shed", 429), ("expired", 503)])
async def test_who_is_turned_away_has_decision_and_fate_in_one_commit(turn: str, status: int) -> None:
    """The record says why, the client is told when to come again, and no backend hears of it."""
    book = to_admission() >> Planned(turn=turn, reason="no room", retry_after_s=7.0) << f"plan {turn}"
    book = book << f"commit decision + outcome:{turn}" << f"error {status} {turn.upper()}"
    played = await book.play(governed=True)
    assert played.ending.fate is Fate(turn)
    error = played.ports.sent[0][0]
    assert (error.retryable, error.retry_after_s) == (True, 7.0)
    assert len(played.ports.told) == 1


async def test_a_turned_away_request_that_cannot_be_recorded() -> None:
    """Without a record there is no fate, and the client is told of the store."""
    book = to_admission() >> Planned(turn="shed") << "plan shed"
    book = book << "commit decision + outcome:shed" >> StoreUnavailableError("gone")
    played = await (book << "error 503 STORAGE_UNAVAILABLE").play(governed=True)
    assert played.ending.fate is None


async def test_the_policy_may_hold_what_was_planned() -> None:
    """A plan that the policy does not permit is refused, and the governor gets its slot back."""
    book = to_admission() << "plan admitted" >> verdict(Verdict.ABSTAIN)
    book = book << "commit decision + outcome:refused" << "error 403 LLM_TOKENS_OVER_LIMIT"
    played = await book.play(governed=True)
    assert [ending.forwarded for ending in played.ports.told] == [False]


async def test_a_held_request_never_meets_the_governor() -> None:
    """What the policy refuses takes no place in a queue."""
    book = Playbook() << "read" << "decide" >> verdict(Verdict.ABSTAIN)
    played = await (book << "commit decision + outcome:refused" << "error 403 LLM_TOKENS_OVER_LIMIT").play(
        governed=True
    )
    assert played.ports.told == []


async def test_a_failing_governor_lets_the_request_pass_unchanged() -> None:
    """Its fault is reported; the request is recorded, forwarded and answered as without one."""
    book = to_admission() >> ValueError("a fault") << "commit decision" << SEND << "head 200"
    book = book << "chunk" >> b"{}" << "relay 2" << "chunk" << "queue outcome:complete" << "end" << "release"
    played = await book.play(governed=True)
    assert len(played.ports.faults) == 1
    assert "x-lumyn-actions" not in played.ports.sent[0][1]
    assert played.outcomes[0]["model"] == "m"
    assert played.ports.told == []


async def test_a_fault_of_the_gate_is_not_forwarded() -> None:
    """The gate fails closed: what cannot be decided under its plan is neither recorded nor sent."""
    book = to_admission() << "plan admitted" >> ValueError("a fault") << "error 500 INTERNAL"
    played = await book.play(governed=True)
    assert played.ports.entries == []
    assert len(played.ports.told) == 1


async def test_a_fault_while_telling_is_no_fault_of_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A governor that breaks when it is told something costs nobody an answer."""
    from tests.kit import playbook

    def broken(*_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(playbook._Ports, "first_token", broken)
    monkeypatch.setattr(playbook._Ports, "ended", broken)
    played = await served().play(governed=True)
    assert len(played.ports.faults) == 2
    assert "control" not in played.outcomes[0]


@pytest.mark.parametrize(("how", "fate"), [(LEAVES, "client_gone"), (STOPS, "cut")])
async def test_cancelled_at_every_await(how: str, fate: str) -> None:
    """Also while it waits for its turn a decided request leaves a record, one fate, and no slot behind."""
    script = served().script
    for at, (call, _) in enumerate(script):
        if call in {"read", "decide", "release", "end", "plan admitted"} or "queue" in call:
            continue
        cut = Playbook()
        cut.script = [*script[:at], (call, how)]
        played = await cut.run(governed=True)
        assert isinstance(played.raised, asyncio.CancelledError), call
        assert [outcome["fate"] for outcome in played.outcomes] == [fate], call
        assert len([told for told in played.ports.told if isinstance(told, Ending)]) == 1, call
        if call == "admit":
            assert "queue decision + outcome:" + fate in played.heard


def test_a_client_is_told_when_to_come_again() -> None:
    """Never sooner than the load can have changed."""
    shed = turned_away(Planned(turn="shed", reason="no room"), "d")
    assert isinstance(shed, ShedError)
    assert shed.retry_after_s == 1.0
    assert isinstance(turned_away(Planned(turn="expired"), "d"), ExpiredError)


def test_an_ending_counts_events_where_no_usage_came() -> None:
    """Usage counts first; else a stream's events stand for its tokens."""
    watch = StreamWatch()
    watch.feed(DELTA + DELTA)
    sighting = Sighting(0.0)
    assert ending_of(ASKED, sighting, Fate.COMPLETE, watch).output_tokens == 2
    sighting.usage = {"prompt_tokens": 3, "completion_tokens": 5, "cached_tokens": 1}
    ending = ending_of(ASKED, sighting, None, watch)
    assert (ending.fate, ending.input_tokens, ending.output_tokens, ending.cached_tokens) == (None, 3, 5, 1)
