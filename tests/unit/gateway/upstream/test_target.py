"""Origins from the configuration."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import InvalidConfigError
from gateway.upstream.target import Target, read_target


@pytest.mark.parametrize(
    ("url", "target", "host_header"),
    [
        ("http://h:8000/v1", Target("h", 8000, False, ""), "h:8000"),
        ("http://h/v1/", Target("h", 80, False, ""), "h"),
        ("https://H.example", Target("h.example", 443, True, ""), "h.example"),
        ("https://h:80/openai/v1", Target("h", 80, True, "/openai"), "h:80"),
        ("http://h:443/a/b/", Target("h", 443, False, "/a/b"), "h:443"),
        ("http://[::1]:9/v1", Target("::1", 9, False, ""), "[::1]:9"),
        ("https://[::1]/", Target("::1", 443, True, ""), "[::1]"),
        ("http://h/v12", Target("h", 80, False, "/v12"), "h"),
    ],
)
def test_a_base_url_is_taken_apart(url: str, target: Target, host_header: str) -> None:
    """Host, port, TLS and prefix are read; `/v1` at the end is the API's own."""
    assert read_target(url, where="backends.b.url") == target
    assert target.host_header == host_header


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://h/v1", "no http or https URL"),
        ("h:8000/v1", "no http or https URL"),
        ("", "no http or https URL"),
        ("http:///v1", "no http or https URL"),
        ("http://h:0/v1", "no http or https URL"),
        ("http://h:99999/v1", "no URL"),
        ("http://[::1/v1", "no URL"),
        ("http://secret:canary@h/v1", "may not carry credentials"),
        ("http://canary@h/v1", "may not carry credentials"),
        ("http://@h/v1", "may not carry credentials"),
        ("http://h/v1?key=canary", "no query"),
        ("http://h/v1#canary", "no query"),
        ("http://h/a b/v1", "characters that may not stand"),
        ("http://h/v1\r\nx-evil: canary", "characters that may not stand"),
        ("http://h\x00/v1", "characters that may not stand"),
        ("http://exämple/v1", "characters that may not stand"),
        ("ftp://canary:canary@h", "no http or https URL"),
    ],
)
def test_anything_else_is_refused_without_quoting_it(url: str, why: str) -> None:
    """The error says which key is wrong and why, and never repeats a URL that may hold a secret."""
    with pytest.raises(InvalidConfigError, match=why) as caught:
        read_target(url, where="backends.b.url")
    assert caught.value.message.startswith("backends.b.url")
    assert "canary" not in f"{caught.value.message} {caught.value.hint}"
