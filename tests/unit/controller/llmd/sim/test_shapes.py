"""Streamed chunks say what whole bodies say."""

import orjson
import pytest

from controller.llmd.sim.answer import Answer, Call
from controller.llmd.sim.shapes import (
    DONE,
    ChatStream,
    CompletionStream,
    Head,
    Usage,
    chat_body,
    completion_body,
)

HEAD = Head("chatcmpl-1", 1700000000, "m")
USAGE = Usage(10, 5, 2)
TEXT = Answer(("Say", ' "hé', "\n\\", " done"), (), "stop", 4)
CALLS = Answer((), (Call("call_a", "f", ("{", '"x":1', "}")), Call("call_b", "g", ("{}",))), "tool_calls", 6)


def played(stream, answers, usage=USAGE):
    """Return all bytes of a stream."""
    out = b""
    for choice, answer in enumerate(answers):
        out += b"".join(stream.token(choice) for _ in range(answer.tokens)) + stream.finished(choice)
    return out + stream.end(usage)


def parsed(raw):
    """Return the JSON of each event before the end mark."""
    assert raw.endswith(DONE)
    return [
        orjson.loads(event.removeprefix(b"data: "))
        for event in raw.removesuffix(DONE).split(b"\n\n")
        if event
    ]


@pytest.mark.parametrize("include_usage", [True, False])
def test_chat_chunks_add_up_to_the_whole_body(include_usage):
    """Role first, content exact through JSON escapes, one finish reason a choice, usage only when asked."""
    answers = (TEXT, CALLS)
    chunks = parsed(played(ChatStream(HEAD, answers, include_usage=include_usage), answers))
    whole = chat_body(HEAD, answers, USAGE)
    assert all(
        (chunk["id"], chunk["model"], chunk["created"]) == ("chatcmpl-1", "m", 1700000000) for chunk in chunks
    )
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    text = [c["delta"].get("content") or "" for c in choices if c["index"] == 0]
    assert "".join(text) == whole["choices"][0]["message"]["content"] == TEXT.text
    assert choices[0]["delta"]["role"] == "assistant"
    calls = {}
    for choice in choices:
        for delta in choice["delta"].get("tool_calls", ()):
            call = calls.setdefault(delta["index"], {"id": delta.get("id"), "name": "", "arguments": ""})
            call["name"] += delta["function"].get("name", "")
            call["arguments"] += delta["function"]["arguments"]
    expected = [(each["id"], each["function"]) for each in whole["choices"][1]["message"]["tool_calls"]]
    assert [
        (call["id"], {"name": call["name"], "arguments": call["arguments"]}) for call in calls.values()
    ] == expected
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop", "tool_calls"]
    assert [chunk["usage"] for chunk in chunks if chunk.get("usage")] == (
        [USAGE.as_json()] if include_usage else []
    )


def test_completion_chunks_add_up_to_the_whole_body():
    """With the prompt before each choice when it is to be echoed."""
    answers, echoes = (TEXT, TEXT), ("p1 ", "")
    chunks = parsed(played(CompletionStream(HEAD, answers, echoes, include_usage=True), answers))
    whole = completion_body(HEAD, answers, echoes, USAGE)
    for index in range(2):
        text = "".join(
            c["choices"][0]["text"] for c in chunks if c["choices"] and c["choices"][0]["index"] == index
        )
        assert text == whole["choices"][index]["text"] == echoes[index] + TEXT.text
    assert chunks[-1]["usage"] == whole["usage"]
    assert whole["usage"]["total_tokens"] == 15
