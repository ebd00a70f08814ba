"""A backend's own metrics page, read as text: a `controller.ports.SignalSource`, without knowing it."""

from __future__ import annotations

from typing import Final

from gateway.kernel.errors import UpstreamError
from gateway.upstream.backend import HttpBackend
from gateway.upstream.breaker import NEVER, Breaker
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import read_target

_PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""An endpoint picker with a thousand fairness ids shows 2 MiB."""
_SILENCE_S: Final = 0.8
"""Pages are read once a second: a slower one is of no use."""


class MetricsPage:
    """One URL; `metrics_text` reads it."""

    def __init__(self, url: str, *, where: str) -> None:
        """Raises InvalidConfigError that names `where` the URL stands."""
        pool = ConnectionPool(read_target(url, where=where), connections_max=2, connect_s=_SILENCE_S)
        self._backend = HttpBackend(where, pool, breaker=Breaker(NEVER, lambda: 0.0))

    async def metrics_text(self) -> str:
        """Return the page. Raises OSError where it cannot be had."""
        try:
            answer = await self._backend.send("GET", "", (), b"", first_byte_s=_SILENCE_S)
            try:
                parts: list[bytes] = []
                size = 0
                while size < _PAGE_BYTES_MAX and (chunk := await answer.chunk(_SILENCE_S)):
                    parts.append(chunk)
                    size += len(chunk)
            finally:
                self._backend.release(answer)
        except UpstreamError as error:
            raise OSError(error.message) from error
        if answer.status != 200:
            raise OSError(f"the metrics page answers {answer.status}")
        return b"".join(parts).decode("utf-8", errors="replace")

    async def close(self) -> None:
        """Close its connections."""
        await self._backend.close()
