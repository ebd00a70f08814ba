"""Requests of the OpenAI API, read as far as a decision needs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import MODEL_NAME_CHARS_MAX, WHOLE_MAX
from gateway.kernel.errors import GatewayError, InvalidRequestError, MalformedRequestError
from gateway.wire.openai import Operation, read_llm_request, read_usage, read_usage_of_body

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
WRONG: list[Any] = [None, True, 0, 1.5, "", "x", [], [1], {}, {"a": 1}]


def read(value: object, operation: Operation = Operation.CHAT) -> Any:
    """Read a value as a body."""
    return read_llm_request(operation, json.dumps(value).encode())


def pointer_of(value: object, operation: Operation = Operation.CHAT) -> str | None:
    """Where the reader finds the fault."""
    with pytest.raises(InvalidRequestError) as caught:
        read(value, operation)
    assert caught.value.status == 422
    assert caught.value.message
    return caught.value.pointer


def test_the_facts_of_a_request_are_read() -> None:
    """Model, stream, limits, counts and an estimate are read; nothing of the contents is kept."""
    body = CHAT | {"stream": True, "max_tokens": 7, "n": 2, "tools": [{}, {}], "unknown": {"kept": 1}}
    facts = read(body)
    assert (facts.operation, facts.model, facts.stream) == (Operation.CHAT, "m", True)
    assert (facts.max_tokens, facts.choices, facts.tools_count) == (7, 2, 2)
    assert facts.estimated_input_tokens == len("hello") // 4 + 1
    assert "hello" not in repr(facts)


def test_what_is_absent_or_null_has_its_default() -> None:
    """Optional fields may be missing or null."""
    nulls = dict.fromkeys(["stream", "max_tokens", "max_completion_tokens", "n", "tools"])
    for body in (CHAT, CHAT | nulls):
        facts = read(body)
        assert (facts.stream, facts.max_tokens, facts.choices, facts.tools_count) == (False, None, 1, 0)


def test_the_newer_limit_goes_before_the_older() -> None:
    """`max_completion_tokens` wins over `max_tokens`."""
    assert read(CHAT | {"max_tokens": 7, "max_completion_tokens": 3}).max_tokens == 3


@pytest.mark.parametrize("body", [b"", b"{", b"nope", b"\xff", b'{"model": "m"} x'])
def test_no_json_is_malformed(body: bytes) -> None:
    """Bytes that are no JSON are a 400."""
    with pytest.raises(MalformedRequestError):
        read_llm_request(Operation.CHAT, body)


@pytest.mark.parametrize("value", [[], 1, "x", None, True])
def test_the_body_must_be_an_object(value: object) -> None:
    """Any other JSON is refused at the root."""
    assert pointer_of(value) == ""


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDING])
def test_a_missing_field_is_named(operation: Operation) -> None:
    """`model` and the field that the operation needs are required."""
    assert pointer_of({operation.required: "x"}, operation) == "/model"
    assert pointer_of({"model": "m"}, operation) == f"/{operation.required}"


GOOD_TYPES: dict[str, tuple[type, ...]] = {"stream": (bool, type(None)), "tools": (list, type(None))}


@pytest.mark.parametrize(
    "field", ["model", "stream", "tools", "n", "max_tokens", "max_completion_tokens", "messages"]
)
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_every_wrong_type_is_named(field: str, value: object) -> None:
    """Each field refuses each value that is none of its own, with a pointer to it."""
    good = isinstance(value, GOOD_TYPES.get(field, ())) or (
        (field == "model" and value == "x")
        or (field in {"n", "max_tokens", "max_completion_tokens"} and value is None)
    )
    if good:
        read(CHAT | {field: value})
    else:
        assert (pointer_of(CHAT | {field: value}) or "").startswith(f"/{field}")


@pytest.mark.parametrize("field", ["n", "max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("count", [0, -1, WHOLE_MAX + 1, 2**64, 1.0, 1e30, True, "1"])
def test_counts_are_whole_positive_and_exact(field: str, count: object) -> None:
    """A count that a record could not hold exactly is refused here, not deep inside."""
    assert pointer_of(CHAT | {field: count}) == f"/{field}"


def test_a_model_name_is_bounded() -> None:
    """A name up to the bound is a name; a longer one is refused."""
    assert read(CHAT | {"model": "m" * MODEL_NAME_CHARS_MAX}).model == "m" * MODEL_NAME_CHARS_MAX
    assert pointer_of(CHAT | {"model": "m" * (MODEL_NAME_CHARS_MAX + 1)}) == "/model"
    assert pointer_of(CHAT | {"model": " \t"}) == "/model"


@pytest.mark.parametrize(
    ("messages", "pointer"),
    [
        ([], "/messages"),
        ("x", "/messages"),
        ([1], "/messages/0"),
        ([{"role": "user"}, None], "/messages/1"),
        ([{}], "/messages/0/role"),
        ([{"role": 1}], "/messages/0/role"),
        ([{"role": "user", "content": 1}], "/messages/0/content"),
        ([{"role": "user"}, {"role": "user", "content": {}}], "/messages/1/content"),
    ],
)
def test_a_wrong_message_is_pointed_at(messages: object, pointer: str) -> None:
    """The pointer names the message and the field."""
    assert pointer_of(CHAT | {"messages": messages}) == pointer


@pytest.mark.parametrize(
    ("content", "chars"),
    [
        ("x" * 40, 40),
        (None, 0),
        ([{"type": "text", "text": "x" * 8}, {"type": "image_url"}, "y", {"text": 1}], 8),
    ],
)
def test_message_text_is_measured(content: object, chars: int) -> None:
    """Strings and text parts count, other parts do not."""
    body = CHAT | {"messages": [{"role": "user", "content": content}]}
    assert read(body).estimated_input_tokens == chars // 4 + 1


@pytest.mark.parametrize("operation", [Operation.COMPLETION, Operation.EMBEDDING])
@pytest.mark.parametrize(
    ("value", "tokens"),
    [("x" * 40, 11), (["x" * 4, "y" * 4], 3), ([1, 2, 3], 4), ([[1, 2], [3]], 4), ([[]], 1)],
)
def test_prompts_and_inputs_are_measured(operation: Operation, value: object, tokens: int) -> None:
    """Text, token ids and lists of either are measured."""
    assert read({"model": "m", operation.required: value}, operation).estimated_input_tokens == tokens


@pytest.mark.parametrize("operation", [Operation.COMPLETION, Operation.EMBEDDING])
@pytest.mark.parametrize(
    ("value", "where"),
    [
        (None, ""),
        (1, ""),
        ({}, ""),
        ([], ""),
        ([None], "/0"),
        (["x", -1], "/1"),
        ([[1], ["x"]], "/1"),
        ([True], "/0"),
    ],
)
def test_a_wrong_prompt_is_pointed_at(operation: Operation, value: object, where: str) -> None:
    """The pointer names the field, and the item where one item is wrong."""
    assert pointer_of({"model": "m", operation.required: value}, operation) == f"/{operation.required}{where}"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "text", "x"]), inner, max_size=3),
    ),
    max_leaves=8,
)
bodies = st.dictionaries(
    st.sampled_from(["model", "messages", "prompt", "input", "n", "tools", "stream", "max_tokens"]),
    json_values,
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(bodies, st.sampled_from([Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDING]))
def test_reading_is_total(body: dict[str, Any], operation: Operation) -> None:
    """Any JSON gives facts within their bounds or an error of the tree with a pointer."""
    fault: GatewayError | None = None
    try:
        facts = read(body, operation)
    except GatewayError as error:
        fault = error
    else:
        assert 0 < facts.estimated_input_tokens <= WHOLE_MAX
        assert 0 < facts.choices <= WHOLE_MAX
    assert fault is None or isinstance(fault, MalformedRequestError) or fault.pointer is not None


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3},
         {"prompt_tokens": 3, "completion_tokens": 0}),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}},
         {"prompt_tokens": 3, "cached_tokens": 2}),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": "2"}}, {"prompt_tokens": 3}),
        ({"prompt_tokens": 3, "prompt_tokens_details": 2}, {"prompt_tokens": 3}),
        ({"prompt_tokens": -1, "completion_tokens": True}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": WHOLE_MAX + 1}, None),
        ({}, None), (None, None), ([], None), ("3", None),
    ],
)  # fmt: skip
def test_usage_is_counts_that_a_record_can_hold(usage: object, counts: object) -> None:
    """Only whole counts within the bound of exact numbers are taken; the rest is left out, never an error."""
    assert read_usage(usage) == counts


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"usage":{"prompt_tokens":3}}', ({"prompt_tokens": 3}, True)),
        (b'{"x":1}', (None, True)),
        (b"[1]", (None, True)),
        (b'{"usage":{"prompt_tokens":3}', (None, False)),
        (b"", (None, False)),
    ],
)
def test_a_body_is_read_for_usage_and_wholeness(body: bytes, found: object) -> None:
    """Usage where there is one, and whether the body is JSON to its end."""
    assert read_usage_of_body(body) == found
