"""The driver against golden conversations: every call it makes of its ports, in order."""

from __future__ import annotations

import asyncio

import pytest

from gateway.kernel.errors import (
    InvalidRequestError,
    MalformedRequestError,
    NotFoundError,
    StoreBusyError,
    StoreUnavailableError,
    UpstreamBrokenError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from gateway.kernel.types import Fate, Mode, Verdict
from tests.kit.playbook import (
    LEAVES,
    SSE_HEAD,
    STOPS,
    After,
    Head,
    Playbook,
    Refusing,
    verdict,
)

DELTA = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
DONE = b"data: [DONE]\n\n"
ANSWER = b'{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":9}}'
SEND = "send POST /v1/chat/completions"


def to_head(head: Head | None = None) -> Playbook:
    """The way to the head of an answer, the same for every forwarded request."""
    return (
        Playbook()
        << "read"
        << "decide"
        << "commit decision"
        << SEND
        >> head
        << f"head {(head or Head()).status}"
    )


def plain() -> Playbook:
    """A plain answer in two pieces, whole."""
    book = (
        to_head() << "chunk" >> ANSWER[:9] << "relay 9" << "chunk" >> ANSWER[9:] << f"relay {len(ANSWER) - 9}"
    )
    return book << "chunk" << "queue outcome:complete" << "end" << "release"


def streamed() -> Playbook:
    """A stream with its usage and its end mark."""
    book = to_head(Head(headers=SSE_HEAD))
    for data in (DELTA, USAGE, DONE):
        book = book << "chunk" >> data << f"relay {len(data)}"
    return book << "chunk" << "queue outcome:complete" << "end" << "release"


async def test_a_plain_exchange() -> None:
    """Read, decide, commit, forward, relay, settle, end: in this order and with these facts."""
    played = await plain().play()
    assert played.raised is None
    assert played.outcomes == [
        {
            "backend": "pool-a",
            "bytes_out": len(ANSWER),
            "duration_us": 0,
            "fate": "complete",
            "first_byte_us": 0,
            "model": "m",
            "status": 200,
            "usage": {"prompt_tokens": 12, "completion_tokens": 9},
        },
    ]
    status, headers, length, flush = played.ports.sent[0]
    assert (status, length, flush) == (200, None, True)
    assert headers["x-request-id"] == "req-1"
    assert headers["x-lumyn-verdict"] == "TRUST"
    assert played.ending.fate is Fate.COMPLETE


async def test_a_streamed_exchange_reads_its_usage() -> None:
    """Of a stream the usage and the first content are read from the events as they pass."""
    played = await streamed().play()
    [outcome] = played.outcomes
    assert outcome["usage"] == {"prompt_tokens": 3, "completion_tokens": 4}
    assert outcome["ttft_us"] == 0
    assert played.ports.sent[0][1]["x-accel-buffering"] == "no"


async def test_times_are_those_of_the_clock() -> None:
    """Durations are whole microseconds of the monotonic clock, each from its own beginning."""
    book = Playbook() << "read" >> After(0.001) << "decide" << "commit decision" >> After(0.002)
    book = book << SEND >> After(0.25, Head(headers=SSE_HEAD)) << "head 200" << "chunk" >> After(0.5, DELTA)
    book = book << f"relay {len(DELTA)}" << "chunk" >> After(1.0, DONE) << f"relay {len(DONE)}"
    played = await (book << "chunk" << "queue outcome:complete" << "end" << "release").play()
    [outcome] = played.outcomes
    assert outcome["first_byte_us"] == 250_000
    assert outcome["ttft_us"] == 750_000
    assert outcome["duration_us"] == 1_753_000
    assert played.ports.sent[0][1]["x-lumyn-overhead-ms"] == "3.000"


async def test_a_held_request_is_recorded_with_its_fate_and_answered() -> None:
    """A refusal commits the decision and its outcome together, and names the deciding code."""
    book = Playbook() << "read" << "decide" >> verdict(Verdict.ABSTAIN)
    book = book << "commit decision + outcome:refused" << "error 403 LLM_TOKENS_OVER_LIMIT"
    played = await book.play()
    assert played.ending.fate is Fate.REFUSED
    assert played.ports.sent[0][1]["x-lumyn-verdict"] == "ABSTAIN"
    assert "backend" not in played.outcomes[0]


async def test_a_query_names_the_evidence_it_asks_for() -> None:
    """The refusal of a QUERY says which field is missing."""
    book = Playbook() << "read" << "decide" >> verdict(Verdict.QUERY)
    played = await (book << "commit decision + outcome:refused" << "error 403 LLM_TOKENS_OVER_LIMIT").play()
    assert "evidence.order_id" in played.ports.sent[0][0].message


async def test_advisory_forwards_what_it_would_hold() -> None:
    """In advisory mode the true verdict is recorded and shown, and the request goes on."""
    book = Playbook() << "read" << "decide" >> verdict(Verdict.ESCALATE, Mode.ADVISORY)
    played = await (book << "commit decision" << SEND >> LEAVES << "queue outcome:client_gone").play()
    assert played.ending.fate is Fate.CLIENT_GONE


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MalformedRequestError("no JSON"), "error 400 MALFORMED_REQUEST"),
        (NotFoundError("no model", code="MODEL_NOT_FOUND"), "error 404 MODEL_NOT_FOUND"),
    ],
)
async def test_an_undecidable_request_leaves_no_trace(error: Exception, line: str) -> None:
    """What cannot be read or decided is answered, neither recorded nor forwarded."""
    unreadable = await (Playbook() << "read" >> error << line).play()
    undecided = await (Playbook() << "read" << "decide" >> error << line).play()
    for played in (unreadable, undecided):
        assert played.ports.entries == []
        assert played.ending.fate is None


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (StoreUnavailableError("disk gone"), "error 503 STORAGE_UNAVAILABLE"),
        (Refusing(StoreBusyError("full")), "error 503 STORAGE_BUSY"),
        (Refusing(InvalidRequestError("a NUL")), "error 422 INVALID_REQUEST_SCHEMA"),
    ],
)
async def test_what_cannot_be_committed_is_not_forwarded(reply: object, line: str) -> None:
    """A failed commit, asynchronous or at once, ends in an error; no backend hears of it."""
    played = await (Playbook() << "read" << "decide" << "commit decision" >> reply << line).play()
    assert played.ending.fate is None
    held = Playbook() << "read" << "decide" >> verdict(Verdict.ABSTAIN)
    played = await (held << "commit decision + outcome:refused" >> reply << line).play()
    assert played.ending.fate is None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UpstreamUnreachableError("refused"), "error 502 UPSTREAM_UNREACHABLE"),
        (UpstreamBrokenError("garbage"), "error 502 UPSTREAM_BROKEN"),
        (UpstreamTimeoutError("slow"), "error 504 UPSTREAM_TIMEOUT"),
    ],
)
async def test_a_backend_that_does_not_answer(error: Exception, line: str) -> None:
    """The fate is `failed`, with the error's code, settled before the client is told."""
    book = Playbook() << "read" << "decide" << "commit decision" << SEND >> error
    played = await (book << "queue outcome:failed" << line).play()
    assert played.outcomes[0]["error"] == line.split()[2]


