"""Which path goes where."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import MethodNotAllowedError, NotFoundError
from gateway.listener.client import HttpClient
from gateway.listener.router import Route, Router
from gateway.wire.errors import openai_error_body, v0_error_body


async def handler(client: HttpClient) -> None:
    """Nothing: these tests only look for routes."""


def route(method: str, path: str) -> Route:
    """A route whose bound tells it from others."""
    return Route(method, path, handler, v0_error_body, 0)


EXACT, SHOW, EVENTS = route("GET", "/a/b"), route("GET", "/a/*"), route("POST", "/a/*/events")
POSTED = route("POST", "/a/*")
ROUTER = Router([SHOW, EVENTS, EXACT, POSTED], shapes={"/v1/": openai_error_body}, fallback=v0_error_body)


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/a/b", EXACT),
        ("GET", "/a/c", SHOW),
        ("GET", "/a/%2e%2e", SHOW),
        ("POST", "/a/c", POSTED),
        ("POST", "/a/c/events", EVENTS),
    ],
)
def test_exact_paths_go_before_patterns(method: str, path: str, wanted: Route) -> None:
    """An exact path wins over a pattern, and a star stands for one whole segment."""
    assert ROUTER.find(method, path) is wanted


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a//events", "/a/b/c", "/a/b/", "", "/A/b", "//a/b"])
def test_other_paths_are_not_found(path: str) -> None:
    """Nothing is normalised: another spelling, an empty segment or one too many is another path."""
    with pytest.raises(NotFoundError):
        ROUTER.find("GET", path)


def test_a_wrong_method_names_the_right_ones() -> None:
    """The error of a known path with another method lists its methods."""
    with pytest.raises(MethodNotAllowedError) as caught:
        ROUTER.find("DELETE", "/a/c")
    assert (caught.value.allowed, caught.value.hint) == (("GET", "POST"), "use GET, POST")


def test_a_path_has_its_apis_shape_known_or_not() -> None:
    """The error shape goes by the prefix, whether or not the path is known."""
    assert ROUTER.shape_of("/v1/nothing") is openai_error_body
    assert ROUTER.shape_of("/nothing") is v0_error_body
