"""Approvals as a service, on a real store: asked once, given once, used once, for one call only."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.kernel.errors import ApprovalError, ClaimTakenError, NotFoundError, PendingError
from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.pipeline.approvals import Answer, Approvals, Ruling, Terms, overtaken, rule
from gateway.records.approvals import ApprovalState, Call
from gateway.store.port import Store
from gateway.store.sqlite import open_sqlite
from tests.kit.entries import CountedRandomness, StillClock, decision, entry_id

ACME = Tenant("acme")
CALL = Call(ACME, "bot", "support.refund", "POST https://api/refunds", "sha256:" + "1" * 64)
OTHER_ARGUMENTS = dataclasses.replace(CALL, arguments_digest="sha256:" + "2" * 64)
TERMS = Terms(ask_ms=1000, use_ms=5000)
POLICY = "sha256:" + "a" * 64


@dataclasses.dataclass
class Counter:
    """A store, its approvals, and the decisions that are made one after the other."""

    store: Store
    clock: StillClock
    approvals: Approvals
    made: int = 0

    async def asks(self, call: Call = CALL, *, named: str | None = None, policy: str = POLICY) -> Ruling:
        """Decide a call that the policy escalates, and commit what comes of it."""
        ruling, _ = await self.tries(call, named=named, policy=policy)
        return ruling

    async def tries(
        self, call: Call = CALL, *, named: str | None = None, policy: str = POLICY
    ) -> tuple[Ruling, str]:
        self.made += 1
        entry = decision(self.made, tenant=call.tenant, verdict="ESCALATE")
        standing = await self.approvals.standing(call, named=named)
        ruling = rule(
            standing, decision_id=entry.entry_id, policy_hash=policy, at_ms=self.clock.now_ms, terms=TERMS
        )
        try:
            await self.store.submit((entry, *ruling.events), steps=ruling.steps)
        except ClaimTakenError as clash:
            ruling = overtaken(standing, clash)
        return ruling, entry.entry_id

    async def approves(self, approval_id: str | None, *, approve: bool = True) -> None:
        assert approval_id is not None
        await self.approvals.resolve(approval_id, approve=approve, by="ann", reason="because")


@pytest.fixture
async def counter(tmp_path: Path) -> AsyncIterator[Counter]:
    """An empty one."""
    clock = StillClock()
    store = await open_sqlite(tmp_path / "l.db", clock=clock, randomness=CountedRandomness())
    async with store:
        yield Counter(store, clock, Approvals(store, clock))


async def test_a_person_is_asked_once(counter: Counter) -> None:
    """The first call opens an approval named by its own decision; a repetition waits for the same one."""
    first, decision_id = await counter.tries()
    assert (first.answer, first.approval_id) == (Answer.OPENED, decision_id)
    assert isinstance(first.error, PendingError)
    again = await counter.asks()
    assert (again.answer, again.approval_id) == (Answer.WAITS, decision_id)
    assert again.events == again.steps == ()


async def test_two_first_calls_at_once_ask_once(counter: Counter) -> None:
    """Of two that ask in the same moment one opens, and the other is told of that one."""
    one, other = await asyncio.gather(counter.tries(), counter.tries())
    opened = next(ruling for ruling, _ in (one, other) if ruling.answer is Answer.OPENED)
    waits = next(ruling for ruling, _ in (one, other) if ruling.answer is Answer.WAITS)
    assert waits.approval_id == opened.approval_id
    assert isinstance(waits.error, PendingError)
    assert waits.error.approval_id == opened.approval_id


async def test_an_approved_call_goes_once(counter: Counter) -> None:
    """The very same call goes after the approval, the one after it is refused and told who used it."""
    approval_id = (await counter.asks()).approval_id
    await counter.approves(approval_id)
    goes, used_by = await counter.tries()
    assert goes.answer is Answer.GOES
    assert goes.extension["approved_by"] == "ann"
    assert goes.error is None
    again = await counter.asks()
    assert again.answer is Answer.REFUSED
    assert again.error is not None
    assert (again.error.code, again.error.status) == ("APPROVAL_USED", 409)
    assert used_by in again.error.message
    assert (await counter.approvals.find(approval_id or "")).used_by == used_by


async def test_of_two_repetitions_at_once_one_goes(counter: Counter) -> None:
    """Of eight concurrent repetitions of an approved call one is committed to go, and the others refused."""
    await counter.approves((await counter.asks()).approval_id)
    rulings = [ruling for ruling, _ in await asyncio.gather(*(counter.tries() for _ in range(8)))]
    assert [ruling.answer for ruling in rulings].count(Answer.GOES) == 1
    refused = [ruling for ruling in rulings if ruling.answer is Answer.REFUSED]
    assert len(refused) == 7
    assert {ruling.error.code for ruling in refused if ruling.error} == {"APPROVAL_USED"}
    said = [event.body for event in await counter.store.events(EVERY_TENANT, entry_id(1))]
    assert sum(b'"state":"used"' in body for body in said) == 1


async def test_other_arguments_are_refused_with_both_digests(counter: Counter) -> None:
    """Who names an approval for another call, or repeats an operation by its key, is told both digests."""
    approval_id = (await counter.asks()).approval_id
    await counter.approves(approval_id)
    ruling = await counter.asks(OTHER_ARGUMENTS, named=approval_id)
    assert ruling.answer is Answer.REFUSED
    assert ruling.error is not None
    assert ruling.error.code == "APPROVAL_MISMATCH"
    assert CALL.arguments_digest in ruling.error.message
    assert OTHER_ARGUMENTS.arguments_digest in ruling.error.message
    assert ruling.extension["arguments_digest"] == OTHER_ARGUMENTS.arguments_digest
    assert ruling.extension["approved_arguments_digest"] == CALL.arguments_digest
    assert (await counter.asks()).answer is Answer.GOES


async def test_a_named_operation_with_other_arguments_is_refused(counter: Counter) -> None:
    """The caller's own key finds the approval without its id."""
    keyed = dataclasses.replace(CALL, key="order-7")
    await counter.approves((await counter.asks(keyed)).approval_id)
    ruling = await counter.asks(dataclasses.replace(keyed, arguments_digest="sha256:" + "2" * 64))
    assert ruling.error is not None
    assert ruling.error.code == "APPROVAL_MISMATCH"
    assert (await counter.asks(keyed)).answer is Answer.GOES


