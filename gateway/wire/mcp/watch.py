"""Watches the answer to one request go by: has the response come, and what does it say of the call.

The bytes are relayed as they came; this only looks. A stream is whole when the response with the request's id
has come, whatever the transport says; a JSON body when it reads as that response.
"""

from __future__ import annotations

from typing import Final

import orjson

from gateway.kernel.bounds import MCP_EVENT_BYTES_MAX
from gateway.kernel.errors import UpstreamBrokenError
from gateway.kernel.types import JSON, JSONObject
from gateway.wire.mcp.events import EventSplitter
from gateway.wire.mcp.message import RpcId

INPUT_REQUIRED: Final = "input_required"


class AnswerWatch:
    """Implements `pipeline.ports.Watch` for the answer to one request."""

    __slots__ = (
        "_held",
        "_held_bytes",
        "_rpc_id",
        "_splitter",
        "_unread",
        "content_seen",
        "error_seen",
        "events",
        "response",
        "usage",
    )

    def __init__(self, rpc_id: RpcId, *, event_stream: bool) -> None:
        self._rpc_id = rpc_id
        self._splitter = EventSplitter(MCP_EVENT_BYTES_MAX) if event_stream else None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._unread = False
        self.response: JSONObject | None = None
        """The response, once it has come."""
        self.events = 0
        self.content_seen = False
        self.error_seen = False
        """The response is an error: the call was not carried out as asked."""
        self.usage: JSONObject | None = None

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes of the answer."""
        if self._unread or self.response is not None:
            return
        if self._splitter is None:
            self._hold(chunk)
            return
        try:
            for event in self._splitter.feed(chunk):
                if event.data:
                    self.events += 1
                    self._read(event.data)
        except UpstreamBrokenError:
            self._give_up()

    @property
    def done(self) -> bool:
        """The response has come; of one that is too large to read, the transport has the say."""
        if self._splitter is None and self.response is None and not self._unread:
            self._read(b"".join(self._held))
        return self.response is not None or self._unread

    @property
    def findings(self) -> JSONObject | None:
        """What an outcome says of the answer beside its fate."""
        response = self.response
        if response is None:
            return {"unread": True} if self._unread else None
        error = response.get("error")
        if isinstance(error, dict):
            code = error.get("code")
            return {"rpc_error": code} if type(code) is int and abs(code) < 1 << 31 else {"rpc_error": 0}
        result = response.get("result")
        if not isinstance(result, dict):
            return None
        if result.get("resultType") == INPUT_REQUIRED:
            return {"input_required": True}
        return {"tool_error": True} if result.get("isError") is True else None

    def _hold(self, chunk: bytes) -> None:
        self._held_bytes += len(chunk)
        self._held.append(chunk)
        if self._held_bytes > MCP_EVENT_BYTES_MAX:
            self._give_up()

    def _give_up(self) -> None:
        self._unread = True
        self._held.clear()

    def _read(self, data: bytes) -> None:
        try:
            value: JSON = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        if is_response(value, self._rpc_id):
            self.response = value
            self.error_seen = "error" in value


def is_response(value: JSON, rpc_id: RpcId) -> bool:
    """Tell whether a message is the response to the request of this id: 1 is not "1"."""
    return (
        isinstance(value, dict)
        and "method" not in value
        and ("result" in value or "error" in value)
        and type(value.get("id")) is type(rpc_id)
        and value["id"] == rpc_id
    )
