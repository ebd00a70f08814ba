"""The OpenAI API: each request an exchange, judged, recorded, forwarded, relayed."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from gateway.listener.client import HttpClient
from gateway.listener.router import Handler, Route
from gateway.pipeline.drive import Exchange
from gateway.pipeline.judge import Bench, LlmJudge
from gateway.pipeline.surroundings import Surroundings
from gateway.wire.errors import openai_error_body
from gateway.wire.headers import clean_request_id
from gateway.wire.openai import Operation


class OpenAiProxy:
    """Serves the `/v1` routes."""

    def __init__(self, bench: Bench, around: Surroundings, *, body_bytes_max: int) -> None:
        self._bench = bench
        self._around = around
        self._body_bytes_max = body_bytes_max

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        posts = (Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDING)
        models = self._handler(Operation.MODELS)
        return (
            *(self._route("POST", operation.path, self._handler(operation)) for operation in posts),
            self._route("GET", Operation.MODELS.path, models),
            self._route("GET", f"{Operation.MODELS.path}/*", models),
        )

    def _route(self, method: str, path: str, handler: Handler) -> Route:
        return Route(method, path, handler, openai_error_body, self._body_bytes_max)

    def _handler(self, operation: Operation) -> Handler:
        def handle(client: HttpClient) -> Awaitable[None]:
            principal = self._bench.live.snapshot.keys.principal(client.header("authorization"))
            judge = LlmJudge(
                self._bench,
                operation,
                path=client.path,
                principal=principal,
                headers=client.raw_headers,
                request_id=client.request_id,
                traceparent=clean_request_id(client.header("traceparent")),
            )
            # Handed out and not awaited here: whatever wakes an exchange passes through every frame.
            return Exchange(client, judge, self._around, request_id=client.request_id).run()

        return handle
