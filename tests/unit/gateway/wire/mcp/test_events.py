"""Streams of events: cut anywhere the same events, unchanged ones byte for byte, bounded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.errors import UpstreamBrokenError
from gateway.wire.mcp.events import Event, EventSplitter, message_event, with_data

STREAM = (
    b": ping\n\n"
    b"id: 0\nretry: 100\ndata:\n\n"
    b'event: message\r\ndata: {"a":\r\ndata: 1}\r\nid: 7\r\n\r\n'
    b'data:{"b":2}\r\r'
    b"\xef\xbb\xbf\n\n\n"
    b'event: message\ndata: {"c":"\xc3\xbc"}\n\n'
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes at some places."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)] or [b""]


def run(chunks: list[bytes]) -> tuple[list[tuple[bytes | None, bool]], bytes]:
    """Feed chunks; return what the events say, and all bytes that came out or are still held."""
    splitter = EventSplitter(10_000)
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    said = [(event.data, event.identified) for event in events if not event.tail]
    return said, b"".join(event.raw for event in events) + splitter.rest()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_split_gives_the_same_events_and_the_same_bytes(cuts: list[int]) -> None:
    """Ends of lines of three kinds, characters of several bytes and comments among them."""
    said, came = run(split(STREAM, cuts))
    assert came == STREAM
    assert said == run([STREAM])[0]
    assert [data for data, _ in said if data] == [b'{"a":\n1}', b'{"b":2}', '{"c":"ü"}'.encode()]
    assert [identified for _, identified in said][:3] == [False, True, True]


@given(
    st.lists(
        st.tuples(st.sampled_from(["data", "id", "event", "", "other"]), st.text("ab: ", max_size=5), ENDS)
    ),
    st.lists(st.integers(0, 400), max_size=8),
)
@settings(derandomize=True, max_examples=200, deadline=None)
def test_any_lines_split_anyhow(lines: list[tuple[str, str, str]], cuts: list[int]) -> None:
    """Whatever the stream is, where it is cut does not matter."""
    data = "".join(f"{name}:{text}{end}{end if text == '' else ''}" for name, text, end in lines).encode()
    assert run(split(data, cuts)) == run([data])


def test_a_tail_goes_where_its_event_went() -> None:
    """The LF of a CR LF that was cut apart is told as such: a changed event does not leave it behind."""
    splitter = EventSplitter(100)
    first = [*splitter.feed(b"data: 1\r\n\r")]
    assert [event.data for event in first] == [b"1"]
    second = [*splitter.feed(b"\ndata: 2\n\n")]
    assert second[0] == Event(b"\n", None, tail=True)
    assert second[1].data == b"2"


def test_an_event_over_the_bound_breaks_the_stream_off() -> None:
    """It cannot be judged; several small ones are no large one."""
    splitter = EventSplitter(50)
    for _ in range(10):
        assert len([*splitter.feed(b"data: 1234567890\n\n")]) == 1
    with pytest.raises(UpstreamBrokenError, match="over 50 bytes"):
        list(splitter.feed(b"data: " + b"x" * 50))


def test_other_data_under_the_same_id() -> None:
    """Name, id and comments stay; the data stands on one line."""
    [event] = EventSplitter(1000).feed(b": c\r\nevent: message\r\nid: 7\r\ndata: {\r\ndata: }\r\n\r\n")
    assert with_data(event, b"{}") == b": c\nevent: message\nid: 7\ndata: {}\n\n"


def test_a_message_as_an_event() -> None:
    """It is read back as what was written."""
    [event] = EventSplitter(1000).feed(message_event(b'{"a":1}'))
    assert event.data == b'{"a":1}'
    assert event.raw.startswith(b"event: message\n")
