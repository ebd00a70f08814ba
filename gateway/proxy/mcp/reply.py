"""The client of one call, as its exchange knows it: refusals as tool results, errors as JSON-RPC.

Implements `pipeline.ports.Client` around the HTTP client: the body has been read already, and whatever the
exchange has to say is said in the message that the caller awaits, under its own id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.kernel.errors import GatewayError, RefusedError, UpstreamBrokenError
from gateway.kernel.types import JSONObject
from gateway.listener.client import HttpClient
from gateway.wire.errors import error_headers
from gateway.wire.mcp.answers import rpc_error, rpc_result, rpc_status
from gateway.wire.mcp.events import message_event
from gateway.wire.mcp.message import RpcId
from gateway.wire.mcp.revision import Era

_RESUME: bytes = b": the stream ends here, and its last id goes on\n\n"


class AnsweredError(RefusedError):
    """A call that is answered without having been carried out: `result` is what its caller gets."""

    def __init__(self, result: JSONObject, *, code: str | None = None) -> None:
        super().__init__("the call was not carried out", code=code)
        self.result = result


class CallClient:
    """Answers one request."""

    __slots__ = ("_body", "_client", "_era", "_resumable", "_rpc_id", "_streams", "decision_id")

    def __init__(
        self,
        client: HttpClient,
        body: bytes,
        rpc_id: RpcId,
        era: Era,
        resumable: Callable[[], bool] = lambda: False,
    ) -> None:
        """`resumable` tells whether a stream that ends without a response may be asked for again."""
        self._client = client
        self._body = body
        self._rpc_id = rpc_id
        self._era = era
        self._resumable = resumable
        self._streams = False
        self.decision_id: str | None = None

    @property
    def connected(self) -> bool:
        """The client's side of the connection is up, as far as we know."""
        return self._client.connected

    async def read(self) -> bytes:
        """Return the body."""
        return self._body

    async def send_head(
        self, status: int, headers: Sequence[tuple[str, str]], *, length: int | None, flush: bool
    ) -> None:
        """Begin the answer; see the port."""
        self._streams = any(
            name.lower() == "content-type" and value.lower().startswith("text/event-stream")
            for name, value in headers
        )
        await self._client.send_head(status, headers, length=length, flush=flush)

    async def send_chunk(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self._client.send_chunk(data)

    async def send_end(self) -> None:
        """End the answer as whole."""
        await self._client.send_end()

    def break_off(self, last_event: bytes | None) -> None:
        """End an answer that has begun: in a stream with an error that the caller awaits, else by a reset.

        A stream of the era with sessions may end early on purpose, and be gone on with: it just ends.
        """
        del last_event
        if not self._streams:
            self._client.break_off(None)
        elif self._resumable():
            self._client.break_off(_RESUME)
        else:
            error = UpstreamBrokenError("the server's answer broke off")
            self._client.break_off(message_event(rpc_error(self._rpc_id, error, **self._facts())))

    async def send_error(self, error: GatewayError, *, headers: Sequence[tuple[str, str]]) -> None:
        """Answer with a tool result where there is one, else with a JSON-RPC error."""
        if isinstance(error, AnsweredError):
            await self._client.send(200, rpc_result(self._rpc_id, error.result), headers=headers)
            return
        body = rpc_error(self._rpc_id, error, **self._facts())
        status = rpc_status(error, self._era)
        await self._client.send(status, body, headers=[*headers, *error_headers(error)])

    def _facts(self) -> dict[str, str]:
        return {} if self.decision_id is None else {"decision_id": self.decision_id}
