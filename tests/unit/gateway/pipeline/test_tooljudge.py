"""Tool calls judged and kept, on a real store."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.auth.keys import Principal
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import ClaimTakenError, StoreUnavailableError
from gateway.kernel.types import Fate, Mode, Tenant
from gateway.records.request import validate_request
from gateway.wire.toolcall.call import Fault, Kind
from tests.kit.tooldesk import Bench, asked, tool_bench
from tests.kit.toolgates import LARGE, SMALL


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A desk on a store of its own."""
    async with tool_bench(tmp_path) as one:
        yield one


async def test_verdicts_are_on_record_before_they_are_told(bench: Bench) -> None:
    """Each call has a record of its own when its verdict is returned, and refused ones their fate."""
    judge = bench.judge()
    verdicts = await judge.judge([asked("refund", SMALL), asked("close_it"), asked("refund", "{}")])
    assert [verdict.permitted for _, verdict in verdicts] == [True, False, False]
    records = await bench.records()
    assert [record["verdict"] for record in records] == ["TRUST", "ABSTAIN", "QUERY"]
    assert [record["fates"] for record in records] == [[], ["refused"], ["refused"]]
    assert records[1]["decision_id"] in verdicts[1][1].text
    assert bench.counted == [("TRUST", True), ("ABSTAIN", False), ("QUERY", False)]
    for record in records:
        validate_request(record["request"])


async def test_the_fate_of_a_permitted_call_is_that_of_its_answer(bench: Bench) -> None:
    """It is told once."""
    judge = bench.judge()
    await judge.judge([asked("refund", SMALL)])
    entries = judge.outcomes(Fate.CLIENT_GONE)
    await bench.store.submit(entries)
    assert [record["fates"] for record in await bench.records()] == [["client_gone"]]
    assert judge.outcomes(Fate.COMPLETE) == ()


async def test_the_context_is_the_digest_of_the_raw_arguments(bench: Bench) -> None:
    """What was judged is what the client gets: digit by digit."""
    spelled = '{ "order": "o",  "amount": 1.50 }'
    await bench.judge().judge([asked("refund", spelled)])
    [record] = await bench.records()
    assert record["request"]["context"]["mode"] == "digest_only"
    assert record["request"]["context"]["digest"] == sha256_digest(spelled.encode())
    assert record["request"]["action"]["amount"] == {"value": 1.5, "currency": "USD"}


async def test_a_tool_without_mapped_evidence_gives_all_of_it_flat(bench: Bench) -> None:
    """And no argument passes for what the gateway says, nor for an exchange rate."""
    text = '{"a": {"b": 1}, "model": "x", "fx_rate_to_usd": 0.001, "decision_id": "y"}'
    await bench.judge().judge([asked("look_up", text)])
    [record] = await bench.records()
    assert record["request"]["evidence"] == {
        "a.b": 1,
        "arguments.model": "x",
        "arguments.fx_rate_to_usd": 0.001,
        "arguments.decision_id": "y",
        "model": "m",
        "decision_id": "01LLM",
    }


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (asked("refund", "{"), "TOOL_ARGUMENTS_INVALID"),
        (asked("refund", '{"order": "o", "amount": -1}'), "TOOL_ARGUMENTS_INVALID"),
        (asked("look_up", '{"a": {"b": 1}, "a.b": 2}'), "TOOL_ARGUMENTS_INVALID"),
        (asked(""), "TOOL_ARGUMENTS_INVALID"),
        (asked("rm_rf"), "TOOL_UNKNOWN"),
    ],
)
@pytest.mark.parametrize("mode", [None, Mode.ADVISORY])
async def test_what_the_gateway_finds_is_refused_in_every_mode(
    tmp_path: Path, call: object, code: str, mode: Mode | None
) -> None:
    """Advisory is about policies: what nobody can judge does not go on."""
    async with tool_bench(tmp_path, mode=mode) as bench:
        [(_, verdict)] = await bench.judge().judge([dataclasses.replace(call)])  # type: ignore[type-var]
        assert not verdict.permitted
        [record] = await bench.records()
        assert record["reason_codes"] == [code]
        assert record["policy"]["policy_id"] == "lumyn-gate"


async def test_advisory_lets_through_what_a_policy_would_hold(tmp_path: Path) -> None:
    """The true verdict is on record, and nobody is asked to approve."""
    async with tool_bench(tmp_path, mode=Mode.ADVISORY) as bench:
        verdicts = await bench.judge().judge([asked("close_it"), asked("refund", LARGE)])
        assert [verdict.permitted for _, verdict in verdicts] == [True, True]
        records = await bench.records()
        assert [record["verdict"] for record in records] == ["ABSTAIN", "ESCALATE"]
        assert "approval" not in records[1]["extensions"]


async def test_oversized_arguments_have_a_code_of_their_own(bench: Bench) -> None:
    """Too large, or not ended in time."""
    for fault in (Fault.OVERSIZED, Fault.HELD_TOO_LONG):
        call = asked("refund", "{")
        call.fault = fault
        await bench.judge().judge([call])
    records = await bench.records()
    assert [record["reason_codes"] for record in records] == [["TOOL_ARGUMENTS_OVERSIZED"]] * 2
    assert records[0]["request"]["extensions"]["tool_call"]["fault"] == "arguments_oversized"


