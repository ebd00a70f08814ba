"""Approvals by their events: what an approval binds to, and that nobody else's event makes one."""

from __future__ import annotations

import dataclasses

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.ids import is_ulid
from gateway.kernel.types import NO_TENANT, Tenant
from gateway.records.approvals import (
    Approval,
    ApprovalState,
    Call,
    Step,
    fold,
    opened,
    resolved,
    step_id,
    used,
)
from gateway.records.types import EventEntry
from tests.kit.entries import START_MS, entry_id

CALL = Call(Tenant("acme"), "bot", "support.refund", "POST https://api/refunds", "sha256:" + "1" * 64)
CHANGES = {
    "tenant": NO_TENANT,
    "principal": "other",
    "action_type": "support.credit",
    "target": "POST https://api/credits",
    "arguments_digest": "sha256:" + "2" * 64,
    "key": "k-1",
}
OPENED = opened(CALL, policy_hash="p", expires_ms=START_MS + 100, use_ms=50)


def said(step: Step | None, data: dict, *, at_ms: int = START_MS, number: int = 1) -> EventEntry:
    """An event of ours, or with a step None one that a client appended."""
    return EventEntry(
        entry_id=entry_id(99) if step is None else step_id(entry_id(number), step),
        tenant=CALL.tenant,
        at_ms=at_ms,
        decision_id=entry_id(number),
        event_type="override",
        body=orjson.dumps({"data": data}),
    )


APPROVED = resolved(approve=True, by="ann", reason="known customer", expires_ms=START_MS + 70)


@pytest.mark.parametrize("field", CHANGES)
def test_a_call_is_bound_in_every_part(field: str) -> None:
    """A call that differs in any one part has another digest, and is another call."""
    other = dataclasses.replace(CALL, **{field: CHANGES[field]})
    assert other.digest != CALL.digest
    assert other != CALL
    assert other.name != CALL.name


def test_a_named_operation_is_found_with_other_arguments() -> None:
    """With a key of the caller's the approval is found again though the arguments have changed."""
    one = dataclasses.replace(CALL, key="k")
    other = dataclasses.replace(one, arguments_digest="sha256:" + "2" * 64)
    assert one.name == other.name
    assert one.digest != other.digest
    assert one.name != dataclasses.replace(one, key="k2").name


@given(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))
def test_parts_do_not_run_into_each_other(a: str, b: str, c: str, d: str) -> None:
    """No text of one part can imitate another's."""
    one, other = (
        dataclasses.replace(CALL, principal=a, target=b),
        dataclasses.replace(CALL, principal=c, target=d),
    )
    assert (one.digest == other.digest) is ((a, b) == (c, d))


def test_a_question_alone_is_pending() -> None:
    """The opening event gives call, policy and times back as they were."""
    approval = fold(entry_id(1), [said(Step.OPENED, OPENED)])
    assert approval == Approval(entry_id(1), CALL, "p", START_MS, START_MS + 100, use_ms=50)


def test_the_whole_way() -> None:
    """Approved by a person with a reason, until a time of its own; then used, by a decision."""
    events = [said(Step.OPENED, OPENED), said(Step.RESOLVED, APPROVED, at_ms=START_MS + 20)]
    approval = fold(entry_id(1), events)
    assert approval is not None
    assert approval.state is ApprovalState.APPROVED
    assert (approval.resolved_by, approval.reason, approval.resolved_ms) == (
        "ann",
        "known customer",
        START_MS + 20,
    )
    assert approval.expires_ms == START_MS + 70
    after = fold(entry_id(1), [*events, said(Step.USED, used(entry_id(5)))])
    assert after is not None
    assert (after.state, after.used_by) == (ApprovalState.USED, entry_id(5))


def test_a_denial_is_one() -> None:
    """A denial is kept with its reason."""
    data = resolved(approve=False, by="ann", reason="no", expires_ms=START_MS + 70)
    approval = fold(entry_id(1), [said(Step.OPENED, OPENED), said(Step.RESOLVED, data)])
    assert approval is not None
    assert approval.state is ApprovalState.DENIED


@pytest.mark.parametrize(
    "forged",
    [
        [said(None, OPENED)],
        [said(Step.RESOLVED, APPROVED)],
        [said(Step.OPENED, OPENED, number=2)],
    ],
    ids=["opened by a client", "resolved without a question", "of another decision"],
)
def test_what_is_not_ours_is_no_approval(forged: list[EventEntry]) -> None:
    """Events with other ids than those that the store gives out once open nothing."""
    assert fold(entry_id(1), forged) is None


def test_a_client_cannot_approve() -> None:
    """An event of a client's that says `approved` leaves the question pending."""
    approval = fold(entry_id(1), [said(Step.OPENED, OPENED), said(None, APPROVED)])
    assert approval is not None
    assert approval.state is ApprovalState.PENDING


@pytest.mark.parametrize("state", [ApprovalState.PENDING, ApprovalState.APPROVED])
def test_time_ends_what_waits(state: ApprovalState) -> None:
    """A question and a permission lapse at their instant; what is denied or used stays so."""
    approval = dataclasses.replace(Approval(entry_id(1), CALL, "p", START_MS, START_MS + 100), state=state)
    assert approval.state_at(START_MS + 99) is state
    assert approval.state_at(START_MS + 100) is ApprovalState.EXPIRED
    for final in (ApprovalState.DENIED, ApprovalState.USED):
        assert dataclasses.replace(approval, state=final).state_at(START_MS + 100) is final


def test_each_step_has_one_id() -> None:
    """The id of a step is a ULID made from decision and step alone, of the decision's own time."""
    ids = {step_id(entry_id(number), step) for number in (1, 2) for step in Step}
    assert len(ids) == 6
    assert all(map(is_ulid, ids))
    assert step_id(entry_id(1), Step.USED)[:10] == entry_id(1)[:10]
