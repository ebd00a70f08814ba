"""One call of one tool, as the parts of the gate know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from gateway.auth.keys import Principal
from gateway.pipeline.approvals import Terms
from gateway.pipeline.pins import Pin
from gateway.proxy.mcp.ask import Ask
from gateway.proxy.mcp.servers import Server
from gateway.upstream.backend import HttpBackend
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import read_endpoint
from gateway.wire.mcp.body import read_call
from gateway.wire.mcp.message import read_message
from gateway.wire.mcp.revision import Era, Mirror
from gateway.wire.mcp.state import Sealer
from gateway.wire.toolmap import AmountRule, ToolMap, ToolRule
from tests.kit.mcp import meta

MakeAsk = Callable[..., Ask]
BOT = Principal("bot", "acme")


@pytest.fixture
def server() -> Server:
    """A server whose `refund` is mapped; nothing listens there."""
    target, path = read_endpoint("http://127.0.0.1:9/mcp", where="x")
    rule = ToolRule("refund", "shop.refund", {"order": "/order"}, AmountRule("/amount"))
    tools = ToolMap([rule], prefix="mcp.shop_")
    backend = HttpBackend("shop", ConnectionPool(target))
    return Server("shop", backend, path, tools, False, Terms(1000, 1000), {"n": "integer"})


@pytest.fixture
def pin() -> Pin:
    """The pinned definition of `refund`."""
    return Pin("shop", "refund", "sha256:" + "d" * 64, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 0, "{}", {}, ())


@pytest.fixture
def sealer() -> Sealer:
    """A sealer with a secret of the tests."""
    return Sealer(b"s" * 32)


@pytest.fixture
def make_ask(server: Server) -> MakeAsk:
    """Make a call: parameters by keyword, `arguments` also as JSON text."""

    def make(
        tool: Any = "refund",
        arguments: Any = None,
        *,
        era: Era = Era.STATELESS,
        principal: Principal = BOT,
        mirrored: dict[str, str] | None = None,
        elicitation: Any = None,
        **params: Any,
    ) -> Ask:
        capabilities = {} if elicitation is None else {"elicitation": elicitation}
        more = {"_meta": meta(**capabilities)} if era is Era.STATELESS else {}
        given = (
            arguments
            if isinstance(arguments, bytes)
            else orjson.dumps({} if arguments is None else arguments)
        )
        rest = orjson.dumps({"name": tool, **params, **more})[1:]
        body = (
            b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":'
            + given
            + b","
            + rest
            + b"}"
        )
        return Ask(
            server=server,
            principal=principal,
            message=read_message(body),
            body=body,
            text=read_call(body),
            era=era,
            mirror=Mirror(None, None, None, mirrored or {}),
            headers=((b"accept", b"application/json"),),
            request_id="r-1",
            traceparent=None,
        )

    return make
