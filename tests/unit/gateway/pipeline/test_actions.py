"""The judge of action requests: what a verdict comes to, with a person and an earlier execution."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.auth.keys import KeyRing, Principal
from gateway.config import PolicyConfig
from gateway.engine.decide import EngineSettings
from gateway.kernel.errors import (
    ApprovalError,
    ClaimTakenError,
    ForbiddenError,
    InFlightError,
    PendingError,
    QueryError,
    RefusedError,
)
from gateway.kernel.ids import IdSource
from gateway.kernel.types import Mode, Tenant
from gateway.live import Live, Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline import approvals, executions
from gateway.pipeline.actions import ActionJudge, Counter, check_cover
from gateway.pipeline.approvals import Answer, Standing
from gateway.pipeline.executions import Answered, Execution
from gateway.pipeline.policies import load_policies
from gateway.pipeline.routes import ReadAction, read_action
from gateway.records.approvals import Approval, ApprovalState
from gateway.records.types import DecisionEntry, EventEntry
from gateway.store.claims import Claim, Fit
from tests.kit.entries import START_MS, CountedRandomness, StillClock, entry_id
from tests.kit.tools import ESCALATED, TRUSTED
from tests.unit.gateway.pipeline.test_routes import JSON, compiled

POLICIES = load_policies(PolicyConfig())
BOT = Principal("bot", "acme")


def counter(mode: Mode | None = Mode.ENFORCE) -> Counter:
    """What judgements share."""
    clock = StillClock()
    live = Live(Snapshot(POLICIES, MemoryIndex(), EngineSettings(mode=mode), KeyRing([]), top_k=5))
    return Counter(live, clock, IdSource(clock, CountedRandomness()), forward_authorization=False)


def read(body: dict[str, Any]) -> ReadAction:
    """A refund request, read."""
    return read_action(
        compiled(),
        BOT,
        path="/orders/O-1/refunds",
        query="",
        headers=(JSON,),
        body=orjson.dumps(body),
        trace={"correlation_id": "r-1"},
    )


def execution(asked: ReadAction) -> Execution:
    """An execution that is about to be claimed."""
    claim = Claim(
        executions.SPACE, asked.call.tenant, "n", "bot", "running", asked.call.arguments_digest, "", 0, 9
    )
    return Execution(
        claim, over=None, fit=Fit.REFUSES, kept_ms=1, answered=Answered(9), clock=StillClock(), claimed=list
    )


def judge(
    body: dict[str, Any], *, mode: Mode | None = Mode.ENFORCE, state: ApprovalState | None = None
) -> ActionJudge:
    """A judge of a refund, with an approval in a state where one is given."""
    asked = read(body)
    made = ActionJudge(
        counter(mode),
        compiled(),
        asked,
        headers=(JSON, (b"authorization", b"Bearer secret"), (b"x-mine", b"1")),
        execution=execution(asked),
    )
    if made.escalates:
        policy = POLICIES.for_action("support.refund").policy_hash
        approval = None
        if state is not None:
            approval = Approval(
                entry_id(7),
                asked.call,
                policy,
                START_MS,
                START_MS + 1000,
                state,
                500,
                "ann",
                "because",
                START_MS,
            )
        made.stands(Standing(asked.call, None, approval))
    return made


def test_what_is_trusted_goes() -> None:
    """The decision awaits its outcome, claims the execution, and carries no credential of the client's."""
    made = judge(TRUSTED)
    body = orjson.dumps(TRUSTED)
    admitted = made.decide(body)
    [entry] = admitted.entries
    assert isinstance(entry, DecisionEntry)
    assert (entry.awaits_outcome, entry.tenant, entry.correlation_id) == (True, Tenant("acme"), "r-1")
    assert (admitted.approved, admitted.refusal, admitted.opaque) == (False, None, True)
    assert [step.claim.space for step in admitted.steps] == [executions.SPACE]
    assert admitted.steps[0].claim.decision_id == entry.entry_id
    assert admitted.settled is not None
    names = [name.lower() for name, _ in admitted.headers]
    assert b"authorization" not in names
    assert admitted.body == body
    assert (admitted.method, admitted.path) == ("POST", "/orders/O-1/refunds")


def test_a_question_names_its_places() -> None:
    """QUERY: nothing is claimed, nothing awaited, and each question says where its answer belongs."""
    admitted = judge({"amount": 20, "currency": "USD"}).decide(
        orjson.dumps({"amount": 20, "currency": "USD"})
    )
    assert isinstance(admitted.refusal, QueryError)
    assert admitted.refusal.facts is not None
    assert [one["source"] for one in admitted.refusal.facts["queries"]] == ["body:/ticket", "body:/customer"]
    assert (admitted.steps, admitted.settled) == ((), None)
    [entry] = admitted.entries
    assert isinstance(entry, DecisionEntry)
    assert not entry.awaits_outcome


def test_a_denial_names_its_code() -> None:
    """ABSTAIN: the error's code is the deciding reason."""
    body = TRUSTED | {"risk": "high"}
    refusal = judge(body).decide(orjson.dumps(body)).refusal
    assert isinstance(refusal, RefusedError)
    assert (refusal.code, refusal.status) == ("PAYMENT_INSTRUMENT_HIGH_RISK", 403)
    assert refusal.facts is not None
    assert refusal.facts["verdict"] == "ABSTAIN"


