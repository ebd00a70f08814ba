"""Executions kept and found again, on a real store: one claim, one answer, and nothing redone in silence."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.kernel.errors import (
    ClaimTakenError,
    ConflictError,
    GatewayError,
    InFlightError,
    StoreBusyError,
    UnknownOutcomeError,
    UpstreamAddressError,
    UpstreamBrokenError,
    UpstreamConnectTimeoutError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from gateway.kernel.types import Fate, Tenant
from gateway.pipeline.executions import (
    NEVER_MS,
    SPACE,
    Answered,
    Execution,
    Executions,
    Lifetimes,
    Result,
    unknown_outcomes,
)
from gateway.records.approvals import Call
from gateway.store.claims import Fit
from gateway.store.port import Store
from gateway.store.sqlite import open_sqlite
from tests.kit.entries import CountedRandomness, StillClock, decision, event

ACME = Tenant("acme")
CALL = Call(ACME, "bot", "support.refund", "POST x", "sha256:" + "1" * 64)
KEYED = dataclasses.replace(CALL, key="op-1")
OTHER = dataclasses.replace(KEYED, arguments_digest="sha256:" + "2" * 64)
LIFETIMES = Lifetimes(named_ms=1000, derived_ms=100)


@dataclass
class Kept:
    """A store, its executions, and the decisions that are made one after the other."""

    store: Store
    clock: StillClock
    executions: Executions
    made: int = 0

    async def begins(self, call: Call = KEYED, *, retried: bool = False) -> Execution | Result:
        return await self.executions.begin("refunds", call, Answered(64), retried=retried)

    async def starts(self, call: Call = KEYED, *, retried: bool = False) -> tuple[Execution, str]:
        """Begin, and commit the claim with a decision."""
        begun = await self.begins(call, retried=retried)
        assert isinstance(begun, Execution)
        self.made += 1
        entry = decision(self.made, tenant=ACME)
        await self.store.submit((entry,), steps=(begun.claims(entry.entry_id, self.clock.now_ms),))
        return begun, entry.entry_id

    async def ends(
        self,
        begun: Execution,
        decision_id: str,
        fate: Fate = Fate.COMPLETE,
        error: GatewayError | None = None,
    ) -> None:
        """Commit the outcome with what the end claims."""
        outcome = event(self.made, decision_id, tenant=ACME)
        steps = begun.settles(fate, error, True)
        await self.store.submit((outcome,), reserved=True, steps=steps)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    """An empty one."""
    clock = StillClock()
    store = await open_sqlite(tmp_path / "l.db", clock=clock, randomness=CountedRandomness())
    async with store:
        yield Kept(store, clock, Executions(store, clock, LIFETIMES))


def answered(begun: Execution, *pieces: bytes, status: int = 201) -> None:
    """Let an answer go by."""
    begun._answered.status = status
    begun._answered.headers = [("content-type", "application/json")]
    for piece in pieces:
        begun._answered.add(piece)


async def test_an_answer_comes_back(kept: Kept) -> None:
    """Claimed, answered, settled: the repetition gets status, headers and the very bytes."""
    begun, decision_id = await kept.starts()
    answered(begun, b'{"a"', b":1}\n\n\x00")
    await kept.ends(begun, decision_id)
    result = await kept.begins()
    assert result == Result(201, (("content-type", "application/json"),), b'{"a":1}\n\n\x00', decision_id)
    kept.clock.now_ms += LIFETIMES.named_ms - 1
    assert isinstance(await kept.begins(), Result)
    kept.clock.now_ms += 1
    assert isinstance(await kept.begins(), Execution)


async def test_another_request_under_the_key(kept: Kept) -> None:
    """Both digests are named, whatever state the first is in."""
    begun, decision_id = await kept.starts()
    for settled in (False, True):
        if settled:
            answered(begun, b"{}")
            await kept.ends(begun, decision_id)
        with pytest.raises(ConflictError) as caught:
            await kept.begins(OTHER)
        assert OTHER.arguments_digest in caught.value.message
        assert KEYED.arguments_digest in caught.value.message


async def test_one_under_way_is_waited_for(kept: Kept) -> None:
    """Until there is an outcome a repetition is sent away, with a time to come again."""
    await kept.starts()
    with pytest.raises(InFlightError) as caught:
        await kept.begins()
    assert caught.value.retry_after_s == 1.0
    assert caught.value.retryable


async def test_two_that_looked_at_once_do_not_both_claim(kept: Kept) -> None:
    """Both find nothing, and the store lets one of them commit."""
    one, other = await kept.begins(), await kept.begins()
    assert isinstance(one, Execution)
    assert isinstance(other, Execution)
    first, second = decision(1, tenant=ACME), decision(2, tenant=ACME)
    await kept.store.submit((first,), steps=(one.claims(first.entry_id, 1),))
    with pytest.raises(ClaimTakenError) as caught:
        await kept.store.submit((second,), steps=(other.claims(second.entry_id, 1),))
    assert (caught.value.space, caught.value.decision_id) == (SPACE, first.entry_id)


@pytest.mark.parametrize(
    ("fate", "error"),
    [
        (Fate.CUT, UpstreamBrokenError("x")),
        (Fate.CLIENT_GONE, None),
        (Fate.FAILED, UpstreamTimeoutError("x")),
        (Fate.FAILED, UpstreamBrokenError("x")),
    ],
)
async def test_an_unknown_end_is_held_for_ever(kept: Kept, fate: Fate, error: GatewayError | None) -> None:
    """What was sent and did not come back whole is never done again by itself."""
    begun, decision_id = await kept.starts()
    await kept.ends(begun, decision_id, fate, error)
    kept.clock.now_ms += 10**12
    with pytest.raises(UnknownOutcomeError) as caught:
        await kept.begins()
    assert decision_id in caught.value.message
    [held] = await unknown_outcomes(kept.store, limit=9)
    assert held.entry_id == decision_id


async def test_a_process_that_died_leaves_it_held(kept: Kept) -> None:
    """A claim whose decision got the fate `unknown` at a start is held, though it says running."""
    _, decision_id = await kept.starts()
    assert await unknown_outcomes(kept.store, limit=9) == ()
    await kept.store.submit((event(1, decision_id, tenant=ACME),))
    with pytest.raises(UnknownOutcomeError):
        await kept.begins()
    assert [entry.entry_id for entry in await unknown_outcomes(kept.store, limit=9)] == [decision_id]


@pytest.mark.parametrize(
    "kind", [UpstreamUnreachableError, UpstreamAddressError, UpstreamConnectTimeoutError]
)
async def test_what_was_never_sent_is_free(kept: Kept, kind: type[GatewayError]) -> None:
    """Without a connection nothing was done, and the key is free at once."""
    error = kind("x")
    begun, decision_id = await kept.starts()
    await kept.ends(begun, decision_id, Fate.FAILED, error)
    assert isinstance(await kept.begins(), Execution)
    begun, _ = await kept.starts()
    [step] = begun.settles(Fate.CLIENT_GONE, None, False)
    assert step.removes


async def test_a_refusal_of_the_tool_is_an_answer(kept: Kept) -> None:
    """A whole 4xx or 5xx is kept; 429 says that nothing was done, and is not."""
    for status, what in ((409, Result), (500, Result), (429, Execution)):
        call = dataclasses.replace(KEYED, key=f"op-{status}")
        begun, decision_id = await kept.starts(call)
        answered(begun, b"{}", status=status)
        await kept.ends(begun, decision_id, Fate.FAILED)
        assert isinstance(await kept.begins(call), what)


async def test_too_large_an_answer_is_spent(kept: Kept) -> None:
    """Over the bound nothing of it is kept, and the repetition is told so."""
    begun, decision_id = await kept.starts()
    answered(begun, b"x" * 60, b"x" * 5)
    assert begun._answered.body == []
    await kept.ends(begun, decision_id)
    with pytest.raises(ConflictError) as caught:
        await kept.begins()
    assert caught.value.code == "IDEMPOTENCY_SPENT"


async def test_without_a_key_only_a_retry_repeats(kept: Kept) -> None:
    """Equal requests are two actions, unless the second says that it is a retry of the latest."""
    begun, first = await kept.starts(CALL)
    answered(begun, b"1")
    await kept.ends(begun, first)
    begun, second = await kept.starts(CALL)
    answered(begun, b"2")
    await kept.ends(begun, second)
    result = await kept.begins(CALL, retried=True)
    assert isinstance(result, Result)
    assert (result.decision_id, result.body) == (second, b"2")
    kept.clock.now_ms += LIFETIMES.derived_ms
    assert isinstance(await kept.begins(CALL, retried=True), Execution)


async def test_a_late_end_does_not_touch_a_later_claim(kept: Kept) -> None:
    """The first of two equal actions that ends last leaves the second's claim alone, and has its outcome."""
    first, first_id = await kept.starts(CALL)
    _, second_id = await kept.starts(CALL)
    answered(first, b"1")
    await kept.ends(first, first_id)
    assert len(await kept.store.events(ACME, first_id)) == 1
    with pytest.raises(InFlightError) as caught:
        await kept.begins(CALL, retried=True)
    assert second_id in caught.value.message


