"""Tool calls in OpenAI's responses, whole and streamed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.toolcall.call import Fault, Kind, UnreadableError, Verdict
from gateway.wire.toolcall.responses import ResponseGrammar
from tests.kit.toolstreams import (
    DONE,
    call,
    events,
    frame,
    function_item,
    read_response,
    response,
    response_object,
    run,
    text,
)

CALL = call("a", '{"x":', "1}")


def event(kind: str, **facts: Any) -> bytes:
    """One event."""
    return frame({"type": f"response.{kind}", **facts}, f"response.{kind}")


def done(item: dict[str, Any], index: int = 0) -> bytes:
    """An item as it is at its end."""
    return event("output_item.done", output_index=index, item=item)


def completed(*items: dict[str, Any], kind: str = "completed") -> bytes:
    """The last event."""
    return event(kind, response={**response_object([]), "output": list(items)})


def whole(output: list[Any], refuse: tuple[str, ...] = ()) -> tuple[list[Any], Any]:
    """The calls of a whole response, and the response behind the gate."""
    data = orjson.dumps({**response_object([]), "output": output})
    grammar = ResponseGrammar()
    read = grammar.read_body(data)
    ready = grammar.calls.take_ready()
    for one in ready:
        one.verdict = Verdict(one.fault is None and one.name not in refuse, f"[no {one.name}]")
    return ready, orjson.loads(grammar.render_body(data, read))


def test_an_item_is_judged_when_it_is_done() -> None:
    """Text goes at once; a call waits until its item is done, and then goes as it came."""
    frames = response([text("Hi"), CALL])
    ran = run("response", frames)
    assert ran.out == b"".join(frames)
    assert all(ran.steps[at] == frames[at] for at in range(7))
    assert not any(ran.steps[7:12])
    [one] = ran.calls
    assert (one.place, one.call_id, one.name, one.arguments) == ("/output/1", "call_1", "a", '{"x":1}')


def test_a_refused_item_becomes_a_message() -> None:
    """It has the item's place in the events and in the whole response; the other items keep theirs."""
    frames = response([CALL, call("b", "{}")])
    out = run("response", frames, {"a"}).out
    heard = read_response(out)
    assert (heard.text, heard.calls, heard.finish) == ("[no a]", [("b", "{}")], "completed")
    for kept in frames[6:-1]:
        assert kept in out
    numbers = [value["sequence_number"] for value in events(out)]
    assert numbers == sorted(numbers)
    last = events(out)[-1]["response"]
    assert last["output"][0]["content"][0]["text"] == "[no a]"
    assert last["usage"]["total_tokens"] == 12


def test_a_call_that_only_stands_in_the_last_event() -> None:
    """Clients may read the whole response alone, so what stands there alone is judged as well."""
    last = completed(function_item(0, CALL))
    assert [one.name for one in run("response", [last]).calls] == ["a"]
    assert run("response", [last]).out == last
    [only] = events(run("response", [last], {"a"}).out)
    assert only["response"]["output"][0]["type"] == "message"


def test_done_without_deltas() -> None:
    """Arguments may come at once, in any of the events that say them."""
    item = function_item(0, CALL)
    ended = event("function_call_arguments.done", output_index=0, arguments='{"x":1}', name="a")
    for frames in ([done(item)], [ended, done(item)], [ended, completed(item)]):
        [one] = run("response", frames).calls
        assert (one.name, one.arguments, one.fault) == ("a", '{"x":1}', None)


@pytest.mark.parametrize(
    "frames",
    [
        [
            event("output_item.added", output_index=0, item=function_item(0, CALL, "in_progress")),
            event("function_call_arguments.delta", output_index=0, delta='{"x":2}'),
            done(function_item(0, CALL)),
        ],
        [
            event("function_call_arguments.done", output_index=0, arguments='{"x":2}'),
            done(function_item(0, CALL)),
        ],
        [
            event("output_item.added", output_index=0, item=function_item(0, call("b"), "in_progress")),
            done(function_item(0, CALL)),
        ],
    ],
)
def test_sayings_that_disagree_refuse_the_call(frames: list[bytes]) -> None:
    """Clients differ in what they read: a call is only judged where all of it says the same."""
    [one] = run("response", frames).calls
    assert one.fault is Fault.DISAGREES


