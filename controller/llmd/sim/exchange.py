"""One HTTP exchange with a simulated model: submit, wait or stream, free everything at the end.

Must never leave a request in the cluster: whatever ends the handler, `finally` cancels what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import orjson
from aiohttp import web

from controller.llmd.sim.answer import COLD, Answer, Prompt, count_prompt, plan_answer, room_for
from controller.llmd.sim.apis import ID_PREFIXES, body_of, stream_of
from controller.llmd.sim.config import ModelConfig, SimConfig
from controller.llmd.sim.draws import normal, uniform
from controller.llmd.sim.driver import Channel, Driver
from controller.llmd.sim.embedding import DIMENSIONS_MAX, embedding_body
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.formula import drawn_ms
from controller.llmd.sim.images import image_chunk, with_images
from controller.llmd.sim.intent import DROPPED_REASON, QUEUE_DURATION, in_engine_time, read_intent
from controller.llmd.sim.pool import REFUSED
from controller.llmd.sim.reports import ORCA_ASKED, orca_headers, request_metrics
from controller.llmd.sim.shapes import Head, StreamShape, Usage
from controller.llmd.sim.telemetry import Arrival
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
IDENTITY: Final = web.RequestKey("identity", dict[str, str])
"""Where the server keeps the headers that every answer carries."""
ALWAYS_COLD: Final = 2.0
"""A share of the prompt that no cache holds."""
_TRUE: Final = {"1", "t", "true"}
"""What Go's ParseBool takes for true, in lower case."""


class Ids:
    """Numbers answers and dates them. Without a clock every answer is of second 0."""

    def __init__(self, wall_s: Callable[[], float] | None) -> None:
        self._wall_s = wall_s
        self._count = count()
        self.started = self.now()

    def wall_s(self) -> float:
        """Return wall seconds, with their fraction."""
        return self._wall_s() if self._wall_s is not None else 0.0

    def now(self) -> int:
        """Return wall seconds."""
        return int(self.wall_s())

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


@dataclass(slots=True)
class Site:
    """What every exchange of a server shares; the configuration is replaced when it is changed."""

    config: SimConfig
    driver: Driver
    ids: Ids


