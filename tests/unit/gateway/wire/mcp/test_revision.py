"""Headers against bodies: the golden cases are in `vectors/mcp`; here are arguments, and the official SDK."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.inbound import (
    InboundLadderRejection,
    classify_inbound_request,
    decode_header_value,
    encode_header_value,
    validate_mcp_param_headers,
)

from gateway.kernel.errors import ProtocolError
from gateway.kernel.parse import parse_tool_json
from gateway.wire.mcp.answers import rpc_code
from gateway.wire.mcp.listing import definitions
from gateway.wire.mcp.message import Kind, Message
from gateway.wire.mcp.revision import (
    CAPABILITIES_KEY,
    VERSION_KEY,
    Era,
    Mirror,
    MirroredArgument,
    check_agreement,
    check_arguments,
    decode_value,
    era_of,
    read_mirror,
)

FUZZ = settings(derandomize=True, max_examples=300, deadline=None)
NEW = "2026-07-28"


@given(st.text(max_size=12) | st.just("=?base64?YQ==?=") | st.just("=?base64?YR==?="))
@FUZZ
def test_values_are_decoded_as_the_official_sdk_does(text: str) -> None:
    """What it writes is read back, and what it refuses is refused."""
    assert decode_value(encode_header_value(text)) == text
    assert decode_value(text) == decode_header_value(text)


words = st.sampled_from(["tools/call", "tools/list", "refund", "read", NEW, "2027-01-01", ""])


@given(
    st.fixed_dictionaries(
        {}, optional={"mcp-protocol-version": words, "mcp-method": words, "mcp-name": words}
    ),
    words,
    words,
    st.fixed_dictionaries({}, optional={VERSION_KEY: words, CAPABILITIES_KEY: st.just({})}),
)
@FUZZ
def test_what_the_official_server_refuses_is_refused_alike(
    headers: dict[str, str], method: str, name: str, meta: dict[str, Any]
) -> None:
    """On the newer revision every refusal of its ladder is ours, with the same code."""
    version = headers.get("mcp-protocol-version")
    if version is None:
        return
    params = {"name": name, "_meta": meta}
    verdict = classify_inbound_request({"method": method, "params": params}, headers=headers)
    message = Message(Kind.REQUEST, method, 1, params)
    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    if isinstance(verdict, InboundLadderRejection):
        with pytest.raises(ProtocolError) as caught:
            check_agreement(message, read_mirror(raw))
        assert rpc_code(caught.value) == verdict.code
    elif method != "tools/list" or "mcp-name" not in headers:
        assert check_agreement(message, read_mirror(raw)) is Era.STATELESS


SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "deep": {"type": "object", "properties": {"on": {"type": "boolean", "x-mcp-header": "On"}}},
        "free": {"type": "string"},
    },
}
[TOOL] = definitions({"tools": [{"name": "t", "inputSchema": SCHEMA}]})
assert TOOL is not None
MIRRORED = TOOL.mirrored
texts = st.sampled_from(["eu", "ü", "5", "5.0", "-7", "true", "", " a", "=?base64?YQ==?=", "1e3"])


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "region": texts | st.none(),
            "count": st.integers(-9, 9) | st.none() | st.booleans(),
            "deep": st.fixed_dictionaries({}, optional={"on": st.booleans()}) | st.just(5),
            "free": texts,
        },
    ),
    st.fixed_dictionaries(
        {}, optional={"Mcp-Param-Region": texts, "Mcp-Param-Count": texts, "Mcp-Param-On": texts}
    ),
    st.booleans(),
)
@FUZZ
def test_arguments_are_compared_as_the_official_server_does(
    arguments: dict[str, Any], headers: dict[str, str], honest: bool
) -> None:
    """A header that does not say what the body says is refused, and no other; encoded or plain."""
    if honest:
        headers = {name: encode_header_value(value) for name, value in headers.items()}
    theirs = validate_mcp_param_headers(SCHEMA, arguments, headers)
    mirror = read_mirror([(name.encode(), value.encode("utf-8")) for name, value in headers.items()])
    decodable = all(value.isascii() and value == value.strip() for value in headers.values())
    refused = None
    try:
        check_arguments(mirror, MIRRORED, arguments)
    except ProtocolError as error:
        refused = rpc_code(error)
    if decodable or refused is None:
        assert refused == (None if theirs is None else theirs.code)


def test_a_whole_number_beyond_doubles_is_compared_as_it_is_written() -> None:
    """A 64-bit id in a header and in the body is one id; another one is not."""
    arguments = parse_tool_json(b'{"id":9223372036854775807}')
    mirrored = (MirroredArgument(("id",), "id", integer=True),)
    check_arguments(Mirror(None, None, None, {"id": "9223372036854775807"}), mirrored, arguments)
    with pytest.raises(ProtocolError):
        check_arguments(Mirror(None, None, None, {"id": "9223372036854775806"}), mirrored, arguments)


@pytest.mark.parametrize(
    ("version", "era"),
    [(None, Era.SESSIONS), ("2025-03-26", Era.SESSIONS), ("2025-11-25", Era.SESSIONS), (NEW, Era.STATELESS)],
)
def test_the_era_of_a_stream(version: str | None, era: Era) -> None:
    """Where there is no body the header alone says it."""
    assert era_of(Mirror(version, None, None, {})) is era


def test_nobody_speaks_the_revision_of_tomorrow() -> None:
    """It is refused with those that are spoken, and what was asked is cut short."""
    with pytest.raises(ProtocolError) as caught:
        era_of(Mirror("9" * 500, None, None, {}))
    assert caught.value.data == {"supported": [NEW], "requested": "9" * 64}