async def test_another_target_is_another_call(counter: Counter) -> None:
    """Named for the same bytes that would go elsewhere, both call digests are told."""
    approval_id = (await counter.asks()).approval_id
    await counter.approves(approval_id)
    moved = dataclasses.replace(CALL, target="POST https://elsewhere/refunds")
    ruling = await counter.asks(moved, named=approval_id)
    assert ruling.error is not None
    assert CALL.digest in ruling.error.message
    assert moved.digest in ruling.error.message


@pytest.mark.parametrize(
    "thief",
    [
        dataclasses.replace(CALL, principal="other-bot"),
        dataclasses.replace(CALL, tenant=Tenant("globex")),
    ],
    ids=["another key", "another tenant"],
)
async def test_an_approval_of_another_is_not_there(counter: Counter, thief: Call) -> None:
    """Naming somebody else's approval is like naming none that exists."""
    approval_id = (await counter.asks()).approval_id
    await counter.approves(approval_id)
    ruling = await counter.asks(thief, named=approval_id)
    assert ruling.answer is Answer.REFUSED
    assert ruling.error is not None
    assert (ruling.error.status, ruling.error.code) == (404, "APPROVAL_UNKNOWN")
    assert CALL.arguments_digest not in str(ruling.extension.get("approved_arguments_digest"))
    with pytest.raises(NotFoundError):
        await counter.approvals.show(thief.tenant, thief.principal, approval_id or "")


@pytest.mark.parametrize("forged", ["", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "' OR 1=1 --"])
async def test_a_forged_id_opens_nothing(counter: Counter, forged: str) -> None:
    """An id that is none of ours is refused and asks nobody."""
    ruling = await counter.asks(named=forged)
    assert ruling.answer is Answer.REFUSED
    assert ruling.events == ruling.steps == ()
    page, _ = await counter.approvals.page(None, owner=None, limit=9, cursor=None)
    assert page == []


