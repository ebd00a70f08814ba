"""The routes of configured paths."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.auth.keys import KeyRing, Principal
from gateway.config import PassthroughConfig
from gateway.kernel.errors import MalformedRequestError, NotFoundError, UnauthorizedError
from gateway.proxy.passthrough import PassThrough


class Named:
    """A backend that is only a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Client:
    """What a handler looks at before anything is read."""

    method, query_string, raw_headers, request_id = "GET", "", (), "r-1"

    def __init__(self, path: str) -> None:
        self.path = path

    def header(self, name: str) -> str | None:
        return None


def routes(*configured: dict[str, Any], bench: Any = None) -> list[Any]:
    """The routes of a configuration before two backends."""
    backends = {name: Named(name) for name in "ab"}
    parts = [PassthroughConfig.model_validate(one) for one in configured]
    return list(PassThrough(bench, None, parts, backends).routes())  # type: ignore[arg-type]


def test_a_route_for_each_method() -> None:
    """As configured, with its own bound, and any kind of body."""
    made = routes({"path": "/v1/a/*"}, {"path": "/v1/b", "methods": ["DELETE"], "body_bytes_max": 7})
    assert [(route.method, route.path) for route in made] == [
        ("GET", "/v1/a/*"),
        ("POST", "/v1/a/*"),
        ("DELETE", "/v1/b"),
    ]
    assert made[2].body_bytes_max == 7
    assert all(route.any_media for route in made)
    assert routes() == []


@pytest.mark.parametrize(
    ("ring", "path", "error"),
    [
        (KeyRing([]), "/v1/../x", MalformedRequestError),
        (KeyRing([]), "/v1/Chat/Completions", NotFoundError),
        (KeyRing([("sha256:" + "0" * 64, Principal("bot", None))]), "/v1/x", UnauthorizedError),
    ],
)
def test_who_may_not_and_what_is_ambiguous_comes_no_further(
    ring: KeyRing, path: str, error: type[Exception]
) -> None:
    """The key and the path are looked at before the body is read."""
    bench = SimpleNamespace(live=SimpleNamespace(snapshot=SimpleNamespace(keys=ring)))
    [route, _] = routes({"path": "/v1/**", "backend": "b"}, bench=bench)
    with pytest.raises(error):
        route.handler(Client(path))
