"""Tool calls in Anthropic's messages, whole and streamed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.toolcall.call import Fault, UnreadableError, Verdict
from gateway.wire.toolcall.messages import MessageGrammar
from tests.kit.toolstreams import call, events, frame, message, read_message, run, text


def event(kind: str, **facts: Any) -> bytes:
    """One event."""
    return frame({"type": kind, **facts}, kind)


def start(index: int, given: Any = None, kind: str = "tool_use", name: str = "a") -> bytes:
    """The start of a block."""
    block = {"type": kind, "id": f"t{index}", "name": name, "input": {} if given is None else given}
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, piece: str) -> bytes:
    """A piece of a block's input."""
    return event(
        "content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece}
    )


def stop(index: int) -> bytes:
    """The end of a block."""
    return event("content_block_stop", index=index)


def whole(
    content: list[Any], refuse: tuple[str, ...] = (), raw: bytes | None = None
) -> tuple[list[Any], bytes]:
    """The calls of a whole message, and the message behind the gate."""
    data = raw or orjson.dumps({"id": "m", "type": "message", "content": content, "stop_reason": "tool_use"})
    grammar = MessageGrammar()
    read = grammar.read_body(data)
    ready = grammar.calls.take_ready()
    for one in ready:
        one.verdict = Verdict(one.fault is None and one.name not in refuse, f"[no {one.name}]")
    return ready, grammar.render_body(data, read)


def test_a_block_is_judged_at_its_stop() -> None:
    """Text goes at once; a block of a tool waits for its stop, and then goes as it came."""
    frames = message([text("Hi"), call("a", '{"x":', "1}")])
    ran = run("message", frames)
    assert [bool(step) for step in ran.steps] == [True] * 4 + [False] * 3 + [False] + [True] * 2 + [False]
    assert ran.out == b"".join(frames)
    [one] = ran.calls
    assert (one.place, one.call_id, one.name, one.arguments) == ("/content/1", "toolu_1", "a", '{"x":1}')


def test_a_refused_block_becomes_text() -> None:
    """The text stands under the index of the block, so that the others keep theirs, byte for byte."""
    frames = message([call("a", "{}"), call("b", "{}")])
    out = run("message", frames, {"a"}).out
    heard = read_message(out)
    assert (heard.text, heard.calls, heard.finish) == ("[no a]", [("b", "{}")], "tool_use")
    assert out.endswith(b"".join(frames[4:]))
    heard = read_message(run("message", frames, {"a", "b"}).out)
    assert (heard.text, heard.calls, heard.finish) == ("[no a][no b]", [], "end_turn")


def test_tools_of_the_server_pass() -> None:
    """What the server runs has been run when we hear of it."""
    frames = [
        start(0, kind="server_tool_use"),
        delta(0, "{"),
        stop(0),
        start(1, kind="mcp_tool_use"),
        stop(1),
    ]
    ran = run("message", frames)
    assert (ran.calls, ran.out) == ([], b"".join(frames))


def test_input_that_stands_in_the_start() -> None:
    """Without deltas the input of the start counts, digit by digit; with deltas the two must agree."""
    given = start(0).replace(b'"input":{}', b'"input":{"x": 1.50}')
    [one] = run("message", [given, stop(0)]).calls
    assert (one.arguments, one.fault) == ('{"x": 1.50}', None)
    [one] = run("message", [given, delta(0, '{"x":1.5}'), stop(0)]).calls
    assert (one.arguments, one.fault) == ('{"x":1.5}', None)
    for other in ('{"x":2}', "{"):
        [one] = run("message", [given, delta(0, other), stop(0)]).calls
        assert one.fault is Fault.DISAGREES


def test_without_a_stop_the_end_of_the_message_completes() -> None:
    """A block whose stop never came ends with the message."""
    frames = [start(0), delta(0, "{}"), event("message_stop")]
    ran = run("message", frames)
    assert [one.fault for one in ran.calls] == [None]
    assert ran.out == b"".join(frames)


