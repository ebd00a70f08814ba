"""The stream of a response ends in the response that its events described."""

import orjson
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter, ValidationError

from controller.llmd.sim.answer import Answer, Call
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.responses import ResponseStream, response_body
from controller.llmd.sim.shapes import Head, Usage

EVENT = TypeAdapter(ResponseStreamEvent)
HEAD = Head("resp_1", 1700000000, "m")
USAGE = Usage(10, 5, 2)
TEXT = Answer(("Say", " it"), (), "stop", 2)
CUT = Answer(("Say", " it"), (), "length", 2)
CALLS = Answer((), (Call("call_a", "f", ("{", "}")), Call("call_b", "g", ("{}",))), "tool_calls", 5)


def events_of(answer):
    """Return the parsed events of a stream."""
    stream = ResponseStream(HEAD, answer)
    raw = b"".join(stream.token(0) for _ in range(answer.tokens)) + stream.finished(0) + stream.end(USAGE)
    events = []
    for block in raw.strip().split(b"\n\n"):
        name, data = block.split(b"\n")
        event = orjson.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        events.append(event)
    return events


@pytest.mark.parametrize("answer", [TEXT, CUT, CALLS])
def test_events_are_numbered_and_the_last_holds_the_whole(answer):
    """Created first, each item added and done, the closing event equal to the body without streaming."""
    events = events_of(answer)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["response"] == response_body(HEAD, answer, USAGE)
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == list(range(len(done)))


def test_deltas_add_up():
    """Text and arguments, piece by piece."""
    text = [event["delta"] for event in events_of(TEXT) if event["type"] == "response.output_text.delta"]
    assert "".join(text) == "Say it"
    deltas = [
        event for event in events_of(CALLS) if event["type"] == "response.function_call_arguments.delta"
    ]
    assert [(event["output_index"], event["delta"]) for event in deltas] == [(0, "{"), (0, "}"), (1, "{}")]


def test_a_cut_answer_is_incomplete():
    """The reason is max_output_tokens, and the closing event says incomplete."""
    last = events_of(CUT)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize("answer", [TEXT, CUT, CALLS])
def test_every_event_is_one_that_the_openai_client_knows(answer):
    """Checked strictly against the installed client's own types, and no event is unknown to it."""
    for event in events_of(answer):
        EVENT.validate_python(event)
    Response.model_validate(response_body(HEAD, answer, USAGE), strict=True)
    with pytest.raises(ValidationError):
        EVENT.validate_python({"type": "response.nothing"})


def test_an_error_event_is_one_too():
    """The client's ResponseErrorEvent."""
    stream = ResponseStream(HEAD, TEXT)
    data = stream.broken(ApiError(429, "why")).split(b"data: ")[1]
    event = EVENT.validate_python(orjson.loads(data))
    assert (event.type, event.code, event.message) == ("error", "429", "why")
