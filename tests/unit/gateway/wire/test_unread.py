"""Paths that have one reading."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import MalformedRequestError, NotFoundError
from gateway.wire.unread import PATH_CHARS_MAX, check_unread


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/audio/speech", ""),
        ("/v1/files/file-1/content", "a=b&c=%20"),
        ("/v1/responses/resp_1:x", "stream=true"),
        ("/v1/x/caf%C3%A9", ""),
        ("/v1/x/a%20b", ""),
    ],
)
def test_plain_paths_pass(path: str, query: str) -> None:
    """Segments as clients send them."""
    check_unread(path, query)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/audio/../chat/completions",
        "/v1/./x",
        "/v1//x",
        "/v1/x/",
        "/v1/chat/%63ompletions",
        "/v1/chat%2Fcompletions",
        "/v1/%2e%2e/x",
        "/v1/%2E%2E/x",
        "/v1/x%5Cy",
        "/v1/x%00",
        "/v1/x%0A",
        "/v1/x;y",
        "/v1/x%3By",
        "/v1/x%zz",
        "/v1/x y",
        "/v1/\xe9",
        "/v1/" + "x" * PATH_CHARS_MAX,
    ],
)
def test_ambiguous_paths_are_refused(path: str) -> None:
    """Whatever a server might simplify would reach what nobody judged."""
    with pytest.raises(MalformedRequestError):
        check_unread(path, "")


@pytest.mark.parametrize("query", ["a b", "a\x00", "a#b", "\xe9"])
def test_queries_hold_visible_characters(query: str) -> None:
    """A query that two readers end in different places is refused."""
    with pytest.raises(MalformedRequestError):
        check_unread("/v1/x", query)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/Chat/Completions", "/v1/messages"])
def test_what_is_interpreted_is_never_unread(path: str) -> None:
    """In no spelling of its letters: some servers do not mind the case."""
    with pytest.raises(NotFoundError):
        check_unread(path, "")
