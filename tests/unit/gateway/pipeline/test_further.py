"""Further attempts against golden conversations: where they go, what is committed before, what is told."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import (
    StoreBusyError,
    StoreUnavailableError,
    UpstreamBrokenError,
    UpstreamClosedError,
    UpstreamConnectTimeoutError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from gateway.kernel.types import Fate
from gateway.pipeline.retry import Repeats
from tests.kit.attempts import JUDGED, OTHER_BODY, SEND, AttemptBook
from tests.kit.playbook import BODY, LEAVES, STOPS, After, Head, Planned, Refusing

REFUSED = UpstreamUnreachableError("no connection")
SEND_B = f"{SEND} pool-b"
BUSY = Head(status=503, headers=((b"retry-after", b"3"),))


def begun(**settings: Any) -> AttemptBook:
    """The way to the first attempt."""
    book = AttemptBook(settings.pop("repeats", Repeats.FREELY), **settings)
    return book << "read" << "decide" << "commit decision" << SEND


def answered(book: AttemptBook, status: int = 200) -> AttemptBook:
    """The rest of an exchange whose last attempt was answered."""
    fate = "complete" if status < 400 else "failed"
    book = book << f"head {status}" << "chunk" >> b"{}" << "relay 2" << "chunk" << f"queue outcome:{fate}"
    return book << "end" << "release"


async def test_an_attempt_elsewhere_is_committed_before_it_is_sent() -> None:
    """Refused by one backend the request goes to another: commit, then send; the client sees one answer."""
    book = begun() >> REFUSED << "elsewhere not pool-a" >> "pool-b" << "commit note:attempt" << SEND_B
    played = await answered(book).play()
    attempt, outcome = played.events
    assert attempt == {
        "kind": "attempt",
        "n": 2,
        "backend": "pool-b",
        "model": "m",
        "reason": "unreachable",
        "digest": sha256_digest(BODY),
        "judged": JUDGED,
    }
    assert outcome["attempts"] == [
        {"n": 1, "backend": "pool-a", "model": "m", "failed": "unreachable", "duration_us": 0},
        {"n": 2, "backend": "pool-b", "model": "m", "duration_us": 0},
    ]
    assert (outcome["backend"], outcome["fate"], outcome["status"]) == ("pool-b", "complete", 200)
    assert "error" not in outcome
    assert played.ports.sent[0][1]["x-lumyn-attempts"] == "2"
    assert played.ending.error is None
    assert book.shared is not None
    assert (dict(book.shared.made), dict(book.shared.forgone)) == ({"unreachable": 1}, {})


async def test_one_attempt_says_nothing_of_attempts() -> None:
    """Without a failure, and where there is nowhere to go, neither outcome nor headers know of attempts."""
    plain = await answered(begun()).play()
    book = begun() >> REFUSED << "elsewhere not pool-a" << "queue outcome:failed"
    failed = await (book << "error 502 UPSTREAM_UNREACHABLE").play()
    for played in (plain, failed):
        assert "attempts" not in played.outcomes[0]
        assert "x-lumyn-attempts" not in played.ports.sent[0][1]
    assert book.shared is not None
    assert (dict(book.shared.made), dict(book.shared.forgone)) == ({}, {"nowhere": 1})


async def test_an_answer_that_says_no_is_given_back_and_another_backend_asked() -> None:
    """A 503 is released unread before the next attempt is committed; its head is not the client's."""
    book = (
        begun() >> BUSY << "elsewhere not pool-a" >> "pool-b" << "release" << "commit note:attempt" << SEND_B
    )
    played = await answered(book).play()
    assert played.events[0]["reason"] == "status_503"
    assert (played.ending.status, played.outcomes[0]["first_byte_us"]) == (200, 0)


async def test_the_last_answer_is_relayed_as_it_came() -> None:
    """Where nobody else serves, the client gets the backend's own words, its Retry-After with them."""
    book = begun() >> BUSY << "elsewhere not pool-a" >> None
    played = await answered(book, 503).play()
    assert played.ports.sent[0][1]["retry-after"] == "3"
    assert "attempts" not in played.outcomes[0]


async def test_attempts_end_at_their_bound() -> None:
    """Three in all; the error of the last is the client's, and the outcome names each."""
    book = begun() >> REFUSED << "elsewhere not pool-a" >> "pool-b" << "commit note:attempt" << SEND_B >> BUSY
    book = book << "elsewhere not pool-a pool-b" >> "pool-c" << "release" << "commit note:attempt"
    book = book << f"{SEND} pool-c" >> UpstreamConnectTimeoutError("slow") << "queue outcome:failed"
    played = await (book << "error 504 UPSTREAM_TIMEOUT").play()
    [outcome] = played.outcomes
    assert [one["failed"] for one in outcome["attempts"]] == ["unreachable", "status_503", "connect_timeout"]
    assert (outcome["error"], outcome["backend"]) == ("UPSTREAM_TIMEOUT", "pool-c")
    assert "status" not in outcome
    assert [event["n"] for event in played.events if "n" in event] == [2, 3]
    assert book.shared is not None
    assert dict(book.shared.forgone) == {"attempts": 1}


