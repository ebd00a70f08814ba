"""Tool calls in chat completions, whole and streamed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.toolcall.call import Fault, UnreadableError, Verdict
from gateway.wire.toolcall.chat import ChatGrammar
from tests.kit.toolstreams import (
    DONE,
    call,
    chat,
    chat_end,
    chunk,
    events,
    fragment,
    frame,
    read_chat,
    run,
    text,
)

OPEN = {"id": "c0", "type": "function"}


def named(ran: Any) -> list[tuple[str, str, str | None]]:
    """The calls: name, arguments, fault."""
    return [(one.name, one.arguments, one.fault) for one in ran.calls]


def body(*messages: Any, **extra: Any) -> bytes:
    """A whole chat completion."""
    choices = [
        {"index": at, "message": message, "finish_reason": "tool_calls"}
        for at, message in enumerate(messages)
    ]
    return orjson.dumps({"id": "c", "choices": choices, "usage": {"total_tokens": 3}, **extra})


def whole(data: bytes, refuse: tuple[str, ...] = ()) -> tuple[list[Any], Any]:
    """The calls of a body, and the body behind the gate."""
    grammar = ChatGrammar()
    read = grammar.read_body(data)
    ready = grammar.calls.take_ready()
    for one in ready:
        one.verdict = Verdict(one.fault is None and one.name not in refuse, f"[no {one.name}]")
    return ready, orjson.loads(grammar.render_body(data, read))


def test_text_goes_at_once_and_calls_when_they_are_complete() -> None:
    """Of each chunk text comes out before anything is ruled; fragments wait for the end of their call."""
    frames = [*chat([text("Hi"), call("a", '{"x":', "1}"), call("b", "{}")]), *chat_end()]
    ran = run("chat", frames)
    at_once = [bool(step) for step in ran.steps]
    assert at_once[:2] == [True, True]
    assert not any(at_once[2:8])
    assert ran.out == b"".join(frames)
    assert [one.place for one in ran.calls] == [f"/choices/0/message/tool_calls/{at}" for at in (0, 1)]
    assert [one.call_id for one in ran.calls] == ["call_0_0", "call_0_1"]


def test_the_first_of_two_calls_goes_when_the_second_begins() -> None:
    """Its arguments are a whole object, so nothing could be added to it."""
    frames = chat([call("a", '{"x":1}'), call("b", "{}")])
    ran = run("chat", frames[:4])
    assert named(ran) == [("a", '{"x":1}', None)]
    assert ran.out == b"".join(frames[:3])


def test_calls_whose_fragments_alternate() -> None:
    """A call that is not a whole object when the next one begins waits for its finish reason."""
    frames = [
        chunk(fragment(0, '{"x"', name="a", **OPEN)),
        chunk(fragment(1, "{", name="b", id="c1")),
        chunk(fragment(0, ":1}")),
        chunk(fragment(1, "}")),
        chunk({}, "tool_calls"),
    ]
    assert named(run("chat", frames[:-1])) == []
    assert named(run("chat", frames)) == [("a", '{"x":1}', None), ("b", "{}", None)]
    heard = read_chat(run("chat", frames, {"a"}).out)
    assert (heard.calls, heard.finish, heard.text) == ([("b", "{}")], "tool_calls", "\n[no a]")


def test_those_behind_a_refused_call_move_up() -> None:
    """The index is the place in the list: its digits are all that changes of a permitted call."""
    frames = chat([call("a", "{}"), call("b", '{"x":', "1.50}"), call("a", "{}"), call("c", "{}")])
    out = run("chat", frames, {"a"}).out
    assert read_chat(out).calls == [("b", '{"x":1.50}'), ("c", "{}")]
    for one in (*frames[3:6], *frames[8:10]):
        moved = one.replace(b'"tool_calls":[{"index":1', b'"tool_calls":[{"index":0')
        moved = moved.replace(b'"tool_calls":[{"index":3', b'"tool_calls":[{"index":1')
        assert moved in out


def test_several_fragments_in_one_chunk() -> None:
    """A chunk with the fragments of two calls goes when both are ruled, without the refused one."""
    both = {
        "tool_calls": [*fragment(0, "{}", name="a")["tool_calls"], *fragment(1, "{}", name="b")["tool_calls"]]
    }
    frames = [chunk({"role": "assistant", "content": None, **both}), chunk({}, "tool_calls")]
    assert run("chat", frames).out == b"".join(frames)
    [first, _] = events(run("chat", frames, {"a"}).out)
    delta = first["choices"][0]["delta"]
    assert delta["role"] == "assistant"
    assert delta["content"] == "\n[no a]"
    assert [(one["index"], one["function"]["name"]) for one in delta["tool_calls"]] == [(0, "b")]
    [first, last] = events(run("chat", frames, {"a", "b"}).out)
    assert "tool_calls" not in first["choices"][0]["delta"]
    assert first["choices"][0]["delta"]["content"] == "\n[no a]\n[no b]"
    assert last["choices"][0]["finish_reason"] == "stop"


def test_the_finish_reason_and_the_usage_keep_their_order() -> None:
    """What follows a call comes behind it, and only a reason that is not true any more changes."""
    frames = [*chat([call("a", "{}")]), *chat_end()]
    kinds = events(run("chat", frames, {"a"}).out)
    assert kinds[-2]["choices"][0]["finish_reason"] == "stop"
    assert kinds[-1]["usage"]
    assert run("chat", frames, {"a"}).out.endswith(DONE)
    cut = [*frames[:-3], chunk({}, "length"), *chat_end()]
    assert events(run("chat", cut, {"a"}).out)[-2]["choices"][0]["finish_reason"] == "length"


def test_a_finish_reason_in_the_last_fragment() -> None:
    """Some backends say both in one chunk."""
    last = chunk(fragment(0, "{}", name="a"), "tool_calls")
    assert run("chat", [last]).out == last
    [only] = events(run("chat", [last], {"a"}).out)
    assert only["choices"][0]["finish_reason"] == "stop"
    assert only["choices"][0]["delta"] == {"content": "\n[no a]"}


def test_without_ids() -> None:
    """Fragments belong together by their index; ids are not needed."""
    frames = [chunk(fragment(0, "{", name="a")), chunk(fragment(0, "}")), chunk({}, "tool_calls")]
    assert named(run("chat", frames)) == [("a", "{}", None)]


def test_another_id_under_the_same_index_is_another_call() -> None:
    """Some backends number every call 0; each is judged by itself."""
    frames = [
        chunk(fragment(0, "{}", name="a", id="x")),
        chunk(fragment(0, '{"y":1}', name="b", id="y")),
        chunk({}, "tool_calls"),
    ]
    assert named(run("chat", frames)) == [("a", "{}", None), ("b", '{"y":1}', None)]
    out = run("chat", frames, {"a"}).out
    assert b'"b"' in out
    assert b'"a"' not in out


def test_legacy_function_calls() -> None:
    """`function_call` is held, judged and taken out like a call."""
    frames = [
        chunk({"role": "assistant", "content": None, "function_call": {"name": "a", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk({}, "function_call"),
    ]
    ran = run("chat", frames)
    assert named(ran) == [("a", "{}", None)]
    assert ran.calls[0].place == "/choices/0/message/function_call"
    assert ran.out == b"".join(frames)
    first, last = events(run("chat", frames, {"a"}).out)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "\n[no a]"}
    assert last["choices"][0]["finish_reason"] == "stop"


def test_custom_tools() -> None:
    """A custom tool's input is text."""
    entry = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sql", "input": "select {"}}
    frames = [chunk({"tool_calls": [entry]}), chunk({}, "tool_calls")]
    assert named(run("chat", frames)) == [("sql", "select {", None)]
    mixed = {**entry, "function": {"name": "b", "arguments": "{}"}}
    assert run("chat", [chunk({"tool_calls": [mixed]})]).fault == Fault.UNREADABLE


def test_no_calls_in_spite_of_the_word() -> None:
    """Frames that only mention tool calls go at once, as they came."""
    frames = [chunk({"content": "x", "tool_calls": []}), chunk({"content": "tool_calls", "tool_calls": None})]
    frames += [b": tool_calls\n\n", frame({"error": {"message": "tool_calls"}})]
    ran = run("chat", frames)
    assert ran.steps[: len(frames)] == frames
    assert ran.calls == []


def test_text_overtakes_a_call_that_is_not_complete() -> None:
    """Another choice goes on speaking while a call is held."""
    frames = [chunk(fragment(0, "{", name="a")), chunk({"content": "hi"}, choice=1), b": ping\n\n"]
    ran = run("chat", frames)
    assert ran.out == frames[1] + frames[2]


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": "x"},
        {"tool_calls": [1]},
        {"tool_calls": [{"index": -1}]},
        {"tool_calls": [{"index": True}]},
        {"tool_calls": [{"index": "0"}]},
        {"tool_calls": [{"index": 0, "function": []}]},
        {"function_call": "x"},
    ],
)
def test_what_is_no_call_of_this_api_ends_the_answer(delta: Any) -> None:
    """A frame that says it holds calls and cannot be read is never passed on."""
    ran = run("chat", [chunk({"content": "before"}), chunk(delta), chunk({"content": "after"})])
    assert ran.fault == Fault.UNREADABLE
    assert ran.out == chunk({"content": "before"})


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[{"delta":{"tool_calls":[',
        b'{"choices":[{"delta":{"tool_calls":[]},"delta":{}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":"a","name":"b"}}]}}]}',
        '{"choices":[{"delta":{"tool_calls":[]}}]}'.encode("utf-16"),
        b'["tool_calls"]',
        b'{"choices":{"tool_calls":1}}',
    ],
)
def test_what_two_readers_could_read_differently_ends_the_answer(data: bytes) -> None:
    """Broken JSON, keys that stand there twice, other encodings: nothing of it goes on."""
    ran = run("chat", [b"data: " + data + b"\n\n"])
    assert ran.fault == Fault.UNREADABLE
    assert ran.out == b""


def test_nothing_may_be_added_to_a_judged_call() -> None:
    """A fragment behind the end of its call ends the answer; one that says nothing does not."""
    frames = chat([call("a", '{"x":1}'), call("b", "{}")])
    late = run("chat", [*frames[:4], chunk(fragment(0, ', "y": 2'))])
    assert late.fault == Fault.LATE_FRAGMENT
    assert late.out == b"".join(frames[:3])
    assert run("chat", [*frames[:-1], chunk(fragment(0, "")), frames[-1]]).fault is None


def test_calls_at_fault() -> None:
    """What a model wrote wrong is known by its fault, and refused alone."""
    frames = chat([call("a", "{"), call("b", "{}"), call("a", '{"x":1,"x":2}')])
    ran = run("chat", frames)
    assert sorted(named(ran)) == [
        ("a", "{", Fault.NOT_JSON),
        ("a", '{"x":1,"x":2}', Fault.AMBIGUOUS),
        ("b", "{}", None),
    ]
    assert read_chat(ran.out).calls == [("b", "{}")]


def test_without_a_finish_reason_the_end_mark_completes() -> None:
    """`[DONE]` ends every call; a stream that only breaks off ends none, and nothing of it goes on."""
    frames = chat([call("a", "{}")])[:-1]
    assert run("chat", [*frames, DONE]).out == b"".join([*frames, DONE])
    cut = run("chat", frames)
    assert cut.calls == []
    assert cut.out == frames[0]
    assert run("chat", [*frames, DONE.rstrip()]).out == b"".join([*frames, DONE.rstrip()])


def test_a_whole_body() -> None:
    """Calls of a whole answer are taken out of their list and explained behind the text."""
    calls = [
        {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": '{"x": 1.50}'}}
        for at, name in enumerate("ab")
    ]
    data = body({"role": "assistant", "content": "Look.", "tool_calls": calls})
    found, untouched = whole(data)
    assert [(one.name, one.arguments) for one in found] == [("a", '{"x": 1.50}'), ("b", '{"x": 1.50}')]
    assert untouched == orjson.loads(data)
    _, left = whole(data, ("a",))
    assert left["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Look.\n\n[no a]",
        "tool_calls": [calls[1]],
    }
    assert left["choices"][0]["finish_reason"] == "tool_calls"
    assert left["usage"] == {"total_tokens": 3}
    _, none = whole(data, ("a", "b"))
    assert "tool_calls" not in none["choices"][0]["message"]
    assert none["choices"][0]["finish_reason"] == "stop"


def test_a_whole_body_in_other_shapes() -> None:
    """Without text, with a list of parts, with the older call, and in several choices."""
    older = {"role": "assistant", "content": None, "function_call": {"name": "a", "arguments": "{}"}}
    parts = {"role": "assistant", "content": [{"type": "text", "text": "x"}], **older}
    parts["content"] = [{"type": "text", "text": "x"}]
    _, left = whole(body(older, parts, {"content": "plain"}), ("a",))
    assert left["choices"][0]["message"] == {"role": "assistant", "content": "[no a]"}
    assert left["choices"][1]["message"]["content"][1] == {"type": "text", "text": "[no a]"}
    assert left["choices"][2]["message"] == {"content": "plain"}


def test_a_whole_body_that_cannot_be_read() -> None:
    """A body with a twin key, or none of JSON, raises."""
    for data in (b"{", b"[]", b'{"choices":[],"choices":[]}', b'{"choices":[{"message":{"tool_calls":{}}}]}'):
        with pytest.raises(UnreadableError):
            ChatGrammar().read_body(data)