def test_a_question_to_a_person_is_opened_with_the_decision() -> None:
    """ESCALATE: decision and opening event in one commit, and nothing of an execution."""
    made = judge(ESCALATED)
    admitted = made.decide(orjson.dumps(ESCALATED))
    entry, opening = admitted.entries
    assert isinstance(opening, EventEntry)
    assert opening.decision_id == entry.entry_id == admitted.decision.decision_id
    assert [step.claim.space for step in admitted.steps] == [approvals.SPACE]
    assert isinstance(admitted.refusal, PendingError)
    assert made.answer is Answer.OPENED
    assert admitted.decision.record["extensions"]["approval"]["approval_id"] == entry.entry_id


def test_what_is_approved_goes_with_both_claims() -> None:
    """An approved call uses its approval and claims its execution in the commit that lets it go."""
    made = judge(ESCALATED, state=ApprovalState.APPROVED)
    admitted = made.decide(orjson.dumps(ESCALATED))
    assert admitted.approved
    assert admitted.decision.verdict == "ESCALATE"
    assert [step.claim.space for step in admitted.steps] == [approvals.SPACE, executions.SPACE]
    entry, use = admitted.entries
    assert isinstance(entry, DecisionEntry)
    assert isinstance(use, EventEntry)
    assert entry.awaits_outcome
    assert use.decision_id == entry_id(7)
    assert orjson.loads(use.body)["data"]["decision_id"] == entry.entry_id
    assert made.answer is Answer.GOES


@pytest.mark.parametrize("state", [ApprovalState.PENDING, ApprovalState.DENIED, ApprovalState.USED])
def test_no_other_state_lets_it_go(state: ApprovalState) -> None:
    """Pending, denied or used: held, with nothing claimed."""
    admitted = judge(ESCALATED, state=state).decide(orjson.dumps(ESCALATED))
    assert not admitted.approved
    assert admitted.refusal is not None
    assert admitted.steps == ()


def test_advisory_asks_nobody() -> None:
    """Where the mode lets everything pass no person is asked."""
    made = judge(ESCALATED, mode=Mode.ADVISORY)
    assert not made.escalates
    admitted = made.decide(orjson.dumps(ESCALATED))
    assert admitted.decision.forwardable
    assert [step.claim.space for step in admitted.steps] == [executions.SPACE]


def test_who_lost_an_approval_is_refused_under_the_same_id() -> None:
    """Overtaken in using it: the decision is made again, says why, and claims nothing."""
    made = judge(ESCALATED, state=ApprovalState.APPROVED)
    first = made.decide(orjson.dumps(ESCALATED))
    assert first.overtaken is not None
    again = first.overtaken(ClaimTakenError(approvals.SPACE, "used", entry_id(7)))
    assert again.decision.decision_id == first.decision.decision_id
    assert isinstance(again.refusal, ApprovalError)
    assert again.decision.record["extensions"]["approval"]["refused"] == "APPROVAL_USED"
    assert (again.steps, again.overtaken, again.settled, again.approved) == ((), None, None, False)
    [entry] = again.entries
    assert isinstance(entry, DecisionEntry)
    assert not entry.awaits_outcome


def test_who_lost_an_opening_waits_for_the_other_s() -> None:
    """Overtaken in asking: it is told of the question that was asked."""
    first = judge(ESCALATED).decide(orjson.dumps(ESCALATED))
    assert first.overtaken is not None
    again = first.overtaken(ClaimTakenError(approvals.SPACE, "pending", entry_id(9)))
    assert isinstance(again.refusal, PendingError)
    assert again.refusal.approval_id == entry_id(9)


@pytest.mark.parametrize("state", [None, ApprovalState.APPROVED])
def test_who_lost_a_key_comes_again(state: ApprovalState | None) -> None:
    """Overtaken in executing: refused on record, to be retried, and the approval is not used."""
    body = TRUSTED if state is None else ESCALATED
    first = judge(body, state=state).decide(orjson.dumps(body))
    assert first.overtaken is not None
    again = first.overtaken(ClaimTakenError(executions.SPACE, "running", entry_id(9)))
    assert isinstance(again.refusal, InFlightError)
    assert again.decision.record["extensions"]["idempotency"]["decision_id"] == entry_id(9)
    assert (again.steps, again.settled, again.approved, len(again.entries)) == ((), None, False, 1)
    assert isinstance(again.entries[0], DecisionEntry)
    assert not again.entries[0].awaits_outcome


def test_a_key_must_cover_the_action() -> None:
    """A key without the action type is told so."""
    check_cover(BOT, compiled())
    with pytest.raises(ForbiddenError, match=r"support\.refund"):
        check_cover(Principal("bot", "acme", actions=("llm.*",)), compiled())


def test_nobody_governs_an_action() -> None:
    """No intent covers an action, and a plan changes nothing."""
    made = judge(TRUSTED)
    admitted = made.decide(orjson.dumps(TRUSTED))
    assert made.asked(admitted, arrived_s=0.0) is None
    assert made.planned(admitted, None) is admitted  # type: ignore[arg-type]