@pytest.mark.parametrize("error", [StoreUnavailableError("gone"), Refusing(StoreBusyError("full"))])
async def test_what_cannot_be_committed_is_not_sent(error: object) -> None:
    """Without its event there is no further attempt: the fate is `failed`, and the store's error is told."""
    book = begun() >> REFUSED << "elsewhere not pool-a" >> "pool-b" << "commit note:attempt" >> error
    code = "STORAGE_BUSY" if isinstance(error, Refusing) else "STORAGE_UNAVAILABLE"
    played = await (book << "queue outcome:failed" << f"error 503 {code}").play()
    [outcome] = played.outcomes
    assert (outcome["backend"], outcome["error"], played.ending.fate) == ("pool-a", code, Fate.FAILED)
    assert "attempts" not in outcome


FAILURES: list[tuple[UpstreamError | Head, bool]] = [
    (UpstreamClosedError("reset"), True),
    (UpstreamBrokenError("garbage"), True),
    (UpstreamTimeoutError("silent"), True),
    (Head(status=502), True),
    (Head(status=504), True),
    (Head(status=503, headers=((b"X-LLM-D-Request-Dropped-Reason", b"evicted-priority"),)), True),
    (REFUSED, False),
    (UpstreamConnectTimeoutError("slow"), False),
    (Head(status=429), False),
    (Head(status=503, headers=((b"x-llm-d-request-dropped-reason", b"rejected-saturated"),)), False),
]


@pytest.mark.parametrize(("failure", "worked"), FAILURES)
@pytest.mark.parametrize("repeats", list(Repeats))
@pytest.mark.parametrize("after_send", [False, True])
async def test_what_may_have_been_begun_is_repeated_only_where_that_is_wanted(
    failure: UpstreamError | Head, worked: bool, repeats: Repeats, after_send: bool
) -> None:
    """A generation goes on by configuration, a keyed request always, one with effects only unsent."""
    answer = isinstance(failure, Head)
    book = begun(repeats=repeats, after_send=after_send) >> failure
    sent = answer or failure.sent  # type: ignore[union-attr]
    goes_on = (
        not sent or repeats is Repeats.KEYED or (repeats is Repeats.FREELY and (after_send or not worked))
    )
    if goes_on:
        book = book << "elsewhere not pool-a" >> "pool-b"
        book = answered((book << "release" if answer else book) << "commit note:attempt" << SEND_B)
    elif isinstance(failure, Head):
        book = answered(book, failure.status)
    else:
        book = book << "queue outcome:failed" << f"error {failure.status} {failure.code}"
    await book.play()
    assert book.shared is not None
    assert dict(book.shared.forgone) == ({} if goes_on else {"unrepeatable": 1})


@pytest.mark.parametrize("status", [400, 401, 404, 408, 422, 500, 501, 529])
async def test_other_answers_are_the_clients(status: int) -> None:
    """What is not listed is relayed at once, and nobody else is asked."""
    await answered(begun() >> Head(status=status), status).play()


async def test_the_same_backend_after_a_pause() -> None:
    """Where that is wanted: half of the first pause by chance, its Retry-After where that is longer."""
    book = begun(same_backend=True, backoff_s=0.2) >> REFUSED << "elsewhere not pool-a" << "again"
    book = book << "pause 0.1" << "commit note:attempt" << SEND >> BUSY << "elsewhere not pool-a" << "again"
    book = book << "release" << "pause 3" << "commit note:attempt" << SEND
    played = await answered(book).play()
    assert [event.get("pause_us") for event in played.events[:2]] == [100_000, 3_000_000]
    assert "judged" not in played.events[0]


async def test_a_pause_that_ends_too_late_is_not_begun() -> None:
    """No attempt begins later than `total_s` after the first: the answer that there is is relayed."""
    late = Head(status=429, headers=((b"retry-after", b"31"),))
    book = begun(same_backend=True) >> late << "elsewhere not pool-a" << "again"
    await answered(book, 429).play()
    slow = begun() >> After(30.1, REFUSED) << "elsewhere not pool-a" >> "pool-b" << "queue outcome:failed"
    await (slow << "error 502 UPSTREAM_UNREACHABLE").play()
    for one in (book, slow):
        assert one.shared is not None
        assert dict(one.shared.forgone) == {"time": 1}


@pytest.mark.parametrize(("leaves", "fate"), [(LEAVES, "client_gone"), (STOPS, "cut")])
async def test_nobody_is_waited_for_between_attempts(leaves: str, fate: str) -> None:
    """Who leaves in a pause or in the commit ends the exchange at once; nothing more is sent."""
    pausing = begun(same_backend=True) >> BUSY << "elsewhere not pool-a" << "again" << "release"
    pausing = pausing << "pause 3" >> leaves << f"queue outcome:{fate}"
    committing = begun() >> REFUSED << "elsewhere not pool-a" >> "pool-b"
    committing = committing << "commit note:attempt" >> leaves << f"queue outcome:{fate}"
    for book in (pausing, committing):
        played = await (book << "reset" if leaves is STOPS else book).play()
        [outcome] = played.outcomes
        assert (outcome["fate"], outcome["backend"]) == (fate, "pool-a")
        assert "attempts" not in outcome