@pytest.mark.parametrize(
    "last",
    [
        completed(function_item(0, call("a", '{"x":2}'))),
        completed(function_item(0, call("b", '{"x":1}'))),
        completed({**function_item(0, CALL), "call_id": "other"}),
        event("function_call_arguments.delta", output_index=0, delta=" "),
        event("function_call_arguments.done", output_index=0, arguments="{}"),
        event("output_item.done", output_index=0, item={"type": "message"}, x="_call"),
        event("output_item.added", output_index=-1, item=function_item(0, CALL)),
        event("output_item.added", output_index=1, item=["_call"]),
        frame({"type": "response.output_item.done", "item": function_item(1, CALL)}, "response.created"),
        b'data: {"type":"function_call",\n\n',
    ],
)
def test_what_changes_a_judged_call_ends_the_answer(last: bytes) -> None:
    """Nothing may say another thing of a call that has been judged, nor be unreadable."""
    ran = run("response", [done(function_item(0, CALL)), last])
    assert ran.fault is not None
    assert ran.out == done(function_item(0, CALL))


def test_items_of_the_server_pass() -> None:
    """What the server runs has been run when we hear of it."""
    item = {"id": "ws", "type": "web_search_call", "status": "completed"}
    frames = [
        event("output_item.added", output_index=0, item=item),
        event("web_search_call.searching", output_index=0),
        event("mcp_call_arguments.delta", output_index=1, delta="{}"),
        completed(item),
    ]
    ran = run("response", frames)
    assert (ran.calls, ran.out) == ([], b"".join(frames))


def test_the_apis_own_tools_are_calls() -> None:
    """A click or a shell command is run by the client: it is judged under the item's type."""
    item = {"id": "cu", "type": "computer_call", "call_id": "c", "status": "in_progress", "action": {"x": 1}}
    frames = [
        event("output_item.added", output_index=0, item=item),
        event("computer_call.odd", output_index=0),
        done({**item, "status": "completed"}),
        completed({**item, "status": "completed"}),
    ]
    ran = run("response", frames)
    assert ran.out == b"".join(frames)
    [one] = ran.calls
    assert (one.kind, one.name, one.fault) == (Kind.BUILT_IN, "computer_call", None)
    assert orjson.loads(one.arguments)["action"] == {"x": 1}
    assert read_response(run("response", frames, {"computer_call"}).out).calls == []


def test_custom_tools() -> None:
    """A custom tool's input is text, and its deltas are its input."""
    item = {"id": "ct", "type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "select {"}
    frames = [
        event("output_item.added", output_index=0, item={**item, "input": ""}),
        event("custom_tool_call_input.delta", output_index=0, delta="select {"),
        event("custom_tool_call_input.done", output_index=0, input="select {"),
        done(item),
    ]
    [one] = run("response", frames).calls
    assert (one.kind, one.name, one.arguments, one.fault) == (Kind.CUSTOM, "sql", "select {", None)


def test_items_behind_a_held_one_wait() -> None:
    """Clients append items as they are added; what began before the call goes on."""
    opening = event("output_item.added", output_index=2, item={"type": "message"})
    earlier = event("output_text.delta", output_index=0, delta="x")
    frames = [
        event("output_item.added", output_index=1, item=function_item(1, CALL, "in_progress")),
        opening,
        earlier,
        event("odd"),
    ]
    assert run("response", frames).out == earlier


@pytest.mark.parametrize("last", [completed(kind="incomplete"), DONE, completed()])
def test_the_end_completes(last: bytes) -> None:
    """A call whose item was never done ends with the response."""
    opening = event("output_item.added", output_index=0, item=function_item(0, CALL, "in_progress"))
    piece = event("function_call_arguments.delta", output_index=0, delta="{}")
    ran = run("response", [opening, piece, last])
    assert [(one.name, one.arguments) for one in ran.calls] == [("a", "{}")]
    assert ran.out == opening + piece + last


def test_a_whole_response() -> None:
    """Refused items become messages in their place."""
    output = [function_item(0, CALL), function_item(1, call("b", "{")), {"type": "mcp_call", "name": "a"}]
    found, left = whole(output)
    assert [(one.name, one.fault) for one in found] == [("a", None), ("b", Fault.NOT_JSON)]
    assert left["output"][0] == output[0]
    assert left["output"][1]["content"][0]["text"] == "[no b]"
    assert left["output"][2] == output[2]
    _, left = whole(output, ("a",))
    assert [item["type"] for item in left["output"]] == ["message", "message", "mcp_call"]
    assert left["id"] == "resp"
    with pytest.raises(UnreadableError):
        ResponseGrammar().read_body(b'{"output":[{"type":"function_call","type":"message"}]}')
