"""The APIs of models: OpenAI's, and Anthropic's messages. Each request is an exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from gateway.listener.client import ErrorShape, HttpClient
from gateway.listener.router import Handler, Route
from gateway.pipeline.drive import Exchange
from gateway.pipeline.judge import Bench, LlmJudge
from gateway.pipeline.surroundings import Surroundings
from gateway.wire.errors import anthropic_error_body, openai_error_body
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
        posts = (Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDING, Operation.RESPONSE)
        models = self._handler(Operation.MODELS)
        message = self._handler(Operation.MESSAGE)
        return (
            *(self._route("POST", operation.path, self._handler(operation)) for operation in posts),
            self._route("POST", Operation.MESSAGE.path, message, anthropic_error_body),
            self._route("GET", Operation.MODELS.path, models),
            self._route("GET", f"{Operation.MODELS.path}/**", models),
        )

    def _route(
        self, method: str, path: str, handler: Handler, shape: ErrorShape = openai_error_body
    ) -> Route:
        return Route(method, path, handler, shape, self._body_bytes_max)

    def _handler(self, operation: Operation) -> Handler:
        def handle(client: HttpClient) -> Awaitable[None]:
            credential = client.header("authorization")
            if operation is Operation.MESSAGE and (key := client.header("x-api-key")) is not None:
                credential = f"Bearer {key}"
            principal = self._bench.live.snapshot.keys.principal(credential)
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