async def test_who_leaves_in_a_second_attempt_is_told_of_both() -> None:
    """The attempt under way is aborted, and stands in the outcome without a failure."""
    book = begun() >> REFUSED << "elsewhere not pool-a" >> "pool-b" << "commit note:attempt"
    played = await (book << SEND_B >> LEAVES << "queue outcome:client_gone").play()
    assert [one.get("failed") for one in played.outcomes[0]["attempts"]] == ["unreachable", None]


async def test_a_budget_bounds_what_all_requests_may_retry() -> None:
    """With nothing left in it there is no further attempt; requests and time refill it."""
    book = begun() >> REFUSED << "elsewhere not pool-a" >> "pool-b" << "queue outcome:failed"
    book = book << "error 502 UPSTREAM_UNREACHABLE"
    make = book.retries

    def poor(ports: Any) -> Any:
        shared = make(ports)
        assert shared is not None
        shared.budget.tokens = 0.9
        return shared

    book.retries = poor  # type: ignore[method-assign]
    await book.play()
    assert book.shared is not None
    assert dict(book.shared.forgone) == {"budget": 1}
    assert book.shared.reading().budget == 0.9


# --- under a governor ----------------------------------------------------------------------------


def admitted(**settings: Any) -> AttemptBook:
    """The way to the first attempt of a governed request, which is served by `small`."""
    book = AttemptBook(**settings) << "read" << "decide" << "admit" << "plan admitted"
    return book << "commit decision" << SEND


async def test_the_next_model_of_the_plan_takes_over() -> None:
    """Where no backend of its model is left, the plan's next model is asked, with bytes of its own."""
    tiny = Planned(model="tiny", actions=("MODEL_SWITCHED",), control={"intent": "chat", "plan": {}})
    book = admitted() >> BUSY << "elsewhere not pool-a" << "detour without small" >> tiny
    book = book << "instead tiny not " >> "pool-b" << "release" << "commit note:attempt" << SEND_B
    played = await answered(book).play(governed=True)
    attempt = played.events[0]
    assert (attempt["model"], attempt["digest"]) == ("tiny", sha256_digest(OTHER_BODY))
    assert attempt["control"] == {"intent": "chat", "plan": {}}
    said, ending = played.ports.told[0]
    assert (said, ending.fate, ending.forwarded, ending.status) == ("diverted to tiny", "failed", True, 503)
    assert played.ports.told[1].fate == "complete"
    assert played.outcomes[0]["model"] == "tiny"
    headers = played.ports.sent[0][1]
    assert (headers["x-lumyn-model"], headers["x-lumyn-actions"]) == ("tiny", "MODEL_SWITCHED")


async def test_a_model_that_nobody_may_serve_is_passed_over() -> None:
    """What policy or backends do not give is left out of the next question, and nobody is diverted."""
    book = admitted() >> REFUSED << "elsewhere not pool-a" << "detour without small" >> Planned(model="tiny")
    book = book << "instead tiny not pool-a" >> None << "detour without small tiny" >> None
    played = await (book << "queue outcome:failed" << "error 502 UPSTREAM_UNREACHABLE").play(governed=True)
    assert [one.fate for one in played.ports.told] == ["failed"]


async def test_another_model_of_the_same_backend_waits_as_it_was_told() -> None:
    """A backend that is up may serve another model, and not before it wants to be asked again."""
    book = admitted() >> BUSY << "elsewhere not pool-a" << "detour without small" >> Planned(model="tiny")
    book = book << "instead tiny not " >> "pool-a" << "release" << "pause 3" << "commit note:attempt" << SEND
    await answered(book).play(governed=True)


async def test_the_governors_headers_are_fresh() -> None:
    """A further attempt tells llm-d what is left of its time, not what was left before."""
    book = admitted() >> REFUSED << "elsewhere not pool-a" >> "pool-b" << "commit note:attempt" << SEND_B
    played: Any = await answered(book).play(governed=True)
    assert played.ports.renewed == (("x-llm-d-slo-ttft-ms", "7"),)


async def test_a_governor_that_fails_costs_no_more_than_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in a detour is told to the observer; the exchange ends as without one."""
    from tests.kit.attempts import AttemptPorts

    def broken(*_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(AttemptPorts, "detour", broken)
    monkeypatch.setattr(AttemptPorts, "headers", broken)
    book = admitted() >> REFUSED << "elsewhere not pool-a" << "queue outcome:failed"
    played = await (book << "error 502 UPSTREAM_UNREACHABLE").play(governed=True)
    assert [str(fault) for fault in played.ports.faults] == ["a fault", "a fault"]
