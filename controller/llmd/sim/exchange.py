"""One HTTP exchange with a simulated model: submit, wait or stream, free everything at the end.

Must never leave a request in the cluster: whatever ends the handler, `finally` cancels what is left.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import orjson
from aiohttp import web

from controller.llmd.sim.answer import Answer, Prompt, count_prompt, plan_answer, room_for
from controller.llmd.sim.anthropic_out import MessageStream, message_body
from controller.llmd.sim.cluster import REFUSED
from controller.llmd.sim.config import ModelConfig, SimConfig
from controller.llmd.sim.draws import uniform
from controller.llmd.sim.driver import Channel, Driver
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.intent import DROPPED_REASON, QUEUE_DURATION, in_engine_time, read_intent
from controller.llmd.sim.responses import ResponseStream, response_body
from controller.llmd.sim.shapes import (
    ChatStream,
    CompletionStream,
    Head,
    StreamShape,
    Usage,
    chat_body,
    completion_body,
)
from controller.llmd.sim.text import digest
from controller.llmd.sim.types import Dropped, Part, SimRequest
from controller.llmd.sim.wire import Embedding, Generation

_KINDS: Final = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    429: "rate_limit_error",
    500: "InternalServerError",
    503: "server_error",
}
_PREFIXES: Final = {"chat": "chatcmpl-", "completion": "cmpl-", "response": "resp_", "message": "msg_"}
IDENTITY: Final = web.RequestKey("identity", dict[str, str])
"""Where the server keeps the headers that every answer carries."""
DIMENSIONS_MAX: Final = 8192
"""The largest embedding models give 4,096."""


class Ids:
    """Numbers answers and dates them. Without a clock every answer is of second 0."""

    def __init__(self, wall_s: Callable[[], float] | None) -> None:
        self._wall_s = wall_s
        self._count = count()
        self.started = self.now()

    def now(self) -> int:
        """Return wall seconds."""
        return int(self._wall_s()) if self._wall_s is not None else 0

    def next(self) -> str:
        """Return the next internal request id."""
        return f"r{next(self._count)}"


def fault_error(headers: Mapping[str, str]) -> None:
    """Fail as `X-Return-Error: <status>` asks; a value that is no error status is itself a 400."""
    asked = headers.get("X-Return-Error")
    if asked is None:
        return
    if not asked.isascii() or not asked.isdigit() or not 400 <= int(asked[:4]) <= 599:
        raise ApiError(400, f"X-Return-Error must be a status from 400 to 599, got {asked[:32]!r}")
    status = int(asked)
    raise ApiError(
        status, "failure asked for by X-Return-Error", kind=_KINDS.get(status, "InternalServerError")
    )


class Exchange:
    """One request and its answer."""

    def __init__(
        self, config: SimConfig, driver: Driver, ids: Ids, request: web.Request, name: str, body_bytes: int
    ) -> None:
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.intent = in_engine_time(read_intent(headers, config.router.version), config.time_scale)
        rewrite = self.intent.model_rewrite if config.router.enabled else None
        self.target = rewrite or name
        self.model: ModelConfig
        self._config = config
        self._driver = driver
        self._ids = ids
        self._request = request
        self._body_bytes = body_bytes
        self._request_id = ids.next()

    async def generate(self, generation: Generation) -> web.StreamResponse:
        """Answer a request for text."""
        prompts, answers = self._planned(generation)
        channel = Channel(len(answers))
        answer_id = _PREFIXES[generation.api] + digest(str(self._config.seed), self._request_id)
        head = Head(answer_id, self._ids.now(), self.target)
        echoes = [prompts[index].text if generation.echo else "" for index in range(len(answers))]
        if generation.stream:
            shape = _shape(generation, head, answers, echoes, prompts[0].tokens)
            channel.on_token = shape.token
            channel.on_finished = shape.finished
        else:
            shape = None
        try:
            self._submit(generation, prompts, answers, channel)
            if shape is not None:
                await self._dispatched(channel)
                return await self._stream(channel, shape, prompts, answers)
            await self._finished(channel)
        finally:
            self._driver.cancel(self._request_id)
        usage = self._usage(channel, prompts, answers)
        return self._json(_body(generation, head, answers, echoes, usage), channel)

    async def embed(self, embedding: Embedding) -> web.StreamResponse:
        """Answer a request for vectors: a prompt without decoding."""
        dimensions = embedding.dimensions or self._config.embedding_dimensions
        if dimensions > DIMENSIONS_MAX:
            raise ApiError(400, f"dimensions must be at most {DIMENSIONS_MAX}", param="dimensions")
        prompts = [count_prompt(self.model, text) for text in embedding.inputs]
        for prompt in prompts:
            room_for(self.model, prompt, 0)
        channel = Channel(len(prompts))
        first, *parts = [Part(prompt.tokens, 0, prompt.prefix) for prompt in prompts]
        try:
            self._send(first, tuple(parts), channel, ("stop",) * len(prompts), 0, 0)
            await self._finished(channel)
        finally:
            self._driver.cancel(self._request_id)
        total = sum(prompt.tokens for prompt in prompts)
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _vector(prompt, self._config, dimensions, embedding),
            }
            for index, prompt in enumerate(prompts)
        ]
        usage = {
            "prompt_tokens": total,
            "total_tokens": total,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        }
        body = {
            "id": f"embd-{digest(self._request_id)}",
            "object": "list",
            "created": self._ids.now(),
            "model": self.target,
            "data": data,
            "usage": usage,
        }
        return self._json(body, channel)

    # --- the inside ------------------------------------------------------------------------------

    def _planned(self, generation: Generation) -> tuple[list[Prompt], list[Answer]]:
        """Return a prompt and an answer for every choice of every prompt."""
        prompts: list[Prompt] = []
        answers: list[Answer] = []
        for text in generation.prompts:
            prompt = count_prompt(self.model, text, salt=generation.cache_salt)
            room = room_for(self.model, prompt, generation.max_tokens)
            for choice in range(generation.choices):
                prompts.append(prompt)
                answers.append(plan_answer(self._config, generation, prompt, choice, room))
        return prompts, answers

    def _submit(
        self, generation: Generation, prompts: list[Prompt], answers: list[Answer], channel: Channel
    ) -> None:
        first, *parts = [
            Part(prompt.tokens, answer.tokens, prompt.prefix, prompt.blocks_of(answer))
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        reasons = tuple(answer.finish_reason for answer in answers)
        maximum = generation.max_tokens or self.model.engine.context_max - prompts[0].tokens
        self._send(first, tuple(parts), channel, reasons, maximum, generation.priority)

    def _send(
        self,
        first: Part,
        parts: tuple[Part, ...],
        channel: Channel,
        reasons: tuple[str, ...],
        maximum: int,
        priority: int,
    ) -> None:
        request = SimRequest(
            self._request_id,
            self.model.name,
            first.prompt_tokens,
            first.output_tokens,
            self.intent,
            priority,
            first.prefix,
            self._body_bytes,
            parts,
            first.answer_blocks,
        )
        self._driver.submit(request, channel, reasons, maximum)

    async def _dispatched(self, channel: Channel) -> None:
        while channel.dispatched is None and channel.dropped is None:
            await channel.changed()
        if channel.dispatched is None:
            self._raise_if_dropped(channel)

    async def _finished(self, channel: Channel) -> None:
        while not channel.over:
            await channel.changed()
        self._raise_if_dropped(channel)

    def _raise_if_dropped(self, channel: Channel) -> None:
        if channel.dropped is None:
            return
        if channel.dropped.outcome == REFUSED and self._request.transport is not None:
            self._request.transport.abort()
            raise ConnectionResetError(channel.dropped.message)
        raise self._dropped_error(channel.dropped)

    def _dropped_error(self, dropped: Dropped) -> ApiError:
        version = self._config.router.version
        headers = {}
        if dropped.reason is not None and version != "gaie":
            headers[DROPPED_REASON] = dropped.reason
        plain = dropped.kind == "router" and version != "0.11"
        kind = _KINDS.get(dropped.status, "server_error")
        return ApiError(dropped.status, dropped.message, kind=kind, headers=headers, plain=plain)

    def _headers(self, channel: Channel) -> dict[str, str]:
        """The picker's response headers, on requests that flow control handled."""
        dispatched = channel.dispatched
        if dispatched is None or dispatched.queue_s is None or self._config.router.version != "0.11":
            return {}
        return {QUEUE_DURATION: str(int(dispatched.queue_s * 1000 / self._config.time_scale))}

    def _usage(self, channel: Channel, prompts: list[Prompt], answers: list[Answer]) -> Usage:
        """Prompt tokens count once a prompt, however many choices it has."""
        distinct = {prompt.key: prompt.tokens for prompt in prompts}
        cached = max((event.cached_tokens for event in channel.finished), default=0)
        return Usage(sum(distinct.values()), sum(answer.tokens for answer in answers), cached)

    def _json(self, body: Any, channel: Channel) -> web.Response:
        response = web.Response(body=orjson.dumps(body), content_type="application/json")
        response.headers.update(self._headers(channel))
        return response

    async def _stream(
        self, channel: Channel, shape: StreamShape, prompts: list[Prompt], answers: list[Answer]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        response.headers.update(self._headers(channel))
        response.headers.update(self._request[IDENTITY])
        await response.prepare(self._request)
        while True:
            over = channel.over
            if channel.chunks:
                chunks, channel.chunks = channel.chunks, []
                await response.write(b"".join(chunks) if len(chunks) > 1 else chunks[0])
            elif over:
                break
            else:
                await channel.changed()
        if channel.dropped is not None:
            # the status is sent: the stream says what happened and ends without its end mark
            await response.write(shape.broken(self._dropped_error(channel.dropped)))
        else:
            await response.write(shape.end(self._usage(channel, prompts, answers)))
        await response.write_eof()
        return response


def _shape(
    generation: Generation, head: Head, answers: list[Answer], echoes: list[str], prompt_tokens: int
) -> StreamShape:
    match generation.api:
        case "chat":
            return ChatStream(head, answers, include_usage=generation.include_usage)
        case "completion":
            return CompletionStream(head, answers, echoes, include_usage=generation.include_usage)
        case "response":
            return ResponseStream(head, answers[0])
        case "message":
            return MessageStream(head, answers[0], prompt_tokens)


def _body(
    generation: Generation, head: Head, answers: list[Answer], echoes: list[str], usage: Usage
) -> dict[str, Any]:
    match generation.api:
        case "chat":
            return chat_body(head, answers, usage)
        case "completion":
            return completion_body(head, answers, echoes, usage)
        case "response":
            return response_body(head, answers[0], usage)
        case "message":
            return message_body(head, answers[0], usage)


def _vector(prompt: Prompt, config: SimConfig, dimensions: int, embedding: Embedding) -> list[float] | str:
    """Return a unit vector that depends on the seed and the text only."""
    raw = [uniform(config.seed, "vector", f"{prompt.key}/{index}") - 0.5 for index in range(dimensions)]
    norm = sum(value * value for value in raw) ** 0.5 or 1.0
    values = [value / norm for value in raw]
    if not embedding.base64:
        return values
    return base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode()
