"""The caller of one call: results, errors and endings in the message that it awaits."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.kernel.errors import StoreUnavailableError, UpstreamTimeoutError
from gateway.proxy.mcp.reply import AnsweredError, CallClient
from gateway.wire.mcp.revision import Era
from tests.kit.fakeclient import FakeClient


class Broken(FakeClient):
    """Notes heads and ends."""

    last: Any = "none"

    async def send_head(self, status: int, headers: Any, *, length: Any, flush: bool) -> None:
        self.status, self.sent_headers = status, dict(headers)

    async def send_chunk(self, data: bytes) -> None:
        self.answered += data

    async def send_end(self) -> None:
        self.answered += b"."

    def break_off(self, last_event: bytes | None) -> None:
        self.last = last_event


def caller(era: Era = Era.STATELESS, *, resumable: bool = False) -> tuple[CallClient, Broken]:
    """A caller and what it is told."""
    client = Broken()
    return CallClient(client, b"body", "a", era, lambda: resumable), client  # type: ignore[arg-type]


async def test_the_body_has_been_read() -> None:
    """It is handed on as it came."""
    one, client = caller()
    assert await one.read() == b"body"
    assert one.connected is client.connected


async def test_a_result_is_a_result() -> None:
    """With status 200, under the id as it was written."""
    one, client = caller()
    await one.send_error(AnsweredError({"isError": True}), headers=[("x-request-id", "r")])
    assert (client.status, client.sent_headers) == (200, {"x-request-id": "r"})
    assert orjson.loads(client.answered) == {"jsonrpc": "2.0", "id": "a", "result": {"isError": True}}


@pytest.mark.parametrize(("era", "status"), [(Era.STATELESS, 504), (Era.SESSIONS, 200)])
async def test_an_error_is_json_rpc(era: Era, status: int) -> None:
    """With the decision in its data, and honest headers."""
    one, client = caller(era)
    one.decision_id = "D"
    await one.send_error(UpstreamTimeoutError("too slow"), headers=[])
    assert client.status == status
    assert client.sent_headers["x-should-retry"] == "false"
    error = orjson.loads(client.answered)["error"]
    assert (error["code"], error["data"]["decision_id"]) == (504, "D")
    await one.send_error(StoreUnavailableError("x", retry_after_s=2), headers=[])
    assert client.sent_headers["retry-after"] == "2"


async def test_a_whole_answer_passes() -> None:
    """Head, pieces, end."""
    one, client = caller()
    await one.send_head(200, [("content-type", "application/json")], length=1, flush=False)
    await one.send_chunk(b"x")
    await one.send_end()
    assert (client.status, client.answered) == (200, b"x.")


@pytest.mark.parametrize(
    ("media", "resumable", "ending"),
    [
        ("application/json", False, None),
        ("application/json", True, None),
        ("text/event-stream; charset=utf-8", False, b'"id":"a"'),
        ("text/event-stream", True, b": the stream ends here"),
    ],
)
async def test_an_answer_that_breaks_off(media: str, resumable: bool, ending: bytes | None) -> None:
    """JSON by a reset, a stream by the error that is awaited, or by its end where it may be gone on with."""
    one, client = caller(resumable=resumable)
    await one.send_head(200, [("Content-Type", media)], length=None, flush=True)
    one.break_off(b"data: {}\n\n")
    assert client.last is None if ending is None else ending in client.last
    if ending is not None:
        assert client.last.endswith(b"\n\n")