class Exchange:
    """One request and its answer. The server says which `model` and which adapter, `lora`, `target` means."""

    def __init__(self, site: Site, request: web.Request, name: str, body_bytes: int) -> None:
        config = site.config
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.intent = in_engine_time(read_intent(headers, config.router.version), config.time_scale)
        rewrite = self.intent.model_rewrite if config.router.enabled else None
        self.asked = name
        self.target = rewrite or name
        self.model: ModelConfig
        self.lora = ""
        self._headers = headers
        self._config = config
        self._driver = site.driver
        self._ids = site.ids
        self._request = request
        self._body_bytes = body_bytes
        self._request_id = site.ids.next()

    async def generate(self, generation: Generation) -> web.StreamResponse:
        """Answer a request for text."""
        prompts, answers = self._planned(generation)
        channel = Channel(len(answers))
        answer_id = ID_PREFIXES[generation.api] + digest(str(self._config.seed), self._request_id)
        head = Head(answer_id, self._ids.now(), self.target)
        echoes = [prompts[index].text if generation.echo else "" for index in range(len(answers))]
        imaged = self._gives_image(generation)
        shape = None
        if generation.stream:
            shape = stream_of(generation, head, answers, echoes, prompts[0].tokens)
            channel.on_token = shape.token
            channel.on_finished = shape.finished if not imaged else lambda _part, _cold: b""
        try:
            self._submit(generation, prompts, answers, channel)
            if shape is not None:
                await self._dispatched(channel)
                response = await self._stream(channel, shape)
                if imaged and channel.dropped is None:
                    await self._image_time()
                    for index in range(len(answers)):
                        await response.write(image_chunk(head, index) + shape.finished(index))
                if channel.dropped is None:
                    await response.write(shape.end(self._usage(generation, channel, prompts, answers)))
                await response.write_eof()
                return response
            await self._finished(channel)
        finally:
            self._driver.cancel(self._request_id)
        told = [COLD if index in channel.cold else answer for index, answer in enumerate(answers)]
        body = body_of(generation, head, told, echoes, self._usage(generation, channel, prompts, answers))
        if imaged:
            await self._image_time()
            body = with_images(body)
        return self._json(body, channel)

    async def embed(self, embedding: Embedding) -> web.StreamResponse:
        """Answer a request for vectors: a prompt without decoding."""
        dimensions = embedding.dimensions or self._config.embedding_dimensions
        if dimensions > DIMENSIONS_MAX:
            raise ApiError(400, f"dimensions must be at most {DIMENSIONS_MAX}", param="dimensions")
        prompts = [count_prompt(self.model, text, salt=self._salt("")) for text in embedding.inputs]
        for prompt in prompts:
            room_for(self.model, prompt, 0)
        channel = Channel(len(prompts))
        parts = [Part(prompt.tokens, 0, prompt.prefix) for prompt in prompts]
        try:
            self._send(parts, channel, ("stop",) * len(prompts), 0)
            await self._finished(channel)
        finally:
            self._driver.cancel(self._request_id)
        head = Head(f"embd-{digest(self._request_id)}", self._ids.now(), self.target)
        seed, as_base64 = self._config.seed, embedding.base64
        return self._json(embedding_body(head, prompts, seed, dimensions, as_base64=as_base64), channel)

    # --- the inside ------------------------------------------------------------------------------

    def _planned(self, generation: Generation) -> tuple[list[Prompt], list[Answer]]:
        """Return a prompt and an answer for every choice of every prompt."""
        prompts: list[Prompt] = []
        answers: list[Answer] = []
        for text in generation.prompts:
            prompt = count_prompt(self.model, text, salt=self._salt(generation.cache_salt))
            room = room_for(self.model, prompt, generation.max_tokens)
            for choice in range(generation.choices):
                prompts.append(prompt)
                answers.append(plan_answer(self._config, generation, prompt, choice, room))
        return prompts, answers

    def _salt(self, cache_salt: str) -> str:
        """Return what keeps blocks of equal tokens apart: other adapters, other salts, other seeds."""
        parts = (self._config.hash_seed, self.lora, cache_salt)
        return "\x1e".join(parts) if any(parts) else ""

    def _gives_image(self, generation: Generation) -> bool:
        omni = self._config.omni
        if not omni.enabled or generation.api != "chat":
            return False
        drawn = uniform(self._config.seed, "image", self._request_id) < omni.image_rate
        return drawn or self._headers.get("x-send-image", "").lower() in _TRUE

    async def _image_time(self) -> None:
        omni = self._config.omni
        draw = normal(self._config.seed, "image", self._request_id) if omni.image_std_ms else 0.0
        took_ms = drawn_ms(omni.image_ms, omni.image_std_ms, draw)
        await asyncio.sleep(took_ms / 1000 / self._config.time_scale)

    def _submit(
        self, generation: Generation, prompts: list[Prompt], answers: list[Answer], channel: Channel
    ) -> None:
        parts = [
            Part(prompt.tokens, answer.tokens, prompt.prefix, prompt.blocks_of(answer))
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        reasons = tuple(answer.finish_reason for answer in answers)
        maximum = generation.max_tokens or self.model.engine.context_max - prompts[0].tokens
        self._send(parts, channel, reasons, maximum, generation)

    def _send(
        self,
        parts: list[Part],
        channel: Channel,
        reasons: tuple[str, ...],
        maximum: int,
        generation: Generation | None = None,
    ) -> None:
        first, *rest = parts
        priority = generation.priority if generation is not None else 0
        request = SimRequest(
            self._request_id,
            self.model.name,
            first.prompt_tokens,
            first.output_tokens,
            self.intent,
            -priority if self._config.dialect == "sglang" else priority,
            first.prefix,
            self._body_bytes,
            tuple(rest),
            first.answer_blocks,
            self.lora,
            generation is not None and generation.remote_prefill,
            self._hit_rate_min(generation) if generation is not None else 0.0,
        )
        names = (self.asked, self.target)
        arrival = Arrival(self.model.name, first.prompt_tokens, maximum, reasons, *names, self.intent)
        self._driver.submit(request, channel, arrival)

    def _hit_rate_min(self, generation: Generation) -> float:
        """Return how much of the prompt must be cached: as the header forces, the body asks, or set up."""
        if self._headers.get("x-cache-threshold-finish-reason", "").lower() in _TRUE:
            return ALWAYS_COLD
        engine = self.model.engine
        if not engine.prefix_caching:
            return 0.0
        return engine.hit_rate_min if generation.hit_rate_min is None else generation.hit_rate_min

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

    def _response_headers(self, channel: Channel) -> dict[str, str]:
        """The picker's headers, on requests that flow control handled, and the load that was asked for."""
        dispatched = channel.dispatched
        if dispatched is None:
            return {}
        headers = {}
        if dispatched.queue_s is not None and self._config.router.version == "0.11":
            headers[QUEUE_DURATION] = str(int(dispatched.queue_s * 1000 / self._config.time_scale))
        asked = self._headers.get(ORCA_ASKED)
        if asked is not None:
            headers |= orca_headers(asked, self._driver.load_of(self.model.name, dispatched.replica))
        return headers

    def _usage(
        self, generation: Generation, channel: Channel, prompts: list[Prompt], answers: list[Answer]
    ) -> Usage:
        """Prompt tokens count once a prompt, however many choices it has."""
        distinct = {prompt.key: prompt.tokens for prompt in prompts}
        said = sum(answer.tokens for index, answer in enumerate(answers) if index not in channel.cold)
        cached = max((event.cached_tokens for event in channel.finished), default=0)
        metrics: dict[str, Any] | None = None
        if self._config.per_request_metrics and generation.api in {"chat", "completion"}:
            alone = len(answers) == 1 and not channel.cold
            metrics = request_metrics(channel.finished[0], self._config.time_scale) if alone else {}
        return Usage(sum(distinct.values()), said, cached, metrics)

    def _json(self, body: Any, channel: Channel) -> web.Response:
        response = web.Response(body=orjson.dumps(body), content_type="application/json")
        response.headers.update(self._response_headers(channel))
        return response

    async def _stream(self, channel: Channel, shape: StreamShape) -> web.StreamResponse:
        """Send the stream up to its end mark; or, when it was cut, why."""
        response = web.StreamResponse(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        response.headers.update(self._response_headers(channel))
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
        return response
