"""A stream watched as it goes by."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import SSE_LINE_BYTES_MAX
from gateway.wire import sse as module
from gateway.wire.sse import StreamWatch, error_event

CONTENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
ERROR = b'data: {"error":{"message":"no"}}'
DONE = b"data: [DONE]"

lines = st.sampled_from(
    [CONTENT, USAGE, ERROR, DONE, b"", b": comment", b"event: x", b"data:", b"data: {oops", b"data: [1]",
     b"data: 4", b'data:{"choices":[{"text":"t"}]}', b"data:[DONE]", b"data: [DONE] ", b" data: [DONE]",
     b"data", b"id: \xff"],
)  # fmt: skip
ends = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r"])
streams = st.one_of(
    st.lists(st.tuples(lines, ends), max_size=8).map(lambda parts: b"".join(a + b for a, b in parts)),
    st.binary(max_size=60),
)


def findings(*chunks: bytes) -> dict[str, object]:
    """What a watch has found after these chunks."""
    watch = StreamWatch()
    for chunk in chunks:
        watch.feed(chunk)
    named = ("events", "done", "content_seen", "error_seen", "usage")
    return {name: getattr(watch, name) for name in named}


@settings(max_examples=400, derandomize=True, deadline=None)
@given(streams, st.lists(st.integers(0, 200), max_size=10))
@example(CONTENT + b"\r\n" + DONE + b"\r\n", [len(CONTENT) + 1])
@example(b"\r\n\r\n" + DONE + b"\n", [1, 1, 2, 3])
def test_any_cutting_gives_the_same_findings(stream: bytes, cuts: list[int]) -> None:
    """However the bytes are cut, also into empty pieces and single bytes, the findings are the same."""
    at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    whole = findings(stream)
    assert findings(*(stream[start:stop] for start, stop in pairwise(at))) == whole
    assert findings(*(bytes([byte]) for byte in stream)) == whole


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_whole_stream_is_understood(end: bytes) -> None:
    """Content, usage and the end mark are found under each of the three line ends."""
    assert findings(CONTENT + end * 2 + USAGE + end * 2 + DONE + end) == {
        "events": 2,
        "done": True,
        "content_seen": True,
        "error_seen": False,
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }


@pytest.mark.parametrize(
    "stream", [b"", DONE, b"data: [DON\n", b": [DONE]\n", b"data: x [DONE]\n", b"[DONE]\n"]
)
def test_without_its_whole_line_there_is_no_end_mark(stream: bytes) -> None:
    """An end mark is a line of its own that has ended."""
    assert findings(stream)["done"] is False


@pytest.mark.parametrize(
    ("event", "seen"),
    [
        ({"choices": [{"delta": {"content": "x"}}]}, True),
        ({"choices": [{"delta": {"tool_calls": [{}]}}]}, True),
        ({"choices": [{"delta": {"function_call": {"name": "f"}}}]}, True),
        ({"choices": [{"delta": {"reasoning_content": "x"}}]}, True),
        ({"choices": [{"delta": {"reasoning": "x"}}]}, True),
        ({"choices": [{"delta": {"refusal": "x"}}]}, True),
        ({"choices": [{"text": "x"}]}, True),
        ({"choices": [{}, {"text": "x"}]}, True),
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, False),
        ({"choices": [{"delta": "x"}]}, False),
        ({"choices": ["x"]}, False),
        ({"choices": "x"}, False),
        ({}, False),
        ([], False),
    ],
)
def test_content_is_text_reasoning_or_a_tool_call(event: object, *, seen: bool) -> None:
    """The first event that carries something counts, an announcement of a role does not."""
    assert findings(b"data: " + orjson.dumps(event) + b"\n\n")["content_seen"] is seen


def test_an_error_inside_a_stream_is_seen_also_after_content() -> None:
    """An error event is found before and after content; `"error": null` is none."""
    assert findings(ERROR + b"\n")["error_seen"] is True
    assert findings(CONTENT + b"\n" + ERROR + b"\n")["error_seen"] is True
    assert findings(CONTENT + b'\ndata: {"error":null}\n')["error_seen"] is False


def test_the_last_usage_counts() -> None:
    """With usage in every chunk the last one stands, and an event without it takes nothing away."""
    first = b'data: {"usage":{"prompt_tokens":1}}\n'
    assert findings(first + USAGE + b"\n" + CONTENT + b'\ndata: {"usage":null}\n')["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
    }


def test_a_line_over_the_bound_is_passed_over_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless line costs no memory, and what follows it is read again."""
    monkeypatch.setattr(module, "SSE_LINE_BYTES_MAX", 100)
    watch = StreamWatch()
    watch.feed(b'data: {"usage":{"prompt_tokens":1},"x":"')
    for _ in range(1000):
        watch.feed(b"x" * 50)
        assert sum(map(len, watch._held)) <= 100
    watch.feed(b'"}\n' + DONE + b"\n")
    assert (watch.events, watch.usage, watch.done) == (0, None, True)
    assert SSE_LINE_BYTES_MAX >= 64 * 1024


def test_the_error_event_is_one_event_without_an_end_mark() -> None:
    """What ends a broken stream is read as an error by our own watch, and never as its end."""
    event = error_event({"message": "cut\nhere", "type": "server_error"})
    assert findings(event) == findings(b"") | {"events": 1, "error_seen": True}
    assert event.endswith(b"\n\n")
    assert orjson.loads(event.removeprefix(b"data: "))["error"]["message"] == "cut\nhere"
