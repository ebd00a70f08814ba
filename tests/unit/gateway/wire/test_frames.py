"""A stream cut into its events, byte for byte."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.wire.frames import Framer, make_frame, read_event, split_frames, with_data

PIECES = [b"data: x", b"\n", b"\r\n", b"\r", b"\n\n", b": c", b"event: e", b"\xff", b"a"]
streams = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)


def frames_of(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    """The frames of some chunks, and what is left."""
    framer = Framer()
    found: list[bytes] = []
    for chunk in chunks:
        found += split_frames(framer.feed(chunk))
    return found, framer.rest()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(streams, st.lists(st.integers(0, 60), max_size=6))
@example(b"a\r\n\r\nb", [4])
@example(b"\r\r", [])
@example(b"a\n\r\nb\r\rc\n\n\nd", [2, 3])
def test_no_cut_changes_the_frames(stream: bytes, places: list[int]) -> None:
    """The frames and the rest are the same wherever the stream is cut, and together they are the stream."""
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    whole, rest = frames_of([stream])
    assert b"".join(whole) + rest == stream
    assert frames_of([stream[start:end] for start, end in pairwise(edges)]) == (whole, rest)
    assert frames_of([bytes([byte]) for byte in stream]) == (whole, rest)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_frame_ends_with_its_blank_line(end: bytes) -> None:
    """Every spelling of a line end makes the same two frames; a blank line of its own is a frame too."""
    stream = b"data: a" + end + end + b"data: b" + end + b"data: c" + end + end + end + b"x"
    frames, rest = frames_of([stream])
    assert [read_event(frame).data for frame in frames] == [b"a", b"b\nc", b""]
    assert rest == b"x"


def test_whole_frames_are_given_at_once() -> None:
    """A chunk that ends with a blank line is given back as it is; what has begun is held and counted."""
    framer = Framer()
    chunk = b"data: a\n\ndata: b\n\n"
    assert framer.feed(chunk) is chunk
    assert framer.feed(b"data: c") == b""
    assert framer.held_bytes == 7
    assert framer.feed(b"\n") == b""
    assert framer.feed(b"\nd") == b"data: c\n\n"
    assert framer.held_bytes == 1


def test_a_line_feed_on_its_way_is_waited_for() -> None:
    """A CR may be half a line end: the frame goes with the byte behind it."""
    framer = Framer()
    assert framer.feed(b"data: a\r\n\r") == b""
    assert framer.feed(b"\n") == b"data: a\r\n\r\n"
    assert framer.feed(b"data: b\r\r") == b""
    assert framer.feed(b"c") == b"data: b\r\r"


@pytest.mark.parametrize(
    ("frame", "name", "data"),
    [
        (b"data: {}\n\n", "", b"{}"),
        (b"data:{}\n\n", "", b"{}"),
        (b"data:  {}\n\n", "", b" {}"),
        (b"event: a\ndata: 1\ndata: 2\n\n", "a", b"1\n2"),
        (b"\xef\xbb\xbfdata: {}\n\n", "", b"{}"),
        (b" data : {}\n\n", "", b"{}"),
        (b"data\n\n", "", b""),
        (b"database: x\nid: 1\n: data: c\n\n", "", b""),
    ],
)
def test_an_event_is_read_as_any_reader_might(frame: bytes, name: str, data: bytes) -> None:
    """Names and data are found also where white space or a byte order mark stands before them."""
    event = read_event(frame)
    assert (event.name, event.data) == (name, data)


@pytest.mark.parametrize(
    ("frame", "changed"),
    [
        (b"event: a\r\ndata: 1\r\ndata: 2\r\nid: 7\r\n\r\n", b"event: a\r\ndata: {}\r\nid: 7\r\n\r\n"),
        (b": c\ndata: 1", b": c\ndata: {}"),
        (b"data: 1\nretry: 5", b"data: {}\nretry: 5"),
    ],
)
def test_other_lines_stay_when_the_data_changes(frame: bytes, changed: bytes) -> None:
    """Only the data is replaced; names, comments and line ends stay as the backend wrote them."""
    assert with_data(frame, b"{}") == changed


def test_a_frame_is_made() -> None:
    """A frame has its name only where there is one."""
    assert make_frame(b"{}") == b"data: {}\n\n"
    assert make_frame(b"{}", "ping") == b"event: ping\ndata: {}\n\n"
