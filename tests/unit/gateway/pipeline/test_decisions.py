"""Deciding as a service, on a real store: kept once, read back alike, refused honestly."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.kernel.errors import (
    ConflictError,
    DuplicateKeyError,
    InvalidRequestError,
    NotFoundError,
    StoreBusyError,
    StoreUnavailableError,
)
from gateway.kernel.types import EVERY_TENANT, NO_TENANT, JSONObject, Tenant
from gateway.pipeline.kept import with_events
from tests.kit.entries import entry_id, event

DIGEST = "sha256:" + "0" * 64


def request(**changed: Any) -> JSONObject:
    """A request that the built-in policy trusts."""
    value: JSONObject = {
        "schema_version": "decision_request.v0",
        "subject": {"type": "agent", "id": "bot"},
        "action": {"type": "support.update_ticket", "intent": "close it"},
        "evidence": {"ticket_id": "T-1"},
        "context": {"mode": "digest_only", "digest": DIGEST},
    }
    return value | changed


async def decided(desk, **changed: Any) -> JSONObject:
    """Return the record of a request."""
    return orjson.loads(await desk.decisions.decide(request(**changed)))


async def test_a_decision_is_committed_before_it_is_returned(desk) -> None:
    """The bytes that come back are the bytes that the store holds."""
    body = await desk.decisions.decide(request(trace={"correlation_id": "c-1"}))
    kept = await desk.store.decision(NO_TENANT, orjson.loads(body)["decision_id"])
    assert kept.body == body
    assert kept.correlation_id == "c-1"
    assert not kept.awaits_outcome
    assert await desk.decisions.read(EVERY_TENANT, kept.entry_id) == body


async def test_a_key_is_decided_once(desk) -> None:
    """The same request under its key is the same record, later and at the same time."""
    bodies = await asyncio.gather(*(desk.decisions.decide(request(request_id="r")) for _ in range(5)))
    assert len(set(bodies)) == 1
    assert await desk.decisions.decide(request(request_id="r")) == bodies[0]


async def test_a_key_with_another_request_conflicts(desk) -> None:
    """Also for a twin that is faster: whoever comes second with other words is told who holds the key."""
    first = request(request_id="r")
    other = request(request_id="r", evidence={})
    results = await asyncio.gather(
        desk.decisions.decide(first), desk.decisions.decide(other), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["ConflictError", "bytes"]
    loser = other if isinstance(results[1], ConflictError) else first
    with pytest.raises(ConflictError, match="another request"):
        await desk.decisions.decide(loser)


async def test_a_dry_run_is_not_kept(desk) -> None:
    """It says so in its record, and leaves nothing."""
    record = await decided(desk, hints={"dry_run": True}, request_id="r")
    assert record["extensions"]["dry_run"] is True
    assert await desk.store.decision(EVERY_TENANT, record["decision_id"]) is None
    assert await desk.store.decision_by_key(NO_TENANT, "r") is None


async def test_a_store_that_failed_abstains(desk) -> None:
    """Whether it fails at the look-up or at the commit, the answer is ABSTAIN, and it is not stored."""
    await desk.store.close()
    for key in ({}, {"request_id": "r"}):
        record = await decided(desk, **key)
        assert record["verdict"] == "ABSTAIN"
        assert record["reason_codes"] == ["STORAGE_UNAVAILABLE"]


async def test_a_full_store_is_not_a_verdict(desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-pressure is told as such: the same request will be decided a little later."""

    def full(entries: object, *, reserved: bool = False) -> None:
        raise StoreBusyError("full")

    monkeypatch.setattr(desk.store, "submit", full)
    with pytest.raises(StoreBusyError):
        await desk.decisions.decide(request())


