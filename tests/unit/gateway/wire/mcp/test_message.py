"""Messages in bodies: the golden cases are in `vectors/mcp`; here is what no case can say."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.errors import GatewayError, ProtocolError
from gateway.wire.mcp.message import Kind, Message, id_of, read_message


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_bytes_are_a_message_or_an_error_of_the_tree(body: bytes) -> None:
    """Nothing else is ever raised."""
    try:
        found: object = read_message(body)
    except GatewayError as error:
        found = error
    assert isinstance(found, Message) or found.status == 400


@pytest.mark.parametrize(
    ("body", "rpc_id"),
    [
        (b'{"id":5,"method":7}', 5),
        (b'{"id":"a","jsonrpc":"1.0"}', "a"),
        (b'{"id":null}', None),
        (b'{"id":1.5}', None),
        (b'{"id":true}', None),
        (b"[]", None),
        (b"{", None),
        (b'{"id":"%b"}' % (b"x" * 300), None),
    ],
)
def test_the_id_of_what_is_refused(body: bytes, rpc_id: object) -> None:
    """An error goes back under the id that the caller awaits, where there is one that can be answered."""
    assert id_of(body) == rpc_id


def test_arguments_that_nest_too_deep_can_be_named() -> None:
    """The call is recorded as what it is, and never goes on."""
    deep = b"[" * 200 + b"]" * 200
    message = read_message(
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":%b}}}' % deep
    )
    assert message.params["name"] == "x"
    assert message.ambiguous is not None
    with pytest.raises(ProtocolError, match="nests deeper"):
        read_message(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":%b}}' % deep)


@pytest.mark.parametrize("meta", [None, 5, [], "x"])
def test_meta_that_is_no_object_is_none(meta: object) -> None:
    """What is no object says nothing."""
    assert Message(Kind.REQUEST, "ping", 1, {"_meta": meta}).meta == {}
    assert Message(Kind.REQUEST, "ping", 1, {"_meta": {"a": 1}}).meta == {"a": 1}


def test_methods_and_ids_are_short() -> None:
    """Both go back into answers and logs."""
    for member in ({"method": "m" * 257}, {"method": "m", "id": "i" * 257}, {"method": ""}):
        with pytest.raises(ProtocolError):
            read_message(orjson.dumps({"jsonrpc": "2.0", "id": 1, **member}))
