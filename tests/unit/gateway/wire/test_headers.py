"""What may pass the border, in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.errors import MalformedRequestError
from gateway.wire import headers as module
from gateway.wire.headers import (
    CONTROL_PREFIXES,
    CREDENTIALS,
    HOP_BY_HOP,
    check_request_headers,
    clean_request_id,
    forwarded_request_headers,
    header_lines,
    listed_in_connection,
    relayed_response_headers,
)

HOST = (b"Host", b"g")
names = st.sampled_from(
    [
        *HOP_BY_HOP, *CREDENTIALS, b"content-length", b"host", b"x-a", b"X-B", b"x_c", b"accept",
        b"X-LLM-D-Objective", b"x-gateway-destination-endpoint", b"x-slo-ttft-ms", b"X-Lumyn-Intent",
        b"Server",
    ]
)  # fmt: skip
values = st.one_of(
    st.binary(max_size=8), st.sampled_from([b"x-a", b"close, X-B", b"keep-alive,,x_c", b"a\r\nb: c"])
)
pairs = st.lists(st.tuples(names, values), max_size=12)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(pairs)
def test_nothing_hop_by_hop_listed_or_controlling_is_forwarded(headers: list[tuple[bytes, bytes]]) -> None:
    """Of any headers only end-to-end ones without control characters remain, in order and as they were."""
    listed = listed_in_connection(headers)
    for keep in (False, True):
        kept = forwarded_request_headers(headers, keep_authorization=keep)
        assert [pair for pair in headers if pair in kept] == kept
        for name, value in kept:
            lower = name.lower()
            assert lower not in HOP_BY_HOP | listed | {b"host", b"content-length"}
            assert not lower.startswith(CONTROL_PREFIXES)
            assert b"_" not in lower
            assert not set(value) & {0, 10, 13, 127}
            assert keep or lower not in CREDENTIALS


@settings(max_examples=300, derandomize=True, deadline=None)
@given(pairs)
def test_nothing_hop_by_hop_listed_or_ours_is_relayed(headers: list[tuple[bytes, bytes]]) -> None:
    """A backend cannot frame our answer, split it, or speak in our name."""
    listed = listed_in_connection(headers)
    kept = relayed_response_headers(headers)
    assert [pair for pair in headers if pair in kept] == kept
    for name, value in kept:
        lower = name.lower()
        assert lower not in HOP_BY_HOP | listed | {b"content-length", b"x-request-id", b"server", b"date"}
        assert not lower.startswith(b"x-lumyn-")
        assert not set(value) & {0, 10, 13, 127}


def test_end_to_end_headers_pass_as_they_are() -> None:
    """What a backend should see arrives with its spelling, its order and its repetitions."""
    kept = [(b"User-Agent", b"OpenAI/1"), (b"ACCEPT", b"*/*"), (b"x-a", b"1"), (b"x-a", b"2\xe9\t")]
    assert forwarded_request_headers([HOST, *kept], keep_authorization=False) == kept
    assert relayed_response_headers(iter([*kept, (b"Date", b"x")])) == kept


@pytest.mark.parametrize("name", sorted(CREDENTIALS))
def test_credentials_are_kept_only_where_they_are_asked_for(name: bytes) -> None:
    """A client's credential passes where the gateway has no keys, and never where `Connection` lists it."""
    pair = (name.title(), b"secret")
    assert forwarded_request_headers([pair], keep_authorization=False) == []
    assert forwarded_request_headers([pair], keep_authorization=True) == [pair]
    assert forwarded_request_headers([pair, (b"Connection", name)], keep_authorization=True) == []


def test_connection_lists_names_over_several_headers() -> None:
    """Names are trimmed, lower-cased and gathered from every `Connection` header."""
    headers = [(b"Connection", b"close , X-A"), (b"x-b", b"1"), (b"CONNECTION", b"\tX-C,")]
    assert listed_in_connection(headers) == {b"close", b"x-a", b"x-c", b""}
    assert listed_in_connection([HOST]) == frozenset()