async def test_an_error_answer_is_relayed_and_is_no_success() -> None:
    """A whole 4xx of the backend reaches the client as it is; the fate is `failed`."""
    book = to_head(Head(status=400)) << "chunk" >> b"{}" << "relay 2" << "chunk"
    played = await (book << "queue outcome:failed" << "end" << "release").play()
    assert played.outcomes[0]["status"] == 400


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_length_zero(status: int) -> None:
    """Statuses that carry no body are framed so, whatever the backend wrote."""
    book = to_head(Head(status=status)) << "chunk"
    played = await (book << "queue outcome:complete" << "end" << "release").play()
    assert played.ports.sent[0][2] == 0


async def test_a_declared_length_is_kept() -> None:
    """The backend's own length goes to the client, so that a cut shows."""
    head = Head(headers=((b"Content-Length", b"2"), (b"content-type", b"application/json")), buffered=True)
    book = to_head(head) << "chunk" >> b"{}" << "relay 2" << "chunk"
    played = await (book << "queue outcome:complete" << "end" << "release").play()
    assert played.ports.sent[0][2:] == (2, False)


async def test_a_cut_plain_answer_is_reset() -> None:
    """A body that breaks off can only be told by a reset; the backend's connection goes first."""
    book = to_head() << "chunk" >> b"{" << "relay 1" << "chunk" >> UpstreamBrokenError("reset")
    played = await (book << "release" << "queue outcome:cut" << "reset").play()
    assert played.outcomes[0]["error"] == "UPSTREAM_BROKEN"


