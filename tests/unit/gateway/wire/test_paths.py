"""Path templates: what is one, and that no segment can be read in two ways."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.errors import MalformedRequestError
from gateway.wire.paths import overlap, read_template

REFUNDS = read_template("/orders/{order_id}/refunds")


def test_a_template_names_its_segments() -> None:
    """Names in braces become stars for the router, and the text of a path's segments."""
    assert (REFUNDS.pattern, REFUNDS.names) == ("/orders/*/refunds", ("order_id",))
    assert REFUNDS.read("/orders/O-1/refunds") == {"order_id": "O-1"}
    assert REFUNDS.read("/orders/a%20b/refunds") == {"order_id": "a b"}
    plain = read_template("/ping")
    assert (plain.pattern, plain.names, plain.read("/ping")) == ("/ping", (), {})


@pytest.mark.parametrize(
    "text",
    ["", "/", "orders", "/a//b", "/a/", "/{A}", "/{}", "/{a}/{a}", "/a{b}", "/{a}b", "/..", "/a b", "/a%20"],
)
def test_what_is_no_template(text: str) -> None:
    """A text that would match nothing, or more than one thing, is refused with a reason."""
    with pytest.raises(ValueError, match=r"\w"):
        read_template(text)


@pytest.mark.parametrize(
    "raw",
    [
        "..",
        ".",
        "%2e%2e",
        "%2E",
        "a%2fb",
        "a%5cb",
        "a;b",
        "a%3Bb",
        "%00",
        "a%0ab",
        "%25",
        "a%252fb",
        "a%3fb",
        "%ff",
        "%zz",
        "a%",
        "",
        "a\\b",
        "ä",
        "a|b",
        "%E2%80%AE",
        "x" * 513,
    ],
)
def test_an_ambiguous_segment_is_refused(raw: str) -> None:
    """Separators, dots, parameters, control characters and broken escapes, in any spelling."""
    with pytest.raises(MalformedRequestError):
        REFUNDS.read(f"/orders/{raw}/refunds")


@given(st.text(min_size=1, max_size=12))
def test_a_segment_is_refused_or_is_what_every_server_reads(text: str) -> None:
    """What is accepted decodes to itself, holds no separator, and is no step of a path."""
    raw = quote(text, safe="")
    try:
        found = REFUNDS.read(f"/orders/{raw}/refunds")["order_id"]
    except MalformedRequestError:
        return
    assert found == text == unquote(raw)
    assert not set(text) & set("/\\?#%;")
    assert text.isprintable()
    assert text not in {".", ".."}


def test_a_path_moves_with_its_raw_bytes() -> None:
    """The tool's path has the same segments as they came, never decoded and written anew."""
    moved = REFUNDS.moved("/orders/a%20b/refunds", read_template("/v2/refund/{order_id}"))
    assert moved == "/v2/refund/a%20b"
    assert REFUNDS.moved("/orders/x/refunds", REFUNDS) == "/orders/x/refunds"


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("/a/*", "/*/b", True),
        ("/a/*/c", "/a/*/d", False),
        ("/a/*", "/b/*", False),
        ("/a/*", "/a/*/c", False),
        ("/a/*", "/a/*", False),
        ("/a/b", "/a/*", False),
        ("/*/x", "/*/*", True),
    ],
)
def test_patterns_that_fit_the_same_path(one: str, other: str, both: bool) -> None:
    """Two patterns clash where some path fits both; a plain path always wins, and a pattern fits itself."""
    assert overlap(one, other) is overlap(other, one) is both
