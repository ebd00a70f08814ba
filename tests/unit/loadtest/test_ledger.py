"""Client and ledger tell the same story, and every way in which they may not is found."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from loadtest import ledger
from loadtest.client import Client, read_origin
from loadtest.ledger import (
    Record,
    causes,
    check_ledger,
    decisions_in_words,
    explained,
    read_ledger,
    read_record,
    touched,
)
from loadtest.rows import Row
from loadtest.stage import StageError
from tests.kit.loads import answering, plain
from tests.kit.rawpeer import Message, raw_server

ASK = Row("ask", "r1", "premium", 1.0, 0.0, "complete", 200, 0.1, 1.0, decision_id="D1", actions=("PASSED",))
SWITCHED = replace(ASK, request_id="r2", decision_id="D2", actions=("MODEL_SWITCHED", "QUEUED"))
SHED = replace(ASK, request_id="r3", decision_id="D3", status="shed", http_status=429, actions=("SHED",))
ACT = Row("act", "t1", "", 1.0, 0.0, "complete", 200, verdict="TRUST", decision_id="D4")
RECORDS = {
    "D1": Record("D1", "llm.chat_completion", "TRUST", "identity", "premium", (("PASSED", "as asked"),)),
    "D2": Record(
        "D2", "llm.chat_completion", "TRUST", "lat_price", "premium",
        (("MODEL_SWITCHED", "switched a -> b: dear"), ("QUEUED", "queued for b")),
    ),
    "D3": Record("D3", "llm.chat_completion", "TRUST", "infeasible", "premium", (("SHED", "refused: late"),)),
    "D4": Record("D4", "support.refund", "TRUST"),
}  # fmt: skip
ROWS = (ASK, SWITCHED, SHED, ACT)


def missed(rows: tuple[Row, ...], records: dict[str, Record], received: int | None = 2) -> list[str]:
    """The checks that do not hold."""
    return [check.name for check in check_ledger("arm", rows, records, received) if not check.ok]


def test_a_whole_ledger_passes() -> None:
    """Two requests reached the backend, two were let through, and everything is explained."""
    assert missed(ROWS, RECORDS) == []


@pytest.mark.parametrize(
    ("lost", "name"),
    [
        ("D1", "arm: decisions lost from the ledger"),
        ("D3", "arm: shed or degraded without a record that explains it"),
        ("D4", "arm: tool actions trusted without a record"),
    ],
)
def test_a_record_that_is_missing_is_found(lost: str, name: str) -> None:
    """Whichever it is, a check says so."""
    assert name in missed(ROWS, {key: record for key, record in RECORDS.items() if key != lost})


def test_an_explanation_without_a_reason_is_none() -> None:
    """Each thing that was done needs its sentence, and a shed needs to be called one."""
    silent = replace(RECORDS["D2"], actions=(("MODEL_SWITCHED", "why"), ("QUEUED", "")))
    assert not explained(SWITCHED, silent)
    assert not explained(SHED, RECORDS["D1"])
    assert explained(SWITCHED, RECORDS["D2"])


def test_more_at_the_backend_than_on_record_is_found() -> None:
    """A third request at the backend was forwarded without a record."""
    assert missed(ROWS, RECORDS, 3) == ["arm: forwarded without a record"]
    bare = replace(ASK, decision_id="")
    assert missed((bare,), {}, None) == ["arm: answered without a record"]


def test_a_tool_action_without_an_answer_is_found() -> None:
    """One that was asked and never decided; one that was cut at the end is not counted."""
    silent = replace(ACT, status="failed", verdict="", decision_id="")
    assert missed((silent,), {}, 0) == ["arm: tool actions without a decision"]
    assert missed((replace(silent, status="unfinished"),), {}, 0) == []


def test_a_verdict_that_is_not_the_records_is_found() -> None:
    """The agent acted on a TRUST that the ledger does not hold."""
    other = {**RECORDS, "D4": replace(RECORDS["D4"], verdict="ESCALATE")}
    assert "arm: tool actions trusted without a record" in missed(ROWS, other)


def test_only_what_the_gateway_did_needs_a_record() -> None:
    """A request that the client's own policy refused never reached it."""
    assert not touched(replace(SHED, http_status=None))
    assert not touched(ASK)
    assert touched(SHED)
    assert touched(SWITCHED)


def test_decisions_in_words_are_the_records_sentences() -> None:
    """What passed as asked is no news."""
    told = list(decisions_in_words(ROWS, RECORDS))
    assert [(one.who, one.kind, one.text) for one in told] == [
        ("premium", "MODEL_SWITCHED", "switched a -> b: dear"),
        ("premium", "QUEUED", "queued for b"),
        ("premium", "SHED", "refused: late"),
    ]
    assert causes(RECORDS) == {"D1": "identity", "D2": "lat_price", "D3": "infeasible"}


def stored(number: int) -> dict:
    """A decision as the admin API lists it."""
    return {
        "decision_id": f"D{number}",
        "verdict": "TRUST",
        "request": {"action": {"type": "llm.chat_completion"}},
        "extensions": {
            "control": {
                "intent": "premium",
                "plan": {"cause": "identity"},
                "actions": [{"kind": "PASSED", "reason": "as asked"}],
            }
        },
    }


def test_a_record_is_read() -> None:
    """With and without a control part; a shed or refused one was not forwarded."""
    assert read_record(stored(1)) == RECORDS["D1"]
    assert RECORDS["D1"].forwarded
    assert not RECORDS["D3"].forwarded
    assert not RECORDS["D4"].forwarded
    bare = {name: value for name, value in stored(1).items() if name != "extensions"}
    assert read_record(bare).actions == ()


async def test_the_ledger_is_read_page_by_page() -> None:
    """From an instant on, to the last page; the cursor is passed as it came."""
    asked: list[str] = []

    def answer(message: Message) -> bytes:
        asked.append(message.start)
        last = len(asked) == 2
        return plain({"decisions": [stored(len(asked))], "next_cursor": None if last else "a b&c"})

    async with raw_server(answering(answer)) as server:
        admin = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        records = await read_ledger(admin, since_s=12.5)
        admin.close()
    assert set(records) == {"D1", "D2"}
    assert "since=12500" in asked[0]
    assert "cursor=a%20b%26c" in asked[1]


async def test_a_ledger_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal, nobody there, and nothing endless."""
    async with raw_server(answering(lambda _: plain({}, 401))) as server:
        admin = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        with pytest.raises(StageError, match="answered 401"):
            await read_ledger(admin)
        admin.close()
    with pytest.raises(StageError, match="connection refused"):
        await read_ledger(admin)
    monkeypatch.setattr(ledger, "DECISIONS_MAX", 3)
    counted = iter(range(100))

    def endless(_: Message) -> bytes:
        return plain({"decisions": [stored(next(counted))], "next_cursor": "more"})

    async with raw_server(answering(endless)) as server:
        admin = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        assert len(await read_ledger(admin)) == 3
        admin.close()
    assert orjson.dumps(stored(1))
