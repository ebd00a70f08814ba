"""The gate of an answer, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.kernel.errors import (
    AnswerUnreadableError,
    GatewayError,
    StoreUnavailableError,
    ToolCallRefusedError,
    UpstreamTimeoutError,
)
from gateway.kernel.types import Fate
from gateway.pipeline.toolgate import ToolGate
from gateway.wire.api import CHAT, COMPLETIONS, Api
from tests.kit.tooldesk import Bench, Scripted, tool_bench
from tests.kit.toolgates import SMALL
from tests.kit.toolstreams import call, chat, chat_end, chunk, fragment, read_chat, text

FRAMES = [*chat([text("Hi"), call("refund", SMALL), call("close_it", "{}")]), *chat_end()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A desk on a store of its own."""
    async with tool_bench(tmp_path) as one:
        yield one


def gate(bench: Bench, api: Api = CHAT, **settings: Any) -> ToolGate:
    """A gate of one answer."""
    return ToolGate(api, bench.tuned(**settings), bench.asker())


async def read(answer: Any) -> tuple[bytes, GatewayError | None]:
    """Read what goes on, and the error that ends it."""
    body = b""
    try:
        while piece := await answer.chunk(1.0):
            body += piece
    except GatewayError as error:
        return body, error
    return body, None


def body_of(*names: str) -> bytes:
    """A whole chat completion with calls."""
    calls = [{"id": name, "function": {"name": name, "arguments": SMALL}} for name in names]
    choice = {"index": 0, "message": {"content": "x", "tool_calls": calls}, "finish_reason": "tool_calls"}
    return orjson.dumps({"choices": [choice]})


async def test_a_streamed_answer_goes_through(bench: Bench) -> None:
    """Nothing of a call has come out before its commit; what was permitted comes as it was."""
    one = gate(bench)
    opened = await one.open(Scripted(FRAMES), "m", idle_s=1.0)
    out = b""
    while piece := await opened.chunk(1.0):
        assert b"refund" not in piece or bench.ledger.commits >= 1
        out += piece
    heard = read_chat(out)
    assert heard.calls == [("refund", SMALL)]
    assert heard.text.startswith("Hi\n[Tool call `close_it` was not permitted")
    assert out.startswith(b"".join(FRAMES[:2]))
    assert (opened.status, opened.complete, opened.framed, opened.buffered) == (200, True, True, False)
    assert len(one.outcomes(Fate.COMPLETE)) == 1


async def test_headers_about_the_bytes_do_not_outlive_them(bench: Bench) -> None:
    """A length or a digest of bytes that may change is dropped, of those that did not it stays."""
    marks = ((b"Content-Length", b"9"), (b"ETag", b"x"), (b"x-own", b"y"))
    opened = await gate(bench).open(Scripted(FRAMES, headers=marks), "m", idle_s=1.0)
    assert [name for name, _ in opened.headers] == [b"Content-Type", b"x-own"]
    for names, kept in ((("refund",), True), (("close_it",), False)):
        answer = Scripted([body_of(*names)], media=b"application/json", headers=marks)
        opened = await gate(bench).open(answer, "m", idle_s=1.0)
        assert ((b"ETag", b"x") in opened.headers) is kept


async def test_a_whole_answer_goes_through(bench: Bench) -> None:
    """Its bytes are the backend's where all is permitted, else without the refused calls."""
    whole = body_of("refund")
    answer = Scripted([whole[:9], whole[9:]], media=b"application/json")
    opened = await gate(bench).open(answer, "m", idle_s=1.0)
    assert await read(opened) == (whole, None)
    assert (opened.status, opened.complete, opened.framed, opened.buffered) == (200, True, True, True)
    answer = Scripted([body_of("close_it", "refund")], media=b"application/json")
    body, _ = await read(await gate(bench).open(answer, "m", idle_s=1.0))
    message = orjson.loads(body)["choices"][0]["message"]
    assert [one["id"] for one in message["tool_calls"]] == ["refund"]


async def test_what_has_no_calls_costs_no_record(bench: Bench) -> None:
    """Plain answers, errors of the backend and APIs without calls pass as they are."""
    for answer, api in (
        (Scripted([b'{"choices":[]}'], media=b"application/json"), CHAT),
        (Scripted([b'{"error":"tool_calls"}'], media=b"application/json", status=400), CHAT),
        (Scripted([b'{"tool_calls":'], media=b"application/json"), COMPLETIONS),
    ):
        one = gate(bench, api)
        opened = await one.open(answer, "m", idle_s=1.0)
        assert (await read(opened))[1] is None
        assert one.outcomes(Fate.COMPLETE) == ()
    assert bench.ledger.commits == 0