async def test_a_question_expires(counter: Counter) -> None:
    """After its time it cannot be approved any more, and the call asks anew."""
    first = (await counter.asks()).approval_id or ""
    counter.clock.now_ms += TERMS.ask_ms
    with pytest.raises(ApprovalError) as caught:
        await counter.approves(first)
    assert caught.value.code == "APPROVAL_NOT_PENDING"
    named = await counter.asks(named=first)
    assert named.error is not None
    assert named.error.code == "APPROVAL_EXPIRED"
    anew = await counter.asks()
    assert anew.answer is Answer.OPENED
    assert anew.extension["follows"] == {"approval_id": first, "reason": "APPROVAL_EXPIRED"}


async def test_the_time_to_use_it_runs_from_the_approval(counter: Counter) -> None:
    """Granted at the last moment it can still be used for its whole time, and not a moment longer."""
    first = (await counter.asks()).approval_id
    counter.clock.now_ms += TERMS.ask_ms - 1
    await counter.approves(first)
    counter.clock.now_ms += TERMS.use_ms
    assert (await counter.asks(named=first)).answer is Answer.REFUSED
    counter.clock.now_ms -= 1
    assert (await counter.asks()).answer is Answer.GOES


async def test_another_policy_makes_it_void(counter: Counter) -> None:
    """Approved under one policy and used under another: named it is refused, else a person is asked anew."""
    first = (await counter.asks()).approval_id
    await counter.approves(first)
    later = "sha256:" + "b" * 64
    named = await counter.asks(named=first, policy=later)
    assert named.error is not None
    assert named.error.code == "APPROVAL_POLICY_CHANGED"
    assert POLICY in named.error.message
    assert later in named.error.message
    anew = await counter.asks(policy=later)
    assert anew.answer is Answer.OPENED
    assert isinstance(anew.error, PendingError)
    assert "APPROVAL_POLICY_CHANGED" in anew.error.message
    await counter.approves(anew.approval_id)
    assert (await counter.asks(policy=later)).answer is Answer.GOES


async def test_a_denial_holds(counter: Counter) -> None:
    """Denied, the same call is refused with the reason, until the denial lapses."""
    first = (await counter.asks()).approval_id
    await counter.approves(first, approve=False)
    refused = await counter.asks()
    assert refused.error is not None
    assert (refused.error.code, refused.error.status) == ("APPROVAL_DENIED", 403)
    assert "because" in refused.error.message
    assert (await counter.asks(OTHER_ARGUMENTS)).answer is Answer.OPENED
    counter.clock.now_ms += TERMS.use_ms
    assert (await counter.asks()).answer is Answer.OPENED


async def test_it_is_given_once(counter: Counter) -> None:
    """Of an approval and a denial in the same moment one holds; a second word of anybody is refused."""
    first = (await counter.asks()).approval_id or ""
    words = [
        counter.approvals.resolve(first, approve=approve, by=by, reason="r")
        for approve, by in ((True, "ann"), (False, "bob"))
    ]
    outcomes = await asyncio.gather(*words, return_exceptions=True)
    [given] = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    [refused] = [outcome for outcome in outcomes if isinstance(outcome, ApprovalError)]
    assert given.resolved_by is not None
    assert given.resolved_by in refused.message
    assert (await counter.approvals.find(first)).resolved_by == given.resolved_by


async def test_pages_are_narrowed(counter: Counter) -> None:
    """Operators list by state and by key, the newest first, across tenants."""
    one = (await counter.asks()).approval_id or ""
    other = (
        await counter.asks(dataclasses.replace(CALL, tenant=Tenant("globex"), principal="z"))
    ).approval_id
    await counter.approves(one)

    async def ids(state: ApprovalState | None, owner: str | None = None) -> list[str]:
        page, cursor = await counter.approvals.page(state, owner=owner, limit=9, cursor=None)
        assert cursor is None
        return [approval.approval_id for approval in page]

    assert await ids(None) == [other, one]
    assert await ids(ApprovalState.PENDING) == [other]
    assert await ids(ApprovalState.APPROVED) == [one]
    assert await ids(None, "z") == [other]
    counter.clock.now_ms += TERMS.ask_ms
    assert await ids(ApprovalState.PENDING) == []
    assert await ids(ApprovalState.EXPIRED) == [other]
    assert await ids(ApprovalState.APPROVED) == [one]


async def test_its_own_key_may_look(counter: Counter) -> None:
    """The key that asked sees its approval."""
    first = (await counter.asks()).approval_id or ""
    shown = await counter.approvals.show(ACME, "bot", first)
    assert (shown.call, shown.state) == (CALL, ApprovalState.PENDING)
