"""The bytes of a call: digests of parts as written, and what goes on to the server."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.canon import sha256_digest
from gateway.wire.mcp.body import input_state, read_call, with_state

PARAMS = '{"name":"refund", "arguments" : {"amount": 1.50, "id":12345678901234567890} ,"_meta":{"a":1}}'
BODY = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}'


def test_digests_are_of_the_text_as_written() -> None:
    """Numbers and spaces are the caller's; the id and the method are no part of what is asked."""
    call = read_call((BODY % PARAMS).encode())
    assert call.params_digest == sha256_digest(PARAMS.encode())
    assert call.arguments_digest({}) == sha256_digest(b'{"amount": 1.50, "id":12345678901234567890}')


def test_no_arguments_are_an_empty_object() -> None:
    """To a tool it is the same."""
    none = read_call((BODY % '{"name":"x"}').encode())
    empty = read_call((BODY % '{"name":"x","arguments":{}}').encode())
    assert none.arguments_digest({}) == empty.arguments_digest({})
    assert read_call(b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}').params == "{}"


def test_answers_are_part_of_what_an_approval_binds_to() -> None:
    """The same arguments with other evidence are another call; the order of the answers is nothing."""
    call = read_call((BODY % PARAMS).encode())
    one = call.arguments_digest({"a": 1, "b": 2})
    assert one == call.arguments_digest({"b": 2, "a": 1})
    assert len({one, call.arguments_digest({}), call.arguments_digest({"a": 1})}) == 3


OURS = '"requestState":"lumyn.1.x"'


def test_what_is_ours_is_cut_out_and_every_other_byte_stays() -> None:
    """Our state, our questions' answers, and the commas that go with them."""
    answers = '"inputResponses":{"lumyn.evidence":{"action":"accept"}}'
    call = read_call((BODY % f'{{"name":"x", {answers},"arguments": {{"a": 1.0}},{OURS}}}').encode())
    assert call.of_server(state_is_ours=True) == {}
    assert call.for_server({}) == (BODY % '{"name":"x","arguments": {"a": 1.0}}').encode()


def test_what_belongs_to_the_server_is_carried_and_put_back() -> None:
    """Its state and the answers to its own questions, as they are written."""
    theirs = '{ "q" : {"action":"accept","content":{"n":1.0}}'
    mixed = f'"inputResponses":{theirs},"lumyn.approval":{{"action":"accept"}}}}'
    call = read_call((BODY % f'{{"name":"x",{mixed},"requestState":"th\\u0065irs"}}').encode())
    carried = call.of_server(state_is_ours=False)
    assert carried == {
        "requestState": '"th\\u0065irs"',
        "inputResponses": theirs + "}",
    }
    back = read_call((BODY % f'{{"name":"x",{OURS}}}').encode()).for_server(carried)
    assert orjson.loads(back)["params"]["requestState"] == "theirs"
    assert f"{theirs}}}".encode() in back


def test_answers_that_are_no_object_are_the_servers_to_refuse() -> None:
    """They are not read, and not lost."""
    call = read_call((BODY % '{"name":"x","inputResponses":[1]}').encode())
    assert call.of_server(state_is_ours=False) == {"inputResponses": "[1]"}


@given(
    st.dictionaries(st.sampled_from(["name", "arguments", "_meta", "x"]), st.integers(-9, 9)),
    st.text(max_size=9),
)
@settings(derandomize=True, max_examples=100, deadline=None)
def test_a_call_without_ours_goes_on_as_the_same_value(params: dict[str, int], state: str) -> None:
    """Taking nothing out and putting the same back changes no value."""
    whole = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**params, "requestState": state}}
    call = read_call(orjson.dumps(whole))
    assert orjson.loads(call.for_server(call.of_server(state_is_ours=False))) == whole


def test_the_state_of_a_servers_question() -> None:
    """It is found, and replaced or added; nothing else changes."""
    asks = '{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"s\\u00e9"}}'
    assert input_state(asks) == '"s\\u00e9"'
    assert with_state(asks, "T") == asks.replace('"s\\u00e9"', '"T"')
    bare = '{"result":{"resultType":"input_required","inputRequests":{}}}'
    assert input_state(bare) is None
    assert orjson.loads(with_state(bare, "T"))["result"]["requestState"] == "T"
    assert input_state('{"error":{}}') is None
