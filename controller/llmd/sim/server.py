"""The simulated llm-d over HTTP: vLLM's OpenAI API, with the endpoint picker's headers and statuses.

`EmbeddedSim` runs it inside a loop that is there; `command.sim` runs it alone. A client that goes away
frees its place at once, queued or running, streamed or not. Binds to loopback unless told otherwise, asks
for no credential, and must never be mistaken for a model.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

from controller.llmd.sim.anthropic_in import read_message
from controller.llmd.sim.anthropic_out import error_object
from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.config import SimConfig
from controller.llmd.sim.driver import Driver
from controller.llmd.sim.exchange import IDENTITY, Exchange, Ids, Site, fault_error
from controller.llmd.sim.fields import ApiError, read_body
from controller.llmd.sim.operations import Operations, json_response
from controller.llmd.sim.pool import Pool
from controller.llmd.sim.telemetry import Telemetry
from controller.llmd.sim.text import digest, token_id, tokenize
from controller.llmd.sim.wire import (
    Generation,
    read_chat,
    read_completion,
    read_embedding,
    read_generate,
    read_response,
)

SHUTDOWN_S: Final = 0.5
"""Grace for open connections when the simulator stops: nobody's data is at stake."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SimServer:
    """The handlers of one simulated llm-d. Made by `build_app`."""

    def __init__(
        self,
        config: SimConfig,
        wall_s: Callable[[], float] | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cluster = Cluster(config, per_token=True)
        self.telemetry = Telemetry(self.cluster, config.time_scale, config.rank)
        self.driver = Driver(self.cluster, self.telemetry, config.time_scale, monotonic_s)
        self.site = Site(config, self.driver, Ids(wall_s))
        self.operations = Operations(self.site, self.cluster)

    async def run(self, _app: web.Application) -> Any:
        """Hold the driver while the application runs."""
        self.driver.start()
        self.operations.start()
        yield
        self.driver.stop()

    async def drain(self, _app: web.Application) -> None:
        """Refuse what waits in the picker: it shuts down."""
        self.driver.drain()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        return await self._generate(request, read_chat)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/completions."""
        return await self._generate(request, read_completion)

    async def responses(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/responses."""
        return await self._generate(request, read_response)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/messages, Anthropic's API."""
        return await self._generate(request, read_message)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """POST /inference/v1/generate, vLLM's own: token ids in and out; the first model unless named."""
        first = self.site.config.models[0].name
        return await self._generate(request, lambda data: read_generate({"model": first} | data))

    async def count_tokens(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/messages/count_tokens: how long the prompt of a message is."""
        [ids] = await self._rendered(request, lambda data: read_message(data, counting=True))
        return json_response({"input_tokens": len(ids)})

    async def render_chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions/render: the prompt in token ids, and no answer."""
        [ids] = await self._rendered(request, read_chat)
        return json_response({"token_ids": ids})

    async def render_completion(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/completions/render: each prompt in token ids, and no answer."""
        return json_response([{"token_ids": ids} for ids in await self._rendered(request, read_completion)])

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/embeddings."""
        body = await request.read()
        embedding = read_embedding(read_body(body))
        exchange = self._exchange(request, embedding.model, len(body))
        return await exchange.embed(embedding)

    async def models(self, _request: web.Request) -> web.StreamResponse:
        """GET /v1/models."""
        cards = [
            self._card(name, pool)
            for pool in self.cluster.pools.values()
            for name in (pool.config.name, *pool.config.aliases, *pool.loras)
        ]
        return json_response({"object": "list", "data": cards})

    async def model(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/models/{name}."""
        name = request.match_info["name"]
        return json_response(self._card(name, self._pool(name)))

    async def tokenize(self, request: web.Request) -> web.StreamResponse:
        """POST /tokenize: text or messages in, count and token numbers out."""
        data = read_body(await request.read())
        model = self._pool(str(data.get("model") or self.site.config.models[0].name)).config
        if "messages" in data:
            prompt = read_chat(data | {"model": model.name}).prompts[0]
            text = prompt if isinstance(prompt, str) else ""
        elif isinstance(data.get("prompt"), str):
            text = data["prompt"]
        else:
            raise ApiError(400, "prompt must be text, or messages a list", param="prompt")
        tokens = tokenize(text)
        answer: dict[str, Any] = {
            "count": len(tokens),
            "max_model_len": model.engine.context_max,
            "tokens": [token_id(token) for token in tokens],
        }
        answer["token_strs"] = tokens if data.get("return_token_strs") is True else None
        return json_response(answer)

    # --- the inside ------------------------------------------------------------------------------

    async def _generate(
        self, request: web.Request, read: Callable[[dict[str, Any]], Generation]
    ) -> web.StreamResponse:
        body = await request.read()
        generation = read(read_body(body))
        exchange = self._exchange(request, generation.model, len(body))
        return await exchange.generate(generation)

    async def _rendered(
        self, request: web.Request, read: Callable[[dict[str, Any]], Generation]
    ) -> list[list[int]]:
        """Return the prompts of a body in token ids."""
        generation = read(read_body(await request.read()))
        self._pool(generation.model)
        return [
            [token_id(token) for token in tokenize(prompt)] if isinstance(prompt, str) else list(prompt)
            for prompt in generation.prompts
        ]

    def _exchange(self, request: web.Request, name: str, body_bytes: int) -> Exchange:
        """Begin an exchange with a model, past the failures that the caller asked for."""
        fault_error(request.headers)
        exchange = Exchange(self.site, request, name, body_bytes)
        pool = self._pool(exchange.target)
        exchange.model = pool.config
        exchange.lora = exchange.target if exchange.target in pool.loras else ""
        if not self.cluster.serves(name):  # a label of metrics must be one of a few
            exchange.asked = "other"
        return exchange

    def _pool(self, name: str) -> Pool:
        try:
            return self.cluster.pool(name)
        except KeyError:
            message = f"The model `{name}` does not exist."
            raise ApiError(404, message, kind="NotFoundError", param="model") from None

    def _card(self, name: str, pool: Pool) -> dict[str, Any]:
        lora = pool.loras.get(name)
        return {
            "id": name,
            "object": "model",
            "created": self.site.ids.started,
            "owned_by": "lumyn-sim",
            "root": pool.config.name if lora is None else lora or name,
            "parent": None if lora is None else pool.config.name,
            "max_model_len": pool.config.engine.context_max,
        }


def _error_response(path: str, error: ApiError) -> web.Response:
    kind = "text/plain" if error.plain else "application/json"
    if error.plain:
        body = error.message.encode()
    elif path.startswith("/v1/messages"):
        body = orjson.dumps(error_object(error))
    else:
        body = error.body()
    return web.Response(status=error.status, body=body, content_type=kind, headers=error.headers)


def _made_id(request: web.Request) -> str:
    return digest(str(id(request)), str(asyncio.get_running_loop().time()))


def _identity(config: SimConfig, request: web.Request) -> dict[str, str]:
    """The headers of llm-d-inference-sim: the request id, and where the answer came from."""
    headers = {}
    if config.request_id_headers:
        given = request.headers.get("X-Request-Id", "")
        headers["X-Request-Id"] = given if 0 < len(given) <= 256 else _made_id(request)
    if config.pod:
        headers["x-inference-pod"] = config.pod
        headers["x-inference-namespace"] = config.namespace
        name = request.transport.get_extra_info("sockname") if request.transport is not None else None
        headers["x-inference-port"] = str(name[1]) if name else ""
    return headers


def build_app(
    config: SimConfig, wall_s: Callable[[], float] | None = None, server: SimServer | None = None
) -> web.Application:
    """Return the application. `wall_s` gives wall seconds for `created`; the loop's clock drives the engine.

    Run it with `handler_cancellation=True` (`web.AppRunner`, `web.run_app`), so that a client who leaves
    cancels its handler; without that, only streams notice.
    """
    server = server or SimServer(config, wall_s)

    @web.middleware
    async def shape(request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Give every answer its identity, and every error vLLM's shape."""
        request[IDENTITY] = identity = _identity(config, request)
        try:
            response = await handler(request)
        except ApiError as error:
            response = _error_response(request.path, error)
        except web.HTTPRequestEntityTooLarge:
            too_large = ApiError(413, f"the request body is over {config.body_mb_max} MiB")
            response = _error_response(request.path, too_large)
        except web.HTTPException as error:
            kind = "NotFoundError" if error.status == 404 else "BadRequestError"
            response = _error_response(request.path, ApiError(error.status, error.reason, kind=kind))
        if not response.prepared:
            response.headers.update(identity)
        return response

    app = web.Application(client_max_size=config.body_mb_max * 1024 * 1024, middlewares=[shape])
    app.cleanup_ctx.append(server.run)
    app.on_shutdown.append(server.drain)
    app.add_routes(_routes(server, server.operations))
    return app


def _routes(server: SimServer, operations: Operations) -> list[web.RouteDef]:
    """Return every path, as vLLM and llm-d-inference-sim have them."""
    return [
        web.post("/v1/chat/completions", server.chat),
        web.post("/v1/chat/completions/render", server.render_chat),
        web.post("/v1/completions", server.completions),
        web.post("/v1/completions/render", server.render_completion),
        web.post("/v1/responses", server.responses),
        web.post("/v1/messages", server.messages),
        web.post("/v1/messages/count_tokens", server.count_tokens),
        web.post("/v1/embeddings", server.embeddings),
        web.post("/inference/v1/generate", server.generate),
        web.get("/v1/models", server.models),
        web.get("/v1/models/{name:.+}", server.model),
        web.post("/v1/load_lora_adapter", operations.load_lora),
        web.post("/v1/unload_lora_adapter", operations.unload_lora),
        web.post("/tokenize", server.tokenize),
        web.get("/health", operations.health),
        web.get("/ready", operations.ready),
        web.get("/health/ready", operations.ready),
        web.get("/metrics", operations.metrics),
        web.get("/admin/config", operations.show_config),
        web.post("/admin/config", operations.change_config),
        web.post("/fake_metrics", operations.change_fake_metrics),
        web.post("/sleep", operations.sleep),
        web.post("/wake_up", operations.wake_up),
        web.get("/is_sleeping", operations.is_sleeping),
    ]


class EmbeddedSim:
    """A simulated llm-d inside a loop that is running: `start`, use the base URL, `stop`.

    `wall_s` dates answers; `monotonic_s` is the clock that the engines run on.
    """

    def __init__(
        self,
        config: SimConfig,
        wall_s: Callable[[], float] | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._clocks = (wall_s, monotonic_s)
        self._server: SimServer | None = None
        self._runner: web.AppRunner | None = None

    @property
    def driver(self) -> Driver:
        """What runs the cluster while it is started; for tests and measurements."""
        assert self._server is not None, "the simulator is not started"
        return self._server.driver

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, ssl_context: ssl.SSLContext | None = None
    ) -> str:
        """Listen and return the base URL, without a path; port 0 takes a free one. Raise OSError."""
        self._server = SimServer(self._config, *self._clocks)
        app = build_app(self._config, server=self._server)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, host, port, backlog=1024, ssl_context=ssl_context).start()
        except OSError:
            await self.stop()
            raise
        bound = runner.addresses[0]
        address = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        return f"{'https' if ssl_context else 'http'}://{address}:{bound[1]}"

    async def stop(self) -> None:
        """Stop listening and cut what is open; harmless when not started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
