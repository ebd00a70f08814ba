"""The events of a streamed message add up to the message; errors have Anthropic's envelope."""

import orjson
import pytest

from controller.llmd.sim.answer import Answer, Call
from controller.llmd.sim.anthropic_out import MessageStream, error_object, message_body
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.shapes import Head, Usage

HEAD = Head("msg_1", 1700000000, "m")
USAGE = Usage(10, 5, 2)
TEXT = Answer(("Say", ' "it"\n'), (), "stop", 2)
CUT = Answer(("Say", " it"), (), "length", 2)
CALLS = Answer((), (Call("call_a", "f", ("{", '"a":1', "}")), Call("call_b", "g", ("{}",))), "tool_calls", 6)


def events_of(answer):
    """Return the parsed events of a stream."""
    stream = MessageStream(HEAD, answer, 10)
    raw = b"".join(stream.token(0) for _ in range(answer.tokens)) + stream.finished(0) + stream.end(USAGE)
    events = []
    for block in raw.strip().split(b"\n\n"):
        name, data = block.split(b"\n")
        event = orjson.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        events.append(event)
    return events


def assembled(events):
    """Put a message together as Anthropic's client does."""
    assert events[0]["type"] == "message_start"
    message = events[0]["message"]
    arguments = {}
    for event in events[1:]:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
                arguments[event["index"]] = ""
            case "content_block_delta" if event["delta"]["type"] == "text_delta":
                message["content"][event["index"]]["text"] += event["delta"]["text"]
            case "content_block_delta":
                assert event["delta"]["type"] == "input_json_delta"
                arguments[event["index"]] += event["delta"]["partial_json"]
            case "content_block_stop":
                block = message["content"][event["index"]]
                if block["type"] == "tool_use":
                    block["input"] = orjson.loads(arguments[event["index"]])
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
            case other:
                assert other in {"ping", "message_stop"}
    assert events[-1]["type"] == "message_stop"
    return message


@pytest.mark.parametrize(("answer", "reason"), [(TEXT, "end_turn"), (CUT, "max_tokens"), (CALLS, "tool_use")])
def test_a_stream_adds_up_to_the_message(answer, reason):
    """Text and tool_use blocks, stop reason and usage: the same streamed and whole."""
    whole = message_body(HEAD, answer, USAGE)
    assert assembled(events_of(answer)) == whole
    assert (whole["stop_reason"], whole["type"], whole["role"]) == (reason, "message", "assistant")
    assert (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"]) == (10, 5)


def test_calls_are_tool_use_blocks():
    """Ids of Anthropic's form, the arguments an object; one started and stopped before the next."""
    blocks = message_body(HEAD, CALLS, USAGE)["content"]
    assert blocks == [
        {"type": "tool_use", "id": "toolu_a", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_b", "name": "g", "input": {}},
    ]
    order = [(event["type"][14:], event["index"]) for event in events_of(CALLS) if "index" in event]
    assert [step for step in order if step[0] != "delta"] == [
        ("start", 0),
        ("stop", 0),
        ("start", 1),
        ("stop", 1),
    ]


def test_arguments_that_were_cut_are_an_empty_object():
    """A call in the middle of which max_tokens ended the answer."""
    cut = Answer((), (Call("call_a", "f", ("{", '"a')),), "length", 3)
    body = message_body(HEAD, cut, USAGE)
    assert (body["content"][0]["input"], body["stop_reason"]) == ({}, "max_tokens")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
    ],
)
def test_errors_have_the_envelope(status, kind):
    """By status, in the body and in a stream that breaks."""
    error = ApiError(status, "why")
    expected = {"type": "error", "error": {"type": kind, "message": "why"}}
    assert error_object(error) == expected
    event = MessageStream(HEAD, TEXT, 10).broken(error)
    assert event == b"event: error\ndata: " + orjson.dumps(expected) + b"\n\n"
