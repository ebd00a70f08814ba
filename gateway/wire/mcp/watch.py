"""Reads the answer to one request as it goes by: has the response come, and what does it say of the call.

It only looks. A stream is whole when the response with the request's id has come, whatever the transport
says; a JSON body when it reads as that response. What is too large to read is for the transport to judge.
"""

from __future__ import annotations

from typing import Final

import orjson

from gateway.kernel.bounds import MCP_EVENT_BYTES_MAX
from gateway.kernel.types import JSON, JSONObject
from gateway.wire.mcp.message import RpcId

INPUT_REQUIRED: Final = "input_required"


class AnswerWatch:
    """Implements `pipeline.ports.Watch`. It is fed by the answer itself, event by event, not by the relay."""

    __slots__ = ("_held", "_held_bytes", "_rpc_id", "_unread", "content_seen", "events", "response", "usage")

    def __init__(self, rpc_id: RpcId) -> None:
        self._rpc_id = rpc_id
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._unread = False
        self.response: JSONObject | None = None
        """The response, once it has come."""
        self.events = 0
        self.content_seen = False
        self.usage: JSONObject | None = None

    def feed(self, chunk: bytes) -> None:
        """What is relayed has been looked at before."""

    def event(self, data: bytes) -> bool:
        """Look at the data of an event; tell whether it is the response."""
        self.events += 1
        if self.response is None:
            self._read(data)
        return self.response is not None

    def piece(self, chunk: bytes) -> None:
        """Look at a piece of a JSON body."""
        self._held_bytes += len(chunk)
        if self._held_bytes > MCP_EVENT_BYTES_MAX:
            self._unread = True
            self._held.clear()
        else:
            self._held.append(chunk)

    @property
    def done(self) -> bool:
        """The response has come."""
        if self._held:
            self._read(b"".join(self._held))
            self._held.clear()
        return self.response is not None or self._unread

    @property
    def error_seen(self) -> bool:
        """The response is an error: the call was not carried out as asked."""
        return self.done and self.response is not None and "error" in self.response

    @property
    def findings(self) -> JSONObject | None:
        """What an outcome says of the answer beside its fate; to be asked for when it has ended."""
        response = self.response if self.done else None
        if response is None:
            return {"unread": True} if self._unread else None
        error = response.get("error")
        if isinstance(error, dict):
            code = error.get("code")
            return {"rpc_error": code if type(code) is int and abs(code) < 1 << 31 else 0}
        result = response.get("result")
        if not isinstance(result, dict):
            return None
        if result.get("resultType") == INPUT_REQUIRED:
            return {"input_required": True}
        return {"tool_error": True} if result.get("isError") is True else None

    @property
    def asks_input(self) -> bool:
        """The server asks the client for more, and the call goes on in another request."""
        return self.findings == {"input_required": True}

    def _read(self, data: bytes) -> None:
        try:
            value: JSON = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        if is_response(value, self._rpc_id):
            self.response = value


def is_response(value: JSON, rpc_id: RpcId) -> bool:
    """Tell whether a message is the response to the request of this id: 1 is not "1"."""
    return (
        isinstance(value, dict)
        and "method" not in value
        and ("result" in value or "error" in value)
        and type(value.get("id")) is type(rpc_id)
        and value["id"] == rpc_id
    )