async def test_a_cut_stream_ends_in_an_error_event() -> None:
    """Inside a stream an event says so, and no `[DONE]` follows."""
    book = to_head(Head(headers=SSE_HEAD)) << "chunk" >> DELTA << f"relay {len(DELTA)}"
    book = (
        book
        << "chunk"
        >> UpstreamTimeoutError("silence")
        << "release"
        << "queue outcome:cut"
        << "break event"
    )
    played = await book.play()
    assert b"UPSTREAM_TIMEOUT" in played.ports.sent[-1]
    assert b"[DONE]" not in played.ports.sent[-1]


async def test_a_stream_without_its_end_mark_was_cut() -> None:
    """End of file is not end of stream: a transport that ends well says nothing of the content."""
    book = to_head(Head(headers=SSE_HEAD)) << "chunk" >> DELTA << f"relay {len(DELTA)}" << "chunk"
    played = await (book << "release" << "queue outcome:cut" << "break event").play()
    assert played.ending.fate is Fate.CUT


async def test_an_error_inside_a_stream_is_a_failure() -> None:
    """A backend that reports an error in its stream did not do it."""
    event = b'data: {"error":{"message":"out of memory"}}\n\n'
    book = to_head(Head(headers=SSE_HEAD)) << "chunk" >> event << f"relay {len(event)}" << "chunk"
    await (book << "queue outcome:failed" << "end" << "release").play()


async def test_an_unframed_answer_is_whole_where_its_json_is() -> None:
    """Where only the close ends a body, JSON that reads to its end is whole and any other is cut."""
    head = Head(complete=False, framed=False)
    book = to_head(head) << "chunk" >> ANSWER << f"relay {len(ANSWER)}" << "chunk"
    await (book << "queue outcome:complete" << "end" << "release").play()
    head = Head(complete=False, framed=False)
    book = to_head(head) << "chunk" >> ANSWER[:-1] << f"relay {len(ANSWER) - 1}" << "chunk"
    await (book << "release" << "queue outcome:cut" << "reset").play()


async def test_a_large_answer_is_relayed_and_its_usage_goes_unread() -> None:
    """Only a bounded part of a body is kept for its usage; the relay itself has no such bound."""
    large = b" " * (300 * 1024)
    book = (
        to_head() << "chunk" >> large << f"relay {len(large)}" << "chunk" >> ANSWER << f"relay {len(ANSWER)}"
    )
    played = await (book << "chunk" << "queue outcome:complete" << "end" << "release").play()
    assert "usage" not in played.outcomes[0]


async def test_an_outcome_the_store_refuses_does_not_break_the_answer() -> None:
    """A decision without an outcome is marked unknown at the next start; its client still gets its end."""
    refused = Refusing(StoreUnavailableError("closed"))
    book = to_head() << "chunk" >> b"{}" << "relay 2" << "chunk" << "queue outcome:complete" >> refused
    played = await (book << "end" << "release").play()
    assert played.raised is None
    book = to_head() << "chunk" >> b"{}" << "relay 2" << "chunk"
    book = book << "queue outcome:complete" >> StoreUnavailableError("commit failed") << "end" << "release"
    assert (await book.play()).raised is None


