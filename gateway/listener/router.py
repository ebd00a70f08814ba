"""Paths to handlers: exact ones first, then prefixes with one segment behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.kernel.errors import MethodNotAllowedError, NotFoundError
from gateway.listener.client import ErrorShape, HttpClient

Handler = Callable[[HttpClient], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path. A path that ends in `/*` takes one more segment."""

    method: str
    path: str
    handler: Handler
    shape: ErrorShape
    body_bytes_max: int


class Router:
    """Finds the route of a request; knows in which shape an unknown path is answered."""

    def __init__(self, routes: Sequence[Route], *, shapes: Mapping[str, ErrorShape], fallback: ErrorShape) -> None:
        """Take the routes, and the error shape of each path prefix."""
        self._exact: dict[str, dict[str, Route]] = {}
        self._under: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = self._under if route.path.endswith("/*") else self._exact
            table.setdefault(route.path.removesuffix("*"), {})[route.method] = route
        self._shapes = shapes
        self._fallback = fallback

    def find(self, method: str, path: str) -> Route:
        """Return the route. Raises NotFoundError or MethodNotAllowedError."""
        methods = self._exact.get(path) or self._under.get(path[: path.rfind("/") + 1])
        if methods is None or path.endswith("/"):
            raise NotFoundError(f"no such path: {path[:128]}")
        route = methods.get(method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise MethodNotAllowedError(f"{method[:16]} is not allowed here", hint=f"use {allowed}")
        return route

    def shape_of(self, path: str) -> ErrorShape:
        """Return the error shape of a path, known or not."""
        for prefix, shape in self._shapes.items():
            if path.startswith(prefix):
                return shape
        return self._fallback
