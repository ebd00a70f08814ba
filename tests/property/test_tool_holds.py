"""Any cutting of the same answer gives the same calls and the same output, in all three APIs."""

from __future__ import annotations

import re
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.frames import split_frames
from gateway.wire.toolcall.hold import may_hold_call
from tests.kit.toolstreams import (
    GRAMMARS,
    MAKERS,
    READERS,
    Said,
    call,
    chat,
    chat_end,
    cut,
    read_chat,
    run,
)

NAMES = ["refund", "lookup", "delete"]
APIS = sorted(MAKERS)
BYTES = st.text(max_size=12) | st.sampled_from(
    ["tool_calls", "data: x\n\n", "é\u2028", "\\u00", "🦉", "\r\n"]
)
VALUES = st.dictionaries(st.text(max_size=6), st.integers(-9, 9) | st.text(max_size=6), max_size=3)


@st.composite
def sayings(draw: st.DrawFn) -> Said:
    """Text, or a call whose arguments are a JSON object, in pieces that may be empty."""
    if draw(st.booleans()):
        return Said(tuple(draw(st.lists(BYTES, max_size=3))))
    whole = orjson.dumps(draw(VALUES)).decode()
    places = draw(st.lists(st.integers(0, len(whole)), max_size=3))
    edges = [0, *sorted(places), len(whole)]
    pieces = tuple(whole[a:b] for a, b in pairwise(edges))
    return Said(pieces, draw(st.sampled_from(NAMES)))


answers = st.lists(sayings(), max_size=4)
cuts = st.lists(st.integers(0, 10_000), max_size=8)
refusals = st.sets(st.sampled_from(NAMES))
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(said=answers, places=cuts, refuse=refusals, end=ends)
def test_any_cut_gives_the_same(api: str, said: list[Said], places: list[int], refuse: set[str], end: bytes):
    """The output and the calls depend on the bytes and the verdicts, never on where the stream was cut."""
    stream = b"".join(MAKERS[api](said)).replace(b"\n", end)
    whole = run(api, [stream], refuse)
    for chunks in (cut(stream, places), [bytes([byte]) for byte in stream]):
        ran = run(api, chunks, refuse)
        assert ran.out == whole.out
        assert [(one.place, one.name, one.arguments) for one in ran.calls] == [
            (one.place, one.name, one.arguments) for one in whole.calls
        ]


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(said=answers, places=cuts, end=ends)
def test_what_is_permitted_is_the_same_bytes(api: str, said: list[Said], places: list[int], end: bytes):
    """Where nothing is refused the client gets every byte of the stream, in its order.

    In a chat completion text behind a call that is not complete comes before it, and every frame is there.
    """
    frames = [frame.replace(b"\n", end) for frame in MAKERS[api](said)]
    stream = b"".join(frames)
    ran = run(api, cut(stream, places))
    overtaken = api == "chat" and any(one.name is None for one in said[1:])
    assert overtaken or ran.out == stream
    assert sorted(split_frames(ran.out)) == sorted(frames)
    assert [(one.name, one.arguments) for one in ran.calls] == [
        (one.name, one.whole) for one in said if one.name
    ]


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(said=answers, places=cuts, refuse=refusals)
def test_a_client_hears_what_was_permitted_and_nothing_else(
    api: str, said: list[Said], places: list[int], refuse: set[str]
):
    """An ordinary client puts together exactly the permitted calls, all the text, and why the others went."""
    stream = b"".join(MAKERS[api](said))
    heard = READERS[api](run(api, cut(stream, places), refuse).out)
    assert heard.calls == [(one.name, one.whole) for one in said if one.name and one.name not in refuse]
    refused = [one for one in said if one.name in refuse]
    for one in refused:
        assert f"[no {one.name}]" in heard.text
    spoken = "".join(one.whole for one in said if one.name is None)
    if not refused:
        assert heard.text == spoken
    left = bool(heard.calls)
    wanted = {"chat": ("tool_calls", "stop"), "message": ("tool_use", "end_turn")}.get(api)
    if wanted is not None:
        assert heard.finish == wanted[not left]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    first=answers, second=answers, places=cuts, refuse=refusals, order=st.lists(st.booleans(), max_size=40)
)
def test_choices_that_run_together(
    first: list[Said], second: list[Said], places: list[int], refuse: set[str], order: list[bool]
):
    """With `n` of 2 the frames of both choices may come in any mixture; each choice stays right."""
    queues = [chat(first, 0), chat(second, 1)]
    mixed = [queues[which].pop(0) for which in [*order, *[False, True] * 60] if queues[which]]
    stream = b"".join([*mixed, *queues[0], *queues[1], *chat_end()])
    ran = run("chat", cut(stream, places), refuse)
    assert ran.out == run("chat", [stream], refuse).out
    for number, said in enumerate((first, second)):
        heard = read_chat(ran.out, number)
        assert heard.calls == [(one.name, one.whole) for one in said if one.name and one.name not in refuse]
        assert heard.finish == ("tool_calls" if heard.calls else "stop")
    if not any(one.name in refuse for one in (*first, *second)):
        assert sorted(ran.out.split(b"\n\n")) == sorted(stream.split(b"\n\n")), "no frame is changed or lost"


STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def escaped(text: str, which: list[bool]) -> str:
    """Spell some characters of a JSON text's strings as escapes."""

    def spell(match: re.Match[str]) -> str:
        if "\\" in match[0]:
            return match[0]
        chars = enumerate(match[0][1:-1])
        spelled = [
            f"\\u{ord(char):04X}" if which[at % len(which)] and ord(char) < 128 else char
            for at, char in chars
        ]
        return '"' + "".join(spelled) + '"'

    return STRING.sub(spell, text)


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(which=st.lists(st.booleans(), min_size=1, max_size=9), name=st.sampled_from(NAMES))
def test_the_search_never_misses_a_call(api: str, which: list[bool], name: str):
    """However the keys and values of a frame are escaped, one that belongs to a call is found."""
    needles = GRAMMARS[api]().needles
    searched = 0
    for frame in MAKERS[api]([call(name, '{"a"', ":1}")]):
        data = frame.partition(b"data: ")[2].strip().decode()
        if data == "[DONE]" or not may_hold_call(frame, needles):
            continue
        searched += 1
        spelled = escaped(data, which)
        assert orjson.loads(spelled) == orjson.loads(data)
        assert may_hold_call(spelled.encode(), needles)
        for wide in ("utf-16", "utf-16-le", "utf-32"):
            assert may_hold_call(spelled.encode(wide), needles)
    assert searched >= 3


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(said=answers, which=st.lists(st.booleans(), min_size=1, max_size=9), refuse=refusals)
def test_escapes_hide_nothing(api: str, said: list[Said], which: list[bool], refuse: set[str]):
    """A backend that escapes letters gets the same calls judged as one that does not."""
    frames = []
    for frame in MAKERS[api](said):
        head, mark, data = frame.partition(b"data: ")
        value = data.strip().decode()
        frames.append(
            head + mark + (value if value == "[DONE]" else escaped(value, which)).encode() + b"\n\n"
        )
    ran = run(api, frames, refuse)
    assert [(one.name, one.arguments) for one in ran.calls] == [
        (one.name, one.whole) for one in said if one.name
    ]
    assert READERS[api](ran.out).calls == [
        (one.name, one.whole) for one in said if one.name and one.name not in refuse
    ]