async def test_a_held_key_without_its_decision_abstains(desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that contradicts itself is not trusted."""

    async def taken() -> None:
        raise DuplicateKeyError("x")

    monkeypatch.setattr(desk.store, "submit", lambda _: taken())
    for key in ({}, {"request_id": "r"}):
        assert (await decided(desk, **key))["verdict"] == "ABSTAIN"


async def test_content_must_be_what_its_digest_says(desk) -> None:
    """Inline content with another digest is refused before anything is decided."""
    context = {"mode": "inline", "digest": DIGEST, "inline": {"text": "hello"}}
    with pytest.raises(InvalidRequestError):
        await desk.decisions.decide(request(context=context))


async def test_events_stand_in_the_record(desk) -> None:
    """They come in order, without what is in the record already; without any the bytes are the record's."""
    decision_id = (await decided(desk))["decision_id"]
    for kind in ("note", "override"):
        await desk.decisions.append_event(NO_TENANT, decision_id, kind, {"text": kind})
    record = orjson.loads(await desk.decisions.read(NO_TENANT, decision_id))
    assert [entry["data"]["text"] for entry in record["decision_event_log"]] == ["note", "override"]
    assert set(record["decision_event_log"][0]) == {"event_id", "at", "type", "data"}


async def test_a_label_is_remembered(desk) -> None:
    """A label makes a memory item that the next decision sees."""
    decision_id = (await decided(desk))["decision_id"]
    appended = await desk.decisions.append_event(NO_TENANT, decision_id, "label", {"label": "failure"})
    assert appended.memory_id is not None
    record = await decided(desk)
    [hit] = record["risk_signals"]["failure_similarity"]["top_k"]
    assert (hit["memory_id"], hit["label"]) == (appended.memory_id, "failure")
    withdrawal = {"kind": "withdraw", "memory_id": appended.memory_id}
    await desk.decisions.append_event(NO_TENANT, decision_id, "override", withdrawal)
    assert (await decided(desk))["risk_signals"]["failure_similarity"]["top_k"] == []


async def test_only_the_four_types(desk) -> None:
    """Another type is refused with a pointer, before the decision is looked up."""
    with pytest.raises(InvalidRequestError) as caught:
        await desk.decisions.append_event(NO_TENANT, "x", "guess", {})
    assert caught.value.pointer == "/type"


async def test_another_tenants_decision_is_not_there(desk) -> None:
    """Reading and appending in another scope is the same as for an id that names nothing."""
    decision_id = (await decided(desk))["decision_id"]
    for scope, wanted in ((Tenant("acme"), decision_id), (EVERY_TENANT, entry_id(1))):
        with pytest.raises(NotFoundError):
            await desk.decisions.read(scope, wanted)
        with pytest.raises(NotFoundError):
            await desk.decisions.append_event(scope, wanted, "note", {})


async def test_an_outcome_that_was_promised_is_recorded_once(desk) -> None:
    """Who acts says what became of it, once; nobody else does."""
    body = await desk.decisions.decide(request(), will_act=True)
    decision_id = orjson.loads(body)["decision_id"]
    append = desk.decisions.append_event
    with pytest.raises(ConflictError, match="who acted"):
        await append(NO_TENANT, decision_id, "outcome", {"fate": "complete"})
    await append(NO_TENANT, decision_id, "note", {}, acted=True)
    await append(NO_TENANT, decision_id, "outcome", {"fate": "complete"}, acted=True)
    with pytest.raises(ConflictError, match="already") as caught:
        await append(NO_TENANT, decision_id, "outcome", {"fate": "failed"}, acted=True)
    assert caught.value.code == "OUTCOME_CONFLICT"


async def test_what_is_held_awaits_nothing(desk) -> None:
    """A promise to act is void where the verdict is not TRUST: the caller may not act."""
    action = {"type": "support.refund", "intent": "refund"}
    body = await desk.decisions.decide(request(action=action, evidence={}), will_act=True)
    kept = await desk.store.decision(NO_TENANT, orjson.loads(body)["decision_id"])
    assert not kept.awaits_outcome


async def test_a_label_is_kept_also_where_it_cannot_be_read_back(
    desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is durable: that memory comes to it later is no error of the caller's."""
    decision_id = (await decided(desk))["decision_id"]

    async def unreadable() -> int:
        raise StoreUnavailableError("busy")

    monkeypatch.setattr(desk.decisions._memory, "catch_up", unreadable)
    appended = await desk.decisions.append_event(NO_TENANT, decision_id, "label", {"label": "success"})
    assert appended.memory_id


def test_a_record_without_events_keeps_its_bytes() -> None:
    """Nothing is read and written anew where nothing is added."""
    body = b'{"decision_id": "odd spacing"}'
    assert with_events(body, ()) is body
    assert orjson.loads(with_events(body, (event(1, "x"),)))["decision_event_log"]


async def test_what_is_new_on_record_is_told(desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kept decision once, by its verdict: no repetition, no twin, no dry run, nothing that failed."""
    told: list[str] = []
    desk.decisions._noted = told.append
    await asyncio.gather(*(desk.decisions.decide(request(request_id="r")) for _ in range(3)))
    await desk.decisions.decide(request(request_id="r"))
    await desk.decisions.decide(request(hints={"dry_run": True}))
    assert told == ["TRUST"]

    def broken(*_: object, **__: object) -> None:
        raise StoreUnavailableError("gone")

    monkeypatch.setattr(desk.store, "submit", broken)
    assert (await decided(desk))["verdict"] == "ABSTAIN"
    assert told == ["TRUST"]
