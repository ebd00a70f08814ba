"""Paths to handlers: exact ones first, then patterns: `*` is one segment, `**` at the end one or more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.kernel.errors import MethodNotAllowedError, NotFoundError
from gateway.listener.client import ErrorShape, HttpClient

Handler = Callable[[HttpClient], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path, in which a segment may be `*`, and the last one `**`."""

    method: str
    path: str
    handler: Handler
    shape: ErrorShape
    body_bytes_max: int
    any_media: bool = False
    """The body may be anything, and not only JSON."""


class Router:
    """Finds the route of a request; knows in which shape an unknown path is answered."""

    def __init__(
        self, routes: Sequence[Route], *, shapes: Mapping[str, ErrorShape], fallback: ErrorShape
    ) -> None:
        """Take the routes, and the error shape of each path prefix."""
        self._exact: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = patterns if "*" in route.path else self._exact
            table.setdefault(route.path, {})[route.method] = route
        self._patterns = [(path.split("/"), methods) for path, methods in patterns.items()]
        self._shapes = shapes
        self._fallback = fallback

    def find(self, method: str, path: str) -> Route:
        """Return the route. Raises NotFoundError or MethodNotAllowedError."""
        methods = self._exact.get(path) or self._match(path)
        if methods is None:
            raise NotFoundError("no such path")
        route = methods.get(method)
        if route is None:
            raise MethodNotAllowedError(sorted(methods))
        return route

    def shape_of(self, path: str) -> ErrorShape:
        """Return the error shape of a path, known or not."""
        for prefix, shape in self._shapes.items():
            if path.startswith(prefix):
                return shape
        return self._fallback

    def _match(self, path: str) -> dict[str, Route] | None:
        segments = path.split("/")
        for pattern, methods in self._patterns:
            if _fits(pattern, segments):
                return methods
        return None


def _fits(pattern: list[str], segments: list[str]) -> bool:
    if pattern[-1] == "**":
        rest = len(segments) - len(pattern) + 1
        if rest < 1:
            return False
        pattern = [*pattern[:-1], *["*"] * rest]
    return len(pattern) == len(segments) and all(
        segment if wanted == "*" else segment == wanted
        for wanted, segment in zip(pattern, segments, strict=True)
    )
