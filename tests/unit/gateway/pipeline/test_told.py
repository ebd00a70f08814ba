"""Approvals as people read and answer them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.kernel.bounds import REASON_CHARS_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.types import NO_TENANT
from gateway.pipeline.told import approval_json, check_reason, read_state, with_request
from gateway.records.approvals import Approval, ApprovalState, Call
from gateway.store.sqlite import open_sqlite
from tests.kit.entries import START_MS, CountedRandomness, StillClock, decision, entry_id

CALL = Call(NO_TENANT, "bot", "support.refund", "POST x", "sha256:" + "1" * 64)
PENDING = Approval(entry_id(1), CALL, "p", START_MS, START_MS + 1000, use_ms=5)


def test_a_pending_one_has_no_answer() -> None:
    """What is asked, until when, and nothing of an answer; lapsed it says so."""
    shown = approval_json(PENDING, START_MS)
    assert (shown["state"], shown["call"]["principal"], shown["call_digest"]) == (
        "pending",
        "bot",
        CALL.digest,
    )
    assert not {"resolved_by", "reason", "used_by"} & set(shown)
    assert approval_json(PENDING, START_MS + 1000)["state"] == "expired"


def test_an_answered_one_says_by_whom() -> None:
    """Who, when and why; and who used it."""
    used = Approval(
        entry_id(1), CALL, "p", START_MS, START_MS, ApprovalState.USED, 5, "ann", "ok", START_MS, entry_id(2)
    )
    shown = approval_json(used, START_MS)
    assert (shown["resolved_by"], shown["reason"], shown["used_by"]) == ("ann", "ok", entry_id(2))


async def test_who_answers_sees_what_was_asked(tmp_path: Path) -> None:
    """The action comes from the record; without a record what the approval knows is shown."""
    clock = StillClock()
    async with await open_sqlite(tmp_path / "a.db", clock=clock, randomness=CountedRandomness()) as store:
        assert "action" not in await with_request(store, PENDING, START_MS)
        entry = decision(1, verdict="ESCALATE", reason_codes=("R",))
        await store.submit((entry,))
        shown = await with_request(store, PENDING, START_MS)
        assert shown["action"] == orjson.loads(entry.body)["request"]["action"]
        assert (shown["reason_codes"], shown["evidence"]) == (["R"], {})


def test_states_are_read() -> None:
    """A known word, or none; another is told what there is."""
    assert read_state(None) is None
    assert read_state("denied") is ApprovalState.DENIED
    with pytest.raises(InvalidRequestError) as caught:
        read_state("open")
    assert "pending" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "reason", [None, 1, "", "  ", "x" * (REASON_CHARS_MAX + 1), "\x1b[2J", "a\x00", "\u202eevil"]
)
def test_a_reason_is_a_readable_text(reason: object) -> None:
    """Empty, endless or with what moves a terminal's cursor: refused."""
    with pytest.raises(InvalidRequestError):
        check_reason(reason)


def test_a_reason_is_trimmed() -> None:
    """Lines are allowed, edges are not kept."""
    assert check_reason("  two\nlines ") == "two\nlines"