async def test_a_key_covers_the_actions_of_its_tools(bench: Bench) -> None:
    """A key that may chat may not refund because a model says so."""
    chat_only = Principal("bot", "acme", ("llm.*",))
    [(_, verdict)] = await bench.judge(chat_only).judge([asked("refund", SMALL)])
    assert not verdict.permitted
    assert "does not cover" in verdict.text
    [record] = await bench.records()
    assert record["reason_codes"] == ["TOOL_NOT_ALLOWED"]
    assert record["request"]["subject"] == {"id": "bot", "type": "service", "tenant_id": "acme"}
    refunds = Principal("bot", "acme", ("llm.*", "shop.*"))
    [(_, verdict)] = await bench.judge(refunds).judge([asked("refund", SMALL)])
    assert verdict.permitted


async def test_unknown_tools_may_be_decided(bench: Bench) -> None:
    """Then under their own name, without a word of their arguments, by the policy's default."""
    judge = bench.judge(decide_unknown=True)
    [(_, verdict)] = await judge.judge([asked("Get-Weather", '{"city": "Bonn"}')])
    assert not verdict.permitted
    [record] = await bench.records()
    assert record["request"]["action"]["type"] == "tool.get_weather"
    assert record["verdict"] == "ESCALATE"
    assert "Bonn" not in str(record)


async def test_custom_tools_are_judged_by_name(bench: Bench) -> None:
    """Their input is text: it is digested and not read."""
    [(_, verdict)] = await bench.judge().judge([asked("look_up", "select {", kind=Kind.CUSTOM)])
    assert verdict.permitted
    [record] = await bench.records()
    assert record["request"]["context"]["digest"] == sha256_digest(b"select {")
    assert set(record["request"]["evidence"]) == {"model", "decision_id"}


async def test_a_repeated_call_goes_once_when_it_is_approved(bench: Bench) -> None:
    """Only the very same call: other arguments ask anew."""
    [(_, first)] = await bench.judge().judge([asked("refund", LARGE)])
    assert "a person must approve it" in first.text
    [record] = await bench.records()
    await bench.desk.approvals.resolve(record["decision_id"], approve=True, by="ann", reason="ok")
    [(_, other)] = await bench.judge().judge([asked("refund", LARGE.replace("950", "951"))])
    [(_, again)] = await bench.judge().judge([asked("refund", LARGE)])
    [(_, more)] = await bench.judge().judge([asked("refund", LARGE)])
    assert [one.permitted for one in (other, again, more)] == [False, True, False]


async def test_the_same_call_twice_in_one_answer_asks_once(bench: Bench) -> None:
    """The second finds that the first has asked, in the same commit or behind it."""
    verdicts = await bench.judge().judge([asked("refund", LARGE), asked("refund", LARGE)])
    records = await bench.records()
    assert [verdict.permitted for _, verdict in verdicts] == [False, False]
    assert [record["fates"] for record in records] == [["refused"], ["refused"]]
    asked_id = records[0]["decision_id"]
    assert all(record["extensions"]["approval"]["approval_id"] == asked_id for record in records)


async def test_an_approval_used_twice_at_once_goes_once(bench: Bench) -> None:
    """Two answers with the very same call race: the store lets one through."""
    await bench.judge().judge([asked("refund", LARGE)])
    [record] = await bench.records()
    await bench.desk.approvals.resolve(record["decision_id"], approve=True, by="ann", reason="ok")
    both = await asyncio.gather(*(bench.judge().judge([asked("refund", LARGE)]) for _ in range(2)))
    assert sorted(verdict.permitted for [(_, verdict)] in both) == [False, True]


async def test_a_store_that_fails_lets_nothing_through(bench: Bench) -> None:
    """No verdict is told where it is not on record."""
    bench.ledger.fails = True
    with pytest.raises(StoreUnavailableError):
        await bench.judge().judge([asked("refund", SMALL)])
    with pytest.raises(StoreUnavailableError):
        await bench.judge().unreadable(Fault.UNREADABLE, b"x")
    assert await bench.records() == []


async def test_what_was_never_stored_has_no_fate(bench: Bench) -> None:
    """A commit that failed, or is still under way, ends only if it is stored."""
    judge = bench.judge()
    loop = asyncio.get_running_loop()
    failed, waiting, lost = loop.create_future(), loop.create_future(), loop.create_future()
    failed.set_exception(ClaimTakenError("approval", "used", "01"))
    judge._open = [("01A", failed), ("01B", waiting), ("01C", lost)]
    assert judge.outcomes(Fate.COMPLETE) == ()
    before = bench.ledger.commits
    waiting.set_result(None)
    lost.set_exception(StoreUnavailableError("gone"))
    await asyncio.sleep(0)
    assert bench.ledger.commits == before + 1


async def test_an_answer_that_cannot_be_read(bench: Bench) -> None:
    """It is on record, with the digest of what could not be read and no word of it."""
    error = await bench.judge(Principal("bot", "acme")).unreadable(Fault.LATE_FRAGMENT, b"secret")
    [record] = await bench.records()
    assert error.code == "ANSWER_UNREADABLE"
    assert record["decision_id"] in (error.hint or "")
    assert (record["reason_codes"], record["fates"]) == (["TOOL_ANSWER_UNREADABLE"], ["refused"])
    assert record["request"]["action"]["type"] == "tool.unreadable"
    assert record["request"]["context"]["digest"] == sha256_digest(b"secret")
    assert (await bench.store.decision(Tenant("acme"), record["decision_id"])) is not None