@pytest.mark.parametrize("book", [plain, streamed])
@pytest.mark.parametrize(("how", "fate"), [(LEAVES, "client_gone"), (STOPS, "cut")])
async def test_cancelled_at_every_await(book, how, fate) -> None:
    """Wherever the exchange is cancelled the record stays, with one true fate, and nothing hangs."""
    waiting = [
        at
        for at, (call, _) in enumerate(book().script)
        if call not in {"decide", "release"} and "queue" not in call
    ]
    assert len(waiting) >= 9
    for at in waiting:
        cut = Playbook()
        cut.script = [*book().script[:at], (book().script[at][0], how)]
        played = await cut.run()
        call = cut.script[at][0]
        assert isinstance(played.raised, asyncio.CancelledError), call
        assert played.ports.waited[-1] == call, "nothing is waited for after the cancellation"
        fates = [outcome["fate"] for outcome in played.outcomes]
        if call == "read":
            assert played.ports.entries == []
        elif call == "end":
            assert fates == ["complete"], "it was settled before: one fate, not two"
        else:
            assert fates == [fate], call
            assert played.ending.fate is Fate(fate)
        if "head 200" in played.heard:
            assert played.heard.count("release") == 1, "the backend learns of it at once, and once"
        if how is STOPS and call not in {"read", "end"}:
            assert {"reset", "break event"} & set(played.heard), "no answer may look whole"


@pytest.mark.parametrize(("how", "fate"), [(LEAVES, Fate.REFUSED), (STOPS, Fate.REFUSED)])
async def test_leaving_during_a_refusal_changes_nothing(how: str, fate: Fate) -> None:
    """Decision and outcome were queued together: the store owns both, and no second fate is added."""
    book = Playbook() << "read" << "decide" >> verdict(Verdict.ABSTAIN)
    played = await (book << "commit decision + outcome:refused" >> how).play()
    assert played.ending.fate is fate
    book = Playbook() << "read" << "decide" >> verdict(Verdict.ABSTAIN)
    book = book << "commit decision + outcome:refused" << "error 403 LLM_TOKENS_OVER_LIMIT" >> how
    played = await book.play()
    assert [outcome["fate"] for outcome in played.outcomes] == ["refused"]


async def test_header_values_are_relayed_as_they_came() -> None:
    """Each byte is the character of its number, whatever the backend meant by it."""
    value = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
    head = Head(headers=((b"x-a", value), (b"content-type", b"application/json")))
    book = to_head(head) << "chunk" >> b"{}" << "relay 2" << "chunk"
    played = await (book << "queue outcome:complete" << "end" << "release").play()
    assert played.ports.sent[0][1]["x-a"].encode("latin-1") == value


async def test_a_client_whose_socket_breaks_has_left() -> None:
    """A write that fails is a client that has gone, as much as a cancellation."""
    book = to_head() << "chunk" >> b"{}" << "relay 2" >> ConnectionResetError() << "release"
    played = await (book << "queue outcome:client_gone").play()
    assert isinstance(played.raised, ConnectionResetError)


@pytest.mark.parametrize("at", range(7))
async def test_a_fault_of_ours_still_ends_in_one_fate(at: int) -> None:
    """Whatever breaks, and where: what is on record has one fate, what is not was never forwarded."""
    book = Playbook()
    book.script = [*plain().script[:at], (plain().script[at][0], ValueError("a fault"))]
    played = await book.run()
    call = book.script[at][0]
    fates = [outcome["fate"] for outcome in played.outcomes]
    assert len(played.ports.faults) == 1
    if at < 3:
        assert fates == []
        assert SEND not in played.heard
        assert played.heard[-1] == "error 500 INTERNAL"
    elif call == SEND:
        assert fates == ["failed"]
        assert played.heard[-1] == "error 500 INTERNAL"
    else:
        assert fates == ["cut"]
        assert played.heard[-1] == "reset"
    assert played.raised is None


async def test_a_fault_behind_the_end_is_reported_and_not_swallowed() -> None:
    """What breaks after the settlement has a fate already: it is told to the observer and raised."""
    book = to_head() << "chunk" >> b"{}" << "relay 2" << "chunk" << "queue outcome:complete"
    played = await (book << "end" >> ValueError("a fault") << "release").play()
    assert isinstance(played.raised, ValueError)
    assert len(played.ports.faults) == 1
    assert [outcome["fate"] for outcome in played.outcomes] == ["complete"]
