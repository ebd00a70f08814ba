"""A client of one route in memory: a request that a test writes, and the answer that came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from gateway.kernel.errors import GatewayError


@dataclass
class FakeClient:
    """Stands in for `listener.client.HttpClient`."""

    target: str = "/"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    request_id: str = "r-1"
    connected: bool = True
    status: int = 0
    answered: bytes = b""
    sent_headers: dict[str, str] = field(default_factory=dict)
    media: str | None = None
    error: GatewayError | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query_string(self) -> str:
        """The target's query."""
        return self.target.partition("?")[2]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's parameters."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True, max_num_fields=100)

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers as bytes."""
        return tuple((name.encode(), value.encode()) for name, value in self.headers.items())

    def header(self, name: str) -> str | None:
        """A header's value."""
        return self.headers.get(name)

    async def read(self) -> bytes:
        """The body."""
        return self.body

    async def send(
        self, status: int, body: bytes, *, headers: Sequence[tuple[str, str]] = (), media: str | None = None
    ) -> None:
        """Note the answer."""
        self.status, self.answered, self.sent_headers, self.media = status, body, dict(headers), media

    async def send_error(self, error: GatewayError, *, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Note the error."""
        self.status, self.error, self.sent_headers = error.status, error, dict(headers)

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return orjson.loads(self.answered)
