"""The library's calls, as a program makes them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import lumyn
from lumyn import IdempotencyConflictError, InvalidRequestError, Lumyn, LumynConfig, NotFoundError
from tests.kit.refunds import refund


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Lumyn]:
    with Lumyn(LumynConfig(store_path=tmp_path / "w/lumyn.db")) as found:
        yield found


def test_every_public_name_is_there() -> None:
    """Each name of `__all__` can be imported, and nothing else is."""
    for name in lumyn.__all__:
        assert getattr(lumyn, name) is not None
    assert dir(lumyn) == sorted(lumyn.__all__)
    with pytest.raises(AttributeError):
        _ = lumyn.nothing


def test_a_labelled_failure_changes_a_later_verdict(opened: Lumyn) -> None:
    """A refund is trusted, labelled a failure, and the next one like it is escalated because of it."""
    first = opened.decide(refund())
    assert first["verdict"] == "TRUST"
    labelled = opened.label(first["decision_id"], "failure", "refunded twice")
    second = opened.decide(refund(18))
    assert second["verdict"] == "ESCALATE"
    assert second["reason_codes"][0] == "FAILURE_MEMORY_SIMILAR_ESCALATE"
    (hit,) = second["risk_signals"]["failure_similarity"]["top_k"]
    assert (hit["memory_id"], hit["score"]) == (labelled["memory_id"], 1)
    kept = opened.get(first["decision_id"])
    assert kept["decision_event_log"][0]["event_id"] == labelled["event_id"]


def test_a_decision_replays_to_the_same_bytes(opened: Lumyn) -> None:
    """Replaying a stored decision, with memory in it, finds no difference."""
    opened.label(opened.decide(refund())["decision_id"], "near_miss")
    record = opened.decide(refund(19))
    assert opened.replay(record["decision_id"]) == {
        "decision_id": record["decision_id"],
        "identical": True,
        "differences": [],
        "verdict": record["verdict"],
        "policy_hash": record["policy"]["policy_hash"],
        "inputs_digest": record["determinism"]["inputs_digest"],
    }


def test_the_same_key_gives_the_stored_decision_or_a_conflict(opened: Lumyn) -> None:
    """The same request under its key is answered from the store; another under that key raises."""
    first = opened.decide(refund(request_id="r-1"))
    assert opened.decide(refund(request_id="r-1")) == first
    with pytest.raises(IdempotencyConflictError) as caught:
        opened.decide(refund(21, request_id="r-1"))
    assert caught.value.code == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize(
    ("evidence", "pointer"),
    [
        ({"a": math.nan}, "/evidence/a"),
        ({"a": [1, {"b": math.inf}]}, "/evidence/a/1/b"),
        ({"a": 2**60}, "/evidence/a"),
        ({"a": "\ud800"}, "/evidence/a"),
        ({"a": Decimal(1)}, "/evidence/a"),
        ({"a": object()}, "/evidence/a"),
        ({1: "a"}, "/evidence"),
    ],
)
def test_what_is_no_json_is_refused_with_its_pointer(opened: Lumyn, evidence: dict, pointer: str) -> None:
    """Values that JSON or the number rule does not have raise a ValueError that points at them."""
    with pytest.raises(InvalidRequestError) as caught:
        opened.decide(refund(evidence=evidence))
    assert isinstance(caught.value, ValueError)
    assert caught.value.reason_code == "INVALID_REQUEST_SCHEMA"
    assert str(caught.value.pointer).startswith(pointer)


@pytest.mark.parametrize("request_", [None, [], "{}", {}, {"schema_version": "decision_request.v0"}])
def test_what_is_no_request_is_refused(opened: Lumyn, request_: object) -> None:
    """Anything but a DecisionRequest raises InvalidRequestError."""
    with pytest.raises(InvalidRequestError):
        opened.decide(request_)  # type: ignore[arg-type]


def test_the_caller_keeps_its_request(opened: Lumyn) -> None:
    """The request handed in is not changed, and changing it later does not change the record."""
    mine = refund()
    before = refund()
    record = opened.decide(mine)
    assert mine == before
    mine["evidence"]["ticket_id"] = "other"
    assert opened.get(record["decision_id"])["request"]["evidence"]["ticket_id"] == "T-1"


async def test_the_asynchronous_twin_never_blocks_the_loop(tmp_path: Path) -> None:
    """While many decisions are made the loop goes on turning, and each is as the synchronous one's."""
    config = LumynConfig(store_path=tmp_path / "a.db")
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.get_running_loop().create_task(turn())
    records = await asyncio.gather(*(lumyn.adecide(refund(), config=config) for _ in range(20)))
    turning.cancel()
    assert {record["verdict"] for record in records} == {"TRUST"}
    assert turns > 20
    assert lumyn.decide(refund(), config=config)["verdict"] == "TRUST"


def test_two_users_of_one_store_close_for_themselves(tmp_path: Path) -> None:
    """Closing one Lumyn leaves another on the same store at work; a closed one says so."""
    config = LumynConfig(store_path=tmp_path / "a.db")
    first, second = Lumyn(config), Lumyn(config)
    record = first.decide(refund())
    first.close()
    first.close()
    assert second.get(record["decision_id"])["verdict"] == "TRUST"
    with pytest.raises(lumyn.GatewayError, match="closed"):
        first.decide(refund())
    second.close()


def test_storage_that_fails_does_not_raise(tmp_path: Path) -> None:
    """A store that cannot be opened gives ABSTAIN STORAGE_UNAVAILABLE."""
    file = tmp_path / "file"
    file.write_text("this is no database, and long enough to be taken for one" * 40)
    record = lumyn.decide(refund(), config=LumynConfig(store_path=file))
    assert (record["verdict"], record["reason_codes"]) == ("ABSTAIN", ["STORAGE_UNAVAILABLE"])


def test_reading_what_is_not_there_raises(opened: Lumyn) -> None:
    """An unknown id raises NotFoundError from get, label and replay alike."""
    for ask in (opened.get, opened.replay, lambda one: opened.label(one, "failure")):
        with pytest.raises(NotFoundError):
            ask("01ARZ3NDEKTSV4RRFFQ69G5FAV")