async def test_the_bound_is_the_store_s(kept: Kept) -> None:
    """At the bound nothing new begins; what is kept is still answered; a new count makes room."""
    executions = Executions(kept.store, kept.clock, LIFETIMES, held_max=1)
    kept.executions = executions
    begun, decision_id = await kept.starts()
    answered(begun, b"{}")
    await kept.ends(begun, decision_id)
    with pytest.raises(StoreBusyError) as caught:
        await kept.begins(CALL)
    assert caught.value.code == "IDEMPOTENCY_FULL"
    assert isinstance(await kept.begins(), Result)
    await executions.count()
    with pytest.raises(StoreBusyError):
        await kept.begins(CALL)
    claim = begun._claim
    done = await kept.store.claim(ACME, SPACE, claim.name)
    assert done is not None
    step = dataclasses.replace(begun.settles(Fate.COMPLETE, None, True)[0], over=done, removes=True)
    await kept.store.submit((), steps=(step,))
    await executions.count()
    assert isinstance(await kept.begins(CALL), Execution)


async def test_nothing_but_digests_stands_in_the_name(kept: Kept) -> None:
    """A claim's name and digest hold no word of the client's, and a claim that runs has no end."""
    begun, _ = await kept.starts()
    claim = begun._claim
    assert claim.name.startswith("sha256:")
    assert "op-1" not in claim.name
    assert claim.expires_ms == NEVER_MS
    assert begun.settles(Fate.COMPLETE, None, True)[0].fit is Fit.SKIPS