@pytest.mark.parametrize(
    "name",
    [
        b"content_length", b"Transfer_Encoding", b"HOST_", b"x_request_id", b"content_type", b"X_Api_Key",
        b"x_lumyn_verdict", b"X_Gateway_Model", b"x-slo_ttft-ms", b"x_llm_d_objective", b"authorization_",
    ],
)  # fmt: skip
def test_an_underscore_twin_is_refused_or_at_least_dropped(name: bytes) -> None:
    """A name that a CGI reader would take for a framing or control header is refused; others are dropped."""
    twin = name.lower().replace(b"_", b"-")
    if twin in module._TWINS or twin.startswith(CONTROL_PREFIXES):
        with pytest.raises(MalformedRequestError, match="imitates") as caught:
            check_request_headers([HOST, (name, b"1")])
        assert caught.value.hint == "spell header names with hyphens"
    else:
        check_request_headers([HOST, (name, b"1")])
    assert forwarded_request_headers([(name, b"1")], keep_authorization=True) == []


def test_most_twins_are_refused() -> None:
    """The table above is not all of the dropped kind."""
    for name in (b"content_length", b"transfer_encoding", b"x_lumyn_intent", b"x_api_key"):
        with pytest.raises(MalformedRequestError):
            check_request_headers([HOST, (name, b"1")])


def test_exactly_one_host() -> None:
    """Two hosts are refused, and none too, except in HTTP/1.0."""
    check_request_headers([HOST, (b"x_harmless", b"1")])
    for hosts in ([HOST, (b"hOST", b"other")], []):
        with pytest.raises(MalformedRequestError, match="host"):
            check_request_headers(hosts)
    check_request_headers([], http_1_0=True)


def test_http_1_0_has_no_chunks() -> None:
    """`Transfer-Encoding` in HTTP/1.0 is faulty framing (RFC 9112 6.1)."""
    chunks = [HOST, (b"Transfer-Encoding", b"chunked")]
    check_request_headers(chunks)
    with pytest.raises(MalformedRequestError, match=r"HTTP/1\.0"):
        check_request_headers(chunks, http_1_0=True)


@pytest.mark.parametrize("char", [*range(32), 127])
def test_control_characters_never_pass(char: int) -> None:
    """Every control character but the tab takes its header with it, in a name or a value, both ways."""
    headers = [(b"x-a", b"1" + bytes([char])), (b"x" + bytes([char]), b"2"), (b"x-b", b"3")]
    wanted = [headers[0], headers[2]] if char == 9 else [headers[2]]
    for kept in (
        forwarded_request_headers(headers, keep_authorization=False),
        relayed_response_headers(headers),
    ):
        assert [pair for pair in kept if pair != headers[1]] == wanted


@pytest.mark.parametrize(
    "text", ["a", "A-z_0.9:/+=@", "x" * 128, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa-01"]
)
def test_request_ids_in_use_are_kept(text: str) -> None:
    """Identifiers of every usual format are taken as they are."""
    assert clean_request_id(text) == text


@pytest.mark.parametrize(
    "text", [None, "", "x" * 129, "a b", "a\nb", "é", "\udc80", "a;b", "<x>", "a\x1b[0m"]
)
def test_other_request_ids_are_not(text: str | None) -> None:
    """What a log viewer or a terminal might interpret is no id."""
    assert clean_request_id(text) is None


def test_an_underscore_is_seen_wherever_it_stands() -> None:
    """A long name is dropped for an underscore behind the part of it that is remembered."""
    long = b"x-" + b"a" * 100
    sent = [(b"host", b"h"), (long, b"1"), (long + b"_b", b"2")]
    assert forwarded_request_headers(sent, keep_authorization=True) == [(long, b"1")]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), max_size=6))
def test_lines_are_pairs_as_they_are(headers: list[tuple[bytes, bytes]]) -> None:
    """Names and values stand in a head byte for byte, per cent signs too."""
    assert header_lines(headers) == b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    assert header_lines([(b"x-%s%", b"%d")]) == b"x-%s%: %d\r\n"


def test_what_is_remembered_of_names_is_bounded() -> None:
    """A client that never sends the same names twice costs no memory that grows."""
    for count in range(module._PLANS_MAX * 2):
        check_request_headers([HOST, (b"x-%d" % count, b"")])
        header_lines([(b"x-%d" % count, b"")])
    assert module._plan.cache_info().currsize == module._PLANS_MAX
    assert module._template.cache_info().currsize == module._PLANS_MAX
