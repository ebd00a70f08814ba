"""Streams of responses and messages watched as they go by."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.watches import MessageWatch, ResponseWatch, read_token_usage, read_token_usage_of_body
from tests.kit.toolstreams import call, cut, frame, message, response, text

SAID = [text("Hi ", "you"), call("a", "{}")]
WATCHES = {"response": ResponseWatch, "message": MessageWatch}
STREAMS = {"response": response(SAID), "message": message(SAID)}


def findings(api: str, chunks: list[bytes]) -> tuple[object, ...]:
    """What a watch has found after these chunks."""
    watch = WATCHES[api]()
    for piece in chunks:
        watch.feed(piece)
    return watch.done, watch.content_seen, watch.error_seen, watch.usage, watch.events


@pytest.mark.parametrize("api", WATCHES)
def test_a_whole_stream(api: str) -> None:
    """The end, the counts and the content are found; before the last event it is not whole."""
    usage = {"prompt_tokens": 3, "completion_tokens": 9}
    assert findings(api, STREAMS[api]) == (True, True, False, usage, len(STREAMS[api]))
    assert findings(api, STREAMS[api][:-1])[0] is False
    assert findings(api, STREAMS[api][:2])[1] is False, "nothing has been said yet"


@pytest.mark.parametrize("api", WATCHES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(places=st.lists(st.integers(0, 9999), max_size=9))
def test_no_cut_changes_what_is_found(api: str, places: list[int]) -> None:
    """The findings depend on the bytes and not on the chunks."""
    stream = b"".join(STREAMS[api])
    assert findings(api, cut(stream, places)) == findings(api, [stream])


def test_endings_of_other_kinds() -> None:
    """An incomplete response is whole; one that failed, or an error event, is not."""
    incomplete = frame({"type": "response.incomplete", "response": {"usage": {"output_tokens": 4}}})
    assert findings("response", [incomplete])[:4] == (True, False, False, {"completion_tokens": 4})
    for kind in ("response.failed", "error"):
        body = {"type": kind, "response": {}, "error": {"message": "no"}}
        assert findings("response", [frame(body)])[:3] == (False, False, True)
    assert findings("message", [frame({"type": "error", "error": {}})])[:3] == (False, False, True)


def test_what_is_said_about_an_end_is_none() -> None:
    """Text that names the end mark, comments and what is no JSON change nothing."""
    for api, word in (("response", "response.completed"), ("message", "message_stop")):
        odd = [
            frame({"type": "x", "delta": word}),
            b": " + word.encode() + b"\n\n",
            b"data: {" + word.encode(),
        ]
        assert findings(api, [*odd, b"\n\ndata: [1]\n\n"])[:3] == (False, False, False)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": "3"}, None),
        ({"input_tokens": 3, "output_tokens": 4}, {"prompt_tokens": 3, "completion_tokens": 4}),
        (
            {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 2}},
            {"prompt_tokens": 3, "cached_tokens": 2},
        ),
        (
            {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7},
            {"prompt_tokens": 15, "cached_tokens": 5},
        ),
        ({"output_tokens": 4, "cache_read_input_tokens": 5}, {"completion_tokens": 4}),
    ],
)
def test_counts(usage: object, counts: object) -> None:
    """Anthropic counts cached input apart, OpenAI within: ours hold both."""
    assert read_token_usage(usage) == counts
    assert read_token_usage_of_body(orjson.dumps({"usage": usage})) == (counts, True)


def test_bodies_that_are_none() -> None:
    """What is no JSON has no counts and no end."""
    assert read_token_usage_of_body(b"{") == (None, False)
    assert read_token_usage_of_body(b"[]") == (None, True)
