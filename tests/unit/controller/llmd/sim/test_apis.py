"""Each API has its body and its stream, and they agree."""

import orjson
import pytest

from controller.llmd.sim.answer import COLD, Answer
from controller.llmd.sim.apis import ID_PREFIXES, PREFILLED, GenerateStream, body_of, generate_body, stream_of
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.shapes import Head, Usage
from controller.llmd.sim.text import token_id
from controller.llmd.sim.wire import Generation

HEAD = Head("id-1", 1_700_000_000, "m")
ANSWER = Answer(("Say", " it"), (), "stop", 2, ("Say", " it"))
USAGE = Usage(10, 2, 0)


def generation(api, **changes):
    """Return a request of an API."""
    return Generation(api, "m", ("hi",), "hi", **changes)


@pytest.mark.parametrize("api", ID_PREFIXES)
def test_every_api_has_a_body_and_a_stream(api):
    """The stream hands its tokens out and ends; a cold one ends without any."""
    assert body_of(generation(api), HEAD, [ANSWER], [""], USAGE)
    stream = stream_of(generation(api), HEAD, [ANSWER], [""], 10)
    raw = stream.token(0) + stream.token(0) + stream.finished(0) + stream.end(USAGE)
    assert raw.endswith(b"\n\n")
    cold = stream_of(generation(api), HEAD, [ANSWER], [""], 10)
    raw = cold.finished(0, True) + cold.end(Usage(10, 0, 0))
    assert b"Say" not in raw
    assert b"cache_threshold" in raw or b"max_tokens" in raw or b'"output":[]' in raw
    assert b"why" in stream.broken(ApiError(429, "why"))


@pytest.mark.parametrize(
    ("api", "told"), [("chat", True), ("completion", True), ("generate", True), ("message", False)]
)
def test_a_prefill_server_tells_where_the_cache_is(api, told):
    """In the OpenAI shapes and vLLM's own."""
    body = body_of(generation(api, remote_decode=True), HEAD, [ANSWER], [""], USAGE)
    assert (body.get("kv_transfer_params") == PREFILLED) is told
    assert "kv_transfer_params" not in body_of(generation(api), HEAD, [ANSWER], [""], USAGE)


def test_token_ids_are_streamed_as_they_are_told_whole():
    """The last event has the finish reason; usage when asked for."""
    ids = [token_id("Say"), token_id(" it")]
    whole = generate_body(HEAD, ANSWER)
    assert whole == {
        "request_id": "id-1",
        "choices": [{"index": 0, "token_ids": ids, "finish_reason": "stop"}],
    }
    stream = GenerateStream(HEAD, ANSWER, include_usage=True)
    raw = stream.token(0) + stream.token(0) + stream.finished(0) + stream.end(USAGE)
    events = [orjson.loads(each.removeprefix(b"data: ")) for each in raw.split(b"\n\n")[:3]]
    assert [each for event in events for choice in event["choices"] for each in choice["token_ids"]] == ids
    assert [choice["finish_reason"] for event in events[:2] for choice in event["choices"]] == [None, "stop"]
    assert events[2]["usage"]["total_tokens"] == 12
    assert b"cache_threshold" in stream.finished(0, True)
    assert COLD.tokens == 0
