"""What an answer says of its call, and when it is whole."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.kernel.bounds import MCP_EVENT_BYTES_MAX
from gateway.wire.mcp.watch import AnswerWatch, is_response


def response(**members: Any) -> bytes:
    """A response to request 1."""
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, **members})


@pytest.mark.parametrize(
    ("body", "error", "findings"),
    [
        (response(result={"content": []}), False, None),
        (response(result={"content": [], "isError": False}), False, None),
        (response(result={"content": [], "isError": True}), False, {"tool_error": True}),
        (response(result={"resultType": "input_required"}), False, {"input_required": True}),
        (response(error={"code": -32602, "message": "no"}), True, {"rpc_error": -32602}),
        (response(error={"code": "x"}), True, {"rpc_error": 0}),
        (response(error={"code": 1 << 40}), True, {"rpc_error": 0}),
        (response(error={"code": True}), True, {"rpc_error": 0}),
        (response(error=None), True, None),
        (response(result=5), False, None),
    ],
)
def test_what_a_response_says(body: bytes, error: bool, findings: object) -> None:
    """The same in a JSON body and in an event."""
    whole, streamed = AnswerWatch(1), AnswerWatch(1)
    for piece in (body[:5], body[5:]):
        whole.piece(piece)
    assert whole.done
    assert streamed.event(body)
    for watch in (whole, streamed):
        assert (watch.done, watch.error_seen, watch.findings) == (True, error, findings)
        assert watch.asks_input is (findings == {"input_required": True})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"jsonrpc":"2.0","id":2,"result":{}}',
        b'{"jsonrpc":"2.0","id":"1","result":{}}',
        b'{"jsonrpc":"2.0","id":true,"result":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}',
        b'{"jsonrpc":"2.0","method":"notifications/progress"}',
        b'{"jsonrpc":"2.0","id":1}',
    ],
)
def test_what_is_no_response_to_it(body: bytes) -> None:
    """Another id, another type of id, a request of the server's own, half a body: the call is not done."""
    whole, streamed = AnswerWatch(1), AnswerWatch(1)
    whole.piece(body)
    assert not streamed.event(body)
    for watch in (whole, streamed):
        assert not watch.done
        assert not watch.error_seen
        assert watch.findings is None


def test_the_first_response_counts() -> None:
    """A second one changes nothing."""
    watch = AnswerWatch(1)
    watch.event(response(result={}))
    watch.event(response(error={"code": 1}))
    assert not watch.error_seen
    assert watch.events == 2


def test_what_is_too_large_to_read_is_left_to_the_transport() -> None:
    """It is held no further, taken as whole, and the outcome says that nobody read it."""
    watch = AnswerWatch(1)
    for _ in range(5):
        watch.piece(b"x" * (MCP_EVENT_BYTES_MAX // 4))
    assert watch.done
    assert watch.findings == {"unread": True}
    assert not watch._held


def test_the_relay_feeds_it_nothing() -> None:
    """What is relayed has been looked at; feeding it again changes nothing."""
    watch = AnswerWatch(1)
    watch.feed(response(result={}))
    assert not watch.done
    assert is_response({"id": 1, "result": None}, 1)
