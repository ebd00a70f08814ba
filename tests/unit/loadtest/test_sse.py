"""Streams: the first token is the first content, whatever way the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import sse
from loadtest.sse import Stream, StreamError

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = b": keep-alive\n\n" + ROLE + WORD * 3 + USAGE + DONE


def fed(*pieces: bytes) -> Stream:
    """A stream whose pieces came at 0, 1, 2 ..."""
    stream = Stream()
    for at, piece in enumerate(pieces):
        stream.feed(piece, float(at))
    return stream


def test_a_role_is_no_token() -> None:
    """The first token is the first content that is not empty."""
    stream = fed(ROLE, b": ping\n\n", WORD, WORD)
    assert (stream.first_s, stream.with_content, stream.chunks, stream.ended) == (2.0, 2, 3, False)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20), st.booleans())
def test_any_cut_reads_the_same(cuts: list[int], crlf: bool) -> None:
    """Events that arrive in pieces, with either line end, are the same events."""
    text = WHOLE.replace(b"\n", b"\r\n") if crlf else WHOLE
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    stream = fed(*(text[low:high] for low, high in pairwise(places)))
    found = (stream.ended, stream.chunks, stream.input_tokens, stream.tokens, stream.error)
    assert found == (True, 5, 12, 3, "")


def test_tokens_are_the_backends_own_count() -> None:
    """Usage is believed; without it chunks with content are counted."""
    assert fed(WORD, WORD, USAGE).tokens == 3
    assert fed(WORD, WORD).tokens == 2


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n',
        b'data: {"choices":[{"text":"Hi"}]}\n\n',
        b'event: x\ndata: {"choices":[{"delta":{"content":"Hi"}}]}\n\n',
    ],
)
def test_other_kinds_of_content(event: bytes) -> None:
    """A tool call, a completion's text and a named event are content too."""
    assert fed(event).first_s == 0.0


def test_an_error_in_the_stream_is_kept() -> None:
    """Its code says why the answer is none."""
    assert fed(WORD, b'data: {"error":{"code":503,"message":"gone"}}\n\n').error == "503"


@pytest.mark.parametrize("piece", [b"data: {no\n\n", b"data: [1]\n\n"])
def test_what_is_no_stream_is_an_error(piece: bytes) -> None:
    """It is said, and not counted as a token."""
    with pytest.raises(StreamError):
        fed(piece)


def test_an_event_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server cannot fill the generator's memory with one event."""
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 100)
    with pytest.raises(StreamError, match="over 100 bytes"):
        fed(b"data: " + b"x" * 200)


@pytest.mark.parametrize("value", [b"null", b"true", b"-1", b'"3"'])
def test_a_count_that_is_none_is_not_believed(value: bytes) -> None:
    """Usage that is no number leaves the count of chunks."""
    assert fed(WORD, b'data: {"choices":[],"usage":{"completion_tokens":' + value + b"}}\n\n").tokens == 1