def test_a_block_behind_a_held_one_waits() -> None:
    """Clients append blocks as they start: one that starts behind a held block does not overtake it."""
    opening = event("content_block_start", index=1, content_block={"type": "text", "text": ""})
    frames = [start(0), opening, event("ping"), delta(0, "{}"), stop(0)]
    ran = run("message", frames)
    assert ran.out == frames[2] + b"".join([frames[0], frames[1], *frames[3:]])
    earlier = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})
    ran = run("message", [start(1), earlier])
    assert ran.out == earlier


@pytest.mark.parametrize(
    "frames",
    [
        [start(0), start(0)],
        [start(0), event("content_block_delta", index=0, delta={"type": "text_delta", "text": "tool_use"})],
        [start(0), stop(0), delta(0, "{}")],
        [frame({"type": "content_block_start", "content_block": {"type": "tool_use"}}, "ping")],
        [event("content_block_start", index=-1, content_block={"type": "tool_use"})],
        [event("content_block_start", index=0, content_block="tool_use")],
        [event("message_start", message={"content": [{"type": "tool_use"}]})],
        [event("content_block_odd", index=0, x="tool_use")] * 2,
        [b'event: content_block_start\ndata: {"type":"tool_use",\n\n'],
    ],
)
def test_what_cannot_be_read_ends_the_answer(frames: list[bytes]) -> None:
    """Blocks that begin twice, go on in another shape or behind their end, and names that disagree."""
    ran = run("message", frames[:1] if b"odd" in frames[0] else frames)
    if b"odd" in frames[0]:
        assert ran.fault is None, "an event that nobody knows is no call"
        ran = run("message", [start(0), frames[0]])
    assert ran.fault in {Fault.UNREADABLE, Fault.LATE_FRAGMENT}


def test_faults_of_the_model() -> None:
    """Input that is no JSON is refused alone."""
    ran = run("message", message([call("a", "{"), call("b", "")]))
    assert [one.fault for one in ran.calls] == [Fault.NOT_JSON, None]
    assert read_message(ran.out).calls == [("b", "")]


def test_an_error_event_keeps_its_order() -> None:
    """An error comes behind what is held before it."""
    error = event("error", error={"type": "overloaded_error", "message": "busy"})
    ran = run("message", [start(0), error])
    assert ran.out == b""
    assert ran.fault is None


def test_a_whole_message() -> None:
    """Refused blocks become text in their place; the input of the others stays as it is written."""
    blocks = [
        b'{"type":"tool_use","id":"t0","name":"a","input":{}}',
        b'{"type":"text","text":"x"}',
        b'{"type":"tool_use","id":"t1","name":"b","input":{"n": 12345678901234567890123}}',
    ]
    raw = b'{"content": [' + b", ".join(blocks) + b'], "stop_reason": "tool_use"}'
    found, out = whole([], raw=raw)
    assert out == raw
    assert [(one.name, one.arguments) for one in found] == [
        ("a", "{}"),
        ("b", '{"n": 12345678901234567890123}'),
    ]
    _, out = whole([], ("a",), raw=raw)
    assert out == raw.replace(blocks[0], b'{"type":"text","text":"[no a]"}')
    _, out = whole([], ("a", "b"), raw=raw)
    assert orjson.loads(out)["stop_reason"] == "end_turn"
    assert [block["type"] for block in orjson.loads(out)["content"]] == ["text"] * 3


def test_a_whole_message_in_other_shapes() -> None:
    """Input that is missing is none; a message without calls stays; what is no message raises."""
    [one], _ = whole([{"type": "tool_use", "name": "a"}])
    assert (one.arguments, one.fault) == ("", None)
    raw = b'{"content":[{"type":"text","text":"tool_use"}],"stop_reason":"tool_use"}'
    assert whole([], raw=raw) == ([], raw)
    for bad in (b"{", b'{"content":{}}', b'{"content":[1]}'):
        with pytest.raises(UnreadableError):
            MessageGrammar().read_body(bad)


def test_the_end_of_the_stream_keeps_other_reasons() -> None:
    """Only `tool_use` is mended: a message that was cut at its length says so."""
    frames = [start(0), stop(0), event("message_delta", delta={"stop_reason": "max_tokens"}, usage={})]
    out = events(run("message", frames, {"a"}).out)
    assert out[-1]["delta"]["stop_reason"] == "max_tokens"