async def test_what_is_held_counts_for_nothing(kept: Kept) -> None:
    """Only what goes is counted: requests that the policy refuses cannot use the bound up."""
    kept.executions = Executions(kept.store, kept.clock, LIFETIMES, held_max=1)
    for number in range(9):
        assert isinstance(await kept.begins(dataclasses.replace(CALL, key=f"op-{number}")), Execution)
    await kept.starts()
    with pytest.raises(StoreBusyError):
        await kept.begins(CALL)


class Slow:
    """A store that counts when it is told to."""

    def __init__(self) -> None:
        self.counts = asyncio.Event()

    async def count_claims(self, *_: object) -> int:
        await self.counts.wait()
        return 3


async def test_a_count_misses_nothing_that_is_made_meanwhile() -> None:
    """What is claimed while the store counts is added to what it found."""
    store = Slow()
    executions = Executions(store, StillClock(), LIFETIMES, held_max=4)  # type: ignore[arg-type]
    counting = asyncio.ensure_future(executions.count())  # noqa: TID251
    await asyncio.sleep(0)
    begun = await executions.begin("refunds", CALL, Answered(9), retried=False)
    assert isinstance(begun, Execution)
    begun.claims("D", 1)
    store.counts.set()
    await counting
    with pytest.raises(StoreBusyError):
        await executions.begin("refunds", CALL, Answered(9), retried=False)
