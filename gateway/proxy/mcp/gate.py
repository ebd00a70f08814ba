"""`/mcp/{server}`: streamable HTTP of both revisions in front of the configured servers.

Calls of tools become decisions on the record, lists of tools are shown as far as the caller may see them, and
everything else passes as it is. What cannot be told apart safely is refused: see `docs/mcp.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.auth.keys import Principal
from gateway.kernel.errors import (
    ForbiddenError,
    GatewayError,
    MethodNotAllowedError,
    ProtocolError,
    UnauthorizedError,
)
from gateway.listener.client import HttpClient
from gateway.listener.router import Handler, Route
from gateway.pipeline.drive import Exchange
from gateway.pipeline.surroundings import Surroundings
from gateway.proxy.mcp.ask import Ask
from gateway.proxy.mcp.call import CallBench, CallJudge
from gateway.proxy.mcp.passage import Passage, Way
from gateway.proxy.mcp.reply import CallClient
from gateway.proxy.mcp.servers import Server
from gateway.wire.errors import error_headers
from gateway.wire.headers import clean_request_id
from gateway.wire.mcp.answers import error_body, rpc_error, rpc_status
from gateway.wire.mcp.body import read_call
from gateway.wire.mcp.message import CALL, LIST, LISTEN, Kind, Message, RpcId, id_of, read_message
from gateway.wire.mcp.revision import Era, Mirror, check_agreement, era_of, read_mirror

PREFIX: Final = "/mcp/"
_TOOLS: Final = "tools/"
_CHALLENGE: Final = ("www-authenticate", 'Bearer realm="lumyn"')


@dataclass(frozen=True, slots=True)
class _Heard:
    """A message and what its headers say."""

    message: Message
    mirror: Mirror
    era: Era
    contradiction: ProtocolError | None = None
    """Of a call whose headers and body disagree: it is decided, and refused."""


class McpGate:
    """Serves the `/mcp` routes."""

    def __init__(
        self,
        servers: Sequence[Server],
        bench: CallBench,
        around: Surroundings,
        passage: Passage,
        *,
        origins: frozenset[str],
        body_bytes_max: int,
    ) -> None:
        """`origins` are the web pages that may speak to it; programs send none."""
        self._servers = servers
        self._bench = bench
        self._around = around
        self._passage = passage
        self._origins = origins
        self._body_bytes_max = body_bytes_max

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return [
            Route(method, PREFIX + server.name, handler, error_body, self._body_bytes_max)
            for server in self._servers
            for method, handler in (
                ("POST", self._posting(server)),
                ("GET", self._listening(server)),
                ("DELETE", self._listening(server)),
            )
        ]

    def stop(self) -> None:
        """End what only listens, so that a drain need not wait for it."""
        self._passage.end_listening()

    def _posting(self, server: Server) -> Handler:
        async def handle(client: HttpClient) -> None:
            if (principal := await self._admitted(client)) is None:
                return
            body = await client.read()
            try:
                heard = _hear(client, body)
            except GatewayError as error:
                await _tell(client, id_of(body), error, None)
                return
            try:
                await self._post(server, principal, client, body, heard)
            except GatewayError as error:
                if client.begun:
                    raise
                await _tell(client, heard.message.id, error, heard.era)

        return handle

    async def _post(
        self, server: Server, principal: Principal, client: HttpClient, body: bytes, heard: _Heard
    ) -> None:
        message = heard.message
        if message.kind is Kind.REQUEST and message.method == CALL:
            await self._call(server, principal, client, body, heard)
            return
        if message.method.startswith(_TOOLS) and message.method != LIST:
            # A server that has other ways to use its tools: nobody has decided those.
            raise ProtocolError(f"no such method: {message.method[:64]}", code="MCP_METHOD_UNKNOWN")
        way = Way(
            server,
            principal,
            client,
            heard.era,
            body,
            rpc_id=message.id if message.kind is Kind.REQUEST else None,
            lists=message.method == LIST,
            listens=message.method == LISTEN,
        )
        await self._passage.go(way)

    async def _call(
        self, server: Server, principal: Principal, client: HttpClient, body: bytes, heard: _Heard
    ) -> None:
        began_s = self._around.clock.monotonic_s()
        ask = Ask(
            server=server,
            principal=principal,
            message=heard.message,
            body=body,
            text=read_call(body),
            era=heard.era,
            mirror=heard.mirror,
            headers=client.raw_headers,
            request_id=client.request_id,
            traceparent=clean_request_id(client.header("traceparent")),
        )
        judge = CallJudge(self._bench, ask)
        await judge.prepare(heard.contradiction)
        caller = CallClient(client, body, ask.rpc_id, heard.era, judge.resumable)
        caller.decision_id = judge.decision_id
        exchange = Exchange(caller, judge, self._around, request_id=client.request_id)
        exchange.sighting.began_s = began_s
        await exchange.run()

    def _listening(self, server: Server) -> Handler:
        async def handle(client: HttpClient) -> None:
            if (principal := await self._admitted(client)) is None:
                return
            if era_of(read_mirror(client.raw_headers)) is Era.STATELESS:
                raise MethodNotAllowedError(("POST",))
            stream = client.method == "GET"
            way = Way(server, principal, client, Era.SESSIONS, lists=stream, listens=stream)
            await self._passage.go(way)

        return handle

    async def _admitted(self, client: HttpClient) -> Principal | None:
        """Return who asks, or answer 401. Raises ForbiddenError for a web page that is not listed."""
        origin = client.header("origin")
        if origin is not None and origin not in self._origins:
            raise ForbiddenError(
                "this origin may not speak to the gateway", hint="the operator lists it in `mcp.origins`"
            )
        try:
            return self._bench.live.snapshot.keys.principal(client.header("authorization"))
        except UnauthorizedError as error:
            await _tell(client, None, error, None, _CHALLENGE)
            return None


def _hear(client: HttpClient, body: bytes) -> _Heard:
    """Return the message and its era. Raises ProtocolError, MalformedRequestError."""
    message = read_message(body)
    try:
        mirror = read_mirror(client.raw_headers)
        era = check_agreement(message, mirror)
    except ProtocolError as error:
        if error.code != "MCP_HEADER_MISMATCH" or message.kind is not Kind.REQUEST or message.method != CALL:
            raise
        return _Heard(message, _NO_MIRROR, Era.STATELESS, error)
    if message.ambiguous is not None and message.method != CALL:
        raise ProtocolError(f"{message.ambiguous}: a key stands there twice, or it nests too deep")
    return _Heard(message, mirror, era)


_NO_MIRROR: Final = Mirror(None, None, None, {})


async def _tell(
    client: HttpClient, rpc_id: RpcId | None, error: GatewayError, era: Era | None, *more: tuple[str, str]
) -> None:
    """Answer with an error under the id of the message."""
    headers = [("x-request-id", client.request_id), *more, *error_headers(error)]
    await client.send(rpc_status(error, era), rpc_error(rpc_id, error), headers=headers)
