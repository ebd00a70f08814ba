"""The golden cases of `vectors/mcp`: what a body is, whether headers agree with it, and what lists become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundLadderRejection,
    classify_inbound_request,
    find_duplicated_routing_header,
)

from gateway.kernel.errors import GatewayError, ProtocolError
from gateway.wire.mcp.answers import rpc_code, rpc_error, rpc_status
from gateway.wire.mcp.listing import shown
from gateway.wire.mcp.message import read_message
from gateway.wire.mcp.revision import Era, check_agreement, read_mirror

VECTORS = Path(__file__).parents[2] / "vectors/mcp"


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of one file."""
    found: list[dict[str, Any]] = orjson.loads((VECTORS / f"{name}.json").read_bytes())["cases"]
    return found


def by_name(case: dict[str, Any]) -> str:
    """What a case is called."""
    return str(case["name"])


@pytest.mark.parametrize("case", cases("messages"), ids=by_name)
def test_messages(case: dict[str, Any]) -> None:
    """A body is the message that the case says, or refused with its JSON-RPC code."""
    expect = case["expect"]
    if "error" in expect:
        with pytest.raises(GatewayError) as caught:
            read_message(case["body"].encode())
        assert rpc_code(caught.value) == expect["error"]
        return
    message = read_message(case["body"].encode())
    assert (message.kind.name, message.method, message.id) == (expect["kind"], expect["method"], expect["id"])
    assert message.ambiguous == expect.get("ambiguous")


def raw(case: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """The headers of a case as they come."""
    return [(name.encode(), value.encode()) for name, value in case["headers"]]


@pytest.mark.parametrize("case", cases("agreement"), ids=by_name)
def test_agreement(case: dict[str, Any]) -> None:
    """Headers and body agree, in this era, or the refusal has this code, status and data."""
    expect = case["expect"]
    message = read_message(orjson.dumps(case["body"]))
    if "error" not in expect:
        assert check_agreement(message, read_mirror(raw(case))).value == expect["era"]
        return
    with pytest.raises(ProtocolError) as caught:
        check_agreement(message, read_mirror(raw(case)))
    assert rpc_code(caught.value) == expect["error"]
    assert rpc_status(caught.value, None) == expect["status"]
    data = orjson.loads(rpc_error(message.id, caught.value))["error"]["data"]
    assert data.get("supported") == expect.get("supported")


@pytest.mark.parametrize("case", cases("agreement"), ids=by_name)
def test_the_official_server_says_the_same(case: dict[str, Any]) -> None:
    """On the newer revision the official SDK refuses with the same code and status, or not at all either."""
    headers = {name.lower(): value for name, value in case["headers"]}
    version = headers.get("mcp-protocol-version", "")
    if "id" not in case["body"] or "method" not in case["body"] or version.startswith("2025") or not version:
        return
    if find_duplicated_routing_header([(name, value) for name, value in case["headers"]]):
        assert case["expect"]["error"] == -32020
        return
    verdict = classify_inbound_request(case["body"], headers=headers)
    if not isinstance(verdict, InboundLadderRejection):
        assert case["expect"].get("era") == verdict.protocol_version or case["name"].startswith(
            "an argument's"
        )
        return
    assert (verdict.code, ERROR_CODE_HTTP_STATUS[verdict.code]) == (
        case["expect"]["error"],
        case["expect"]["status"],
    )


@pytest.mark.parametrize("case", cases("lists"), ids=by_name)
def test_lists(case: dict[str, Any]) -> None:
    """What is left of a list is the server's own text, byte for byte."""
    assert shown(case["message"], case["hidden"], Era(case["era"])) == case["expect"]
