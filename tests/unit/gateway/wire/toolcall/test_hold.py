"""Order and bounds of what is held."""

from __future__ import annotations

import pytest

from gateway.kernel.bounds import TOOL_CALLS_MAX
from gateway.wire.toolcall import hold as module
from gateway.wire.toolcall.call import Fault, Verdict
from gateway.wire.toolcall.chat import NEEDLES, ChatGrammar
from gateway.wire.toolcall.hold import CallHold, may_hold_call
from tests.kit.toolstreams import DONE, call, chat, chat_end, chunk, fragment, read_chat, run


def held(bytes_max: int = 1000) -> CallHold:
    """A hold of chat completions."""
    return CallHold(ChatGrammar(), bytes_max=bytes_max)


@pytest.mark.parametrize(
    ("data", "may"),
    [
        (b'{"delta":{"content":"hi \\n \\u4f60"}}', False),
        (b'{"delta":{"tool_calls":1}}', True),
        (b'{"delta":{"tool\\u005fcalls":1}}', True),
        (b'{"delta":{"\\u0066unction_call":1}}', True),
        ('{"tool_calls":1}'.encode("utf-16"), True),
        (b"", False),
    ],
)
def test_the_search(data: bytes, may: bool) -> None:
    """Words and the escapes that could spell them are found; other escapes are not taken for them."""
    assert may_hold_call(data, NEEDLES) is may


def test_what_passes_is_the_very_chunk() -> None:
    """Without a word of a call nothing is parsed, copied or split."""
    gate = held()
    chunk_in = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n' * 3
    assert gate.feed(chunk_in) is chunk_in
    assert not gate.ready
    assert not gate.waits


def test_a_call_waits_for_its_verdict() -> None:
    """Nothing of it comes out before it is ruled, and then all of it; it is asked about once."""
    frames = chat([call("a", "{}")])
    gate = held()
    assert gate.feed(b"".join(frames[1:3])) == b""
    assert gate.waits
    assert not gate.ready
    assert gate.feed(frames[3]) == b""
    assert gate.ready
    assert not gate.waits
    [one] = gate.take_ready()
    assert not gate.ready
    assert gate.rule([(one, Verdict(True))]) == b"".join(frames[1:])


def test_too_many_bytes_refuse_the_call_alone() -> None:
    """Over the bound a call is given up: it is refused, what follows of it is dropped, the rest goes on."""
    endless = [chunk(fragment(0, "", name="a"))] + [chunk(fragment(0, "x" * 100)) for _ in range(20)]
    frames = [*endless, *chat([call("b", "{}")], 1), chunk({}, "tool_calls"), *chat_end()]
    ran = run("chat", frames, held_max=1000)
    assert [(one.name, one.fault) for one in ran.calls] == [("a", Fault.OVERSIZED), ("b", None)]
    assert len(ran.calls[0].arguments) <= 1000
    assert ran.out.count(b"xxx") == 0
    assert read_chat(ran.out).finish == "stop"
    assert read_chat(ran.out, 1).calls == [("b", "{}")]
    assert ran.out.endswith(DONE)
    stream = b"".join(frames)
    assert run("chat", [stream], held_max=1000).out == ran.out


def test_complete_calls_do_not_count() -> None:
    """What only waits for a verdict is not held for bytes to come: many small calls are no large one."""
    frames = chat([call("a", '{"x":"' + "y" * 200 + '"}') for _ in range(9)])
    ran = run("chat", [b"".join(frames)], held_max=1000)
    assert [one.fault for one in ran.calls] == [None] * 9
    assert ran.out == b"".join(frames)


def test_a_call_behind_an_open_one_counts() -> None:
    """A complete call behind one that is not is held for it, and its bytes count."""
    frames = [chunk(fragment(0, "{", name="a"))]
    frames += [chunk(fragment(1, '{"x":"' + "y" * 1000 + '"}', name="b"))]
    frames += [chunk({}, "tool_calls")]
    assert [one.fault for one in run("chat", frames, held_max=900).calls] == [Fault.OVERSIZED] * 2
    assert run("chat", frames, held_max=9000).calls[1].fault is None


def test_too_many_calls_end_the_answer() -> None:
    """More calls than any request has tools: what was complete before is ruled, and then it ends."""
    frames = chat([call("a", "{}") for _ in range(TOOL_CALLS_MAX + 3)])
    ran = run("chat", [b"".join(frames)])
    assert ran.fault == Fault.TOO_MANY
    assert len(ran.calls) == TOOL_CALLS_MAX
    assert run("chat", frames).out == ran.out


def test_an_endless_event_ends_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that does not end cannot be held for ever, however it arrives."""
    monkeypatch.setattr(module, "TOOL_EVENT_BYTES_MAX", 500)
    large = b"data: " + b"x" * 600 + b"\n\n"
    small = b"data: y\n\n"
    for chunks in ([small + large], [small, large], [small, large[:300], large[300:560], large[560:]]):
        ran = run("chat", chunks)
        assert ran.fault == Fault.EVENT_TOO_LARGE
        assert ran.out == small


def test_what_was_held_too_long_is_given_up() -> None:
    """Giving up refuses the open calls only."""
    frames = chat([call("a", "{}"), call("b", "{")])
    gate = held()
    gate.feed(b"".join(frames[1:5]))
    gate.give_up(Fault.HELD_TOO_LONG)
    first, second = gate.take_ready()
    assert (first.fault, second.fault) == (None, Fault.HELD_TOO_LONG)
    out = gate.rule([(first, Verdict(True)), (second, Verdict(False, "[late]"))])
    assert out.startswith(b"".join(frames[1:3]))
    assert read_chat(out).text == "\n[late]"
    assert not gate.waits


def test_nothing_is_read_behind_a_fault() -> None:
    """An answer that could not be read is over: what is fed later does not come out."""
    gate = held()
    assert gate.feed(b'data: {"tool_calls":\n\ndata: {"a":1}\n\n') == b""
    assert gate.fault is Fault.UNREADABLE
    assert gate.feed(b"data: x\n\n") == b""
    assert gate.end() == b""


def test_surrender_gives_everything_back() -> None:
    """A gateway that only watches gives back all that it holds, in its order and as it came."""
    frames = [chunk(fragment(0, "{", name="a")), b'data: {"tool_calls":\n\n', b"data: x\n\n", b"data: y"]
    gate = held()
    assert gate.feed(b"".join(frames)) == b""
    assert gate.surrender() == b"".join(frames)
    gate = held()
    gate.feed(frames[0] + frames[3])
    assert gate.surrender() == frames[0] + frames[3]
    assert gate.surrender() == b""


def test_text_does_not_overtake_what_only_waits_to_be_ruled() -> None:
    """Whether a complete call has been ruled already is a matter of cutting: text keeps behind it."""
    frames = [*chat([call("a", "{}")])[1:], chunk({"content": "behind"}, choice=1)]
    gate = held()
    assert gate.feed(b"".join(frames)) == b""
    [one] = gate.take_ready()
    assert gate.rule([(one, Verdict(True))]) == b"".join(frames)


def test_text_between_a_ruled_and_an_open_call() -> None:
    """Text goes in before what waits for more bytes, and behind what waits for a verdict."""
    first = chat([call("a", "{}")])[1:3]
    second = chunk(fragment(1, "{", name="b"))
    spoken = chunk({"content": "now"}, choice=1)
    gate = held()
    assert gate.feed(b"".join([*first, second, spoken])) == b""
    [one] = gate.take_ready()
    assert gate.rule([(one, Verdict(True))]) == b"".join([*first, spoken])
