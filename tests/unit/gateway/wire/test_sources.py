"""Sources: where a value is read, and what would let the gate and the tool read two things."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import InvalidRequestError
from gateway.wire.sources import MISSING, Parts, Source, SourceKind, header_values, read_source, take

PARTS = Parts(
    body={"amount": 5, "items": [{"price": 1.5}], "a/b": {"~": None}, "nested": {"Deep": 1}},
    path={"order_id": "O-1"},
    query=[("region", "eu"), ("twice", "1"), ("twice", "2"), ("Case", "x"), ("php[]", "1")],
    headers=[(b"X-Agent", b" a-1 "), (b"X-Two", b"1"), (b"x-two", b"2")],
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("body:", PARTS.body),
        ("body:/amount", 5),
        ("body:/items/0/price", 1.5),
        ("body:/a~1b/~0", None),
        ("path:order_id", "O-1"),
        ("query:region", "eu"),
        ("header:x-agent", "a-1"),
        ("const:USD", "USD"),
        ("body:/nope", MISSING),
        ("body:/items/9", MISSING),
        ("body:/amount/x", MISSING),
        ("query:nope", MISSING),
        ("header:nope", MISSING),
    ],
)
def test_a_value_is_taken_where_it_stands(text: str, value: object) -> None:
    """Each kind reads its part; what is not there is missing, and null is not missing."""
    source = read_source(text)
    assert str(source) == text
    assert take(source, PARTS) is value or take(source, PARTS) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "amount",
        "json:/a",
        "body:a",
        "body:/a~2",
        "path:",
        "query:",
        "header:X-Agent",
        "header:",
        "const:",
    ],
)
def test_what_is_no_source(text: str) -> None:
    """A text that names no place is refused with what would."""
    with pytest.raises(ValueError, match=r"\w"):
        read_source(text)


@pytest.mark.parametrize("name", ["authorization", "cookie", "x-api-key", "api-key", "proxy-authorization"])
def test_a_secret_is_no_evidence(name: str) -> None:
    """A credential may not be mapped into records."""
    with pytest.raises(ValueError, match="secret"):
        read_source(f"header:{name}")


@pytest.mark.parametrize("text", ["query:twice", "header:x-two"])
def test_what_stands_there_twice_is_refused(text: str) -> None:
    """Two values of one name: the tool might take the other."""
    with pytest.raises(InvalidRequestError):
        take(read_source(text), PARTS)


@pytest.mark.parametrize(("name", "value"), [("case", "x"), ("php", "1")])
def test_other_spellings_of_a_parameter_count(name: str, value: str) -> None:
    """Another case, and PHP's brackets, are the same parameter to some servers."""
    assert take(Source(SourceKind.QUERY, name), PARTS) == value
    parts = Parts({}, {}, [(name, "1"), (f"{name.upper()}[0]", "2")], [])
    with pytest.raises(InvalidRequestError):
        take(Source(SourceKind.QUERY, name), parts)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"amount": 5, "Amount": 2500}, "/amount"),
        ({"Amount": 2500}, "/amount"),
        ({"order": {"AMOUNT": 1, "amount": 2}}, "/order/amount"),
        ({"order": {"amount": 2}, "Order": {}}, "/order/amount"),
        ([{"amount": 1, "aMount": 2}], "/0/amount"),
    ],
)
def test_another_spelling_of_a_key_is_refused(body: object, pointer: str) -> None:
    """A key that differs in case alone, anywhere on the way: Go and .NET would take it for the same."""
    with pytest.raises(InvalidRequestError) as caught:
        take(Source(SourceKind.BODY, pointer), Parts(body, {}, [], []))
    assert pointer.startswith(caught.value.pointer or "?")


def test_other_keys_may_be_spelt_as_they_like() -> None:
    """Only what is read must be the only one of its spelling."""
    body = {"amount": 5, "Note": 1, "note": 2, "order": {"X": 1, "x": 2}}
    assert take(read_source("body:/amount"), Parts(body, {}, [], [])) == 5


def test_no_body_has_no_values() -> None:
    """Of a request without a body everything in it is missing."""
    assert take(read_source("body:/amount"), Parts(MISSING, {}, [], [])) is MISSING


def test_header_values_are_trimmed_texts() -> None:
    """Every value of a name, whatever its case."""
    assert header_values("x-two", PARTS.headers) == ["1", "2"]
    assert header_values("x-none", PARTS.headers) == []