@pytest.mark.parametrize(
    ("media", "headers"),
    [
        (b"text/event-stream", ((b"content-encoding", b"gzip"),)),
        (b"text/event-stream; charset=utf-16", ()),
        (b'application/json; charset="ISO-8859-1"', ()),
    ],
)
async def test_what_is_no_plain_text_is_not_let_through(bench: Bench, media: bytes, headers: Any) -> None:
    """In compressed or otherwise coded bytes no call could be found."""
    with pytest.raises(AnswerUnreadableError):
        await gate(bench).open(Scripted([b"x"], media=media, headers=headers), "m", idle_s=1.0)
    assert len(await bench.records()) == 1


@pytest.mark.parametrize("media", [b"text/event-stream;charset=UTF-8", b'application/json; charset="utf-8"'])
async def test_utf_8_may_be_said(bench: Bench, media: bytes) -> None:
    """It is what everybody sends."""
    opened = await gate(bench).open(Scripted([b": x\n\n"], media=media), "m", idle_s=1.0)
    assert (await read(opened))[0] == b": x\n\n"


async def test_a_whole_answer_that_cannot_be_judged(bench: Bench) -> None:
    """Too large, no JSON, or in another encoding: nothing of it goes on."""
    for body in (b"x" * 20_000, b'{"tool_calls":', '{"tool_calls":1}'.encode("utf-16")):
        answer = Scripted([body], media=b"application/json")
        with pytest.raises(AnswerUnreadableError):
            await gate(bench).open(answer, "m", idle_s=1.0)
    records = await bench.records()
    assert [record["reason_codes"] for record in records] == [["TOOL_ANSWER_UNREADABLE"]] * 3


async def test_a_stream_that_cannot_be_read_ends(bench: Bench) -> None:
    """What came before goes on, and then the error; asking again gives it again."""
    before = chunk({"content": "before"})
    opened = await gate(bench).open(Scripted([before, b'data: {"tool_calls":\n\n', before]), "m", idle_s=1.0)
    body, error = await read(opened)
    assert body == before
    assert isinstance(error, AnswerUnreadableError)
    assert (await read(opened))[1] is error


async def test_in_error_mode_a_refused_call_ends_the_answer(bench: Bench) -> None:
    """What stands before it goes on; a whole answer does not begin."""
    opened = await gate(bench, strip=False).open(Scripted(FRAMES), "m", idle_s=1.0)
    body, error = await read(opened)
    assert read_chat(body).calls == [("refund", SMALL)]
    assert isinstance(error, ToolCallRefusedError)
    assert error.pointer == "/choices/0/message/tool_calls/1"
    answer = Scripted([body_of("close_it")], media=b"application/json")
    with pytest.raises(ToolCallRefusedError):
        await gate(bench, strip=False).open(answer, "m", idle_s=1.0)
    answer = Scripted([body_of("refund")], media=b"application/json")
    assert (await read(await gate(bench, strip=False).open(answer, "m", idle_s=1.0)))[0] == body_of("refund")


async def test_a_store_that_fails_releases_nothing(bench: Bench) -> None:
    """The text is out, the call stays in, and the error says why."""
    bench.ledger.fails = True
    opened = await gate(bench).open(Scripted(FRAMES), "m", idle_s=1.0)
    body, error = await read(opened)
    assert body == b"".join(FRAMES[:2])
    assert isinstance(error, StoreUnavailableError)


async def test_a_backend_that_breaks_off(bench: Bench) -> None:
    """Its error passes through, and a call that was not complete is never judged."""
    opened = await gate(bench).open(
        Scripted([chunk(fragment(0, "{", name="refund")), UpstreamTimeoutError("silent")]), "m", idle_s=1.0
    )
    body, error = await read(opened)
    assert body == b""
    assert isinstance(error, UpstreamTimeoutError)
    assert await bench.records() == []


async def test_a_call_that_takes_too_long_is_given_up(bench: Bench) -> None:
    """From its first fragment on; the clock begins anew with the next one."""
    piece = chunk(fragment(0, " ", name="refund"))
    more = [chunk(fragment(0, " "))] * 2
    pieces = [piece, 50.0, more[0], 11.0, more[1], chunk({}, "tool_calls"), *chat_end()]
    opened = await gate(bench).open(Scripted(pieces, clock=bench.clock), "m", idle_s=1.0)
    body, error = await read(opened)
    assert error is None
    assert read_chat(body).calls == []
    [record] = await bench.records()
    assert record["reason_codes"] == ["TOOL_ARGUMENTS_OVERSIZED"]
    quick = [*chat([call("refund", SMALL)], 0), 59.0, *chat([call("refund", SMALL)], 1), *chat_end()]
    opened = await gate(bench).open(Scripted(quick, clock=bench.clock), "m", idle_s=1.0)
    body, _ = await read(opened)
    assert read_chat(body, 1).calls == [("refund", SMALL)]
