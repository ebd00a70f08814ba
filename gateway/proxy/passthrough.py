"""Other paths of a backend: decided, recorded, passed on as they came; only those that are configured."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from gateway.config import PassthroughConfig
from gateway.listener.client import HttpClient
from gateway.listener.router import Handler, Route
from gateway.pipeline.drive import Exchange
from gateway.pipeline.judge import Bench
from gateway.pipeline.ports import Backend
from gateway.pipeline.surroundings import Surroundings
from gateway.pipeline.unread import Unread, UnreadJudge
from gateway.wire.errors import openai_error_body
from gateway.wire.headers import clean_request_id
from gateway.wire.unread import check_unread


class PassThrough:
    """Serves the configured patterns."""

    def __init__(
        self,
        bench: Bench,
        around: Surroundings,
        configured: Sequence[PassthroughConfig],
        backends: Mapping[str, Backend],
    ) -> None:
        """`backends` by name; a pattern without a name takes the only one."""
        self._bench = bench
        self._around = around
        self._configured = configured
        self._backends = backends

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return [
            Route(method, one.path, self._handler(one), openai_error_body, one.body_bytes_max, any_media=True)
            for one in self._configured
            for method in one.methods
        ]

    def _handler(self, configured: PassthroughConfig) -> Handler:
        name = configured.backend
        backend = next(iter(self._backends.values())) if name is None else self._backends[name]

        def handle(client: HttpClient) -> Awaitable[None]:
            principal = self._bench.live.snapshot.keys.principal(client.header("authorization"))
            check_unread(client.path, client.query_string)
            unread = Unread(
                method=client.method,
                path=client.path,
                query=client.query_string,
                headers=client.raw_headers,
                request_id=client.request_id,
                traceparent=clean_request_id(client.header("traceparent")),
            )
            judge = UnreadJudge(self._bench, backend, unread, principal)
            return Exchange(client, judge, self._around, request_id=client.request_id).run()

        return handle
