"""The simulated llm-d over HTTP: vLLM's OpenAI API, with the endpoint picker's headers and statuses.

`EmbeddedSim` runs it inside a loop that is there; `command.sim` runs it alone. A client that goes away
frees its place at once, queued or running, streamed or not. Binds to loopback unless told otherwise, asks
for no credential, and must never be mistaken for a model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import orjson
from aiohttp import web

from controller.llmd.sim.admin import changed_faults, shown
from controller.llmd.sim.answer import count_prompt
from controller.llmd.sim.anthropic_in import read_message
from controller.llmd.sim.anthropic_out import error_object
from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.config import Faults, ModelConfig, SimConfig, SimConfigError
from controller.llmd.sim.driver import Driver
from controller.llmd.sim.exchange import IDENTITY, Exchange, Ids, fault_error
from controller.llmd.sim.fields import ApiError, read_body
from controller.llmd.sim.telemetry import Telemetry
from controller.llmd.sim.text import digest, token_id, tokenize
from controller.llmd.sim.wire import (
    Generation,
    read_chat,
    read_completion,
    read_embedding,
    read_response,
)

BODY_BYTES_MAX: Final = 20 * 1024 * 1024
"""A million-token prompt is 4 MiB of text; a few images in base64 come to 20."""
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
        self.config = config
        self.cluster = Cluster(config, per_token=True)
        self.telemetry = Telemetry(self.cluster, config.time_scale)
        self.driver = Driver(self.cluster, self.telemetry, config.time_scale, monotonic_s)
        only = config.faults.model
        self._faults = {
            model.name: Faults() if only not in {"", model.name, *model.aliases} else config.faults
            for model in config.models
        }
        self._ids = Ids(wall_s)
        self._started = 0.0

    async def run(self, _app: web.Application) -> Any:
        """Hold the driver while the application runs."""
        self.driver.start()
        self._started = asyncio.get_running_loop().time()
        yield
        self.driver.stop()

    async def drain(self, _app: web.Application) -> None:
        """Refuse what waits in the picker: it shuts down."""
        self.driver.drain()

    # --- the model API ---------------------------------------------------------------------------

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

    async def count_tokens(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/messages/count_tokens: how long the prompt of a message is."""
        generation = read_message(read_body(await request.read()), counting=True)
        prompt = count_prompt(self._model(generation.model), generation.prompts[0])
        return _json({"input_tokens": prompt.tokens})

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/embeddings."""
        body = await request.read()
        embedding = read_embedding(read_body(body))
        exchange = self._exchange(request, embedding.model, len(body))
        return await exchange.embed(embedding)

    async def models(self, _request: web.Request) -> web.StreamResponse:
        """GET /v1/models."""
        cards = [
            self._card(name, model) for model in self.config.models for name in (model.name, *model.aliases)
        ]
        return _json({"object": "list", "data": cards})

    async def model(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/models/{name}."""
        name = request.match_info["name"]
        return _json(self._card(name, self._model(name)))

    async def tokenize(self, request: web.Request) -> web.StreamResponse:
        """POST /tokenize: text or messages in, count and token numbers out."""
        data = read_body(await request.read())
        model = self._model(str(data.get("model") or self.config.models[0].name))
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
        return _json(answer)

    # --- health, metrics, faults -----------------------------------------------------------------

    async def health(self, _request: web.Request) -> web.StreamResponse:
        """GET /health: the process answers."""
        return web.Response()

    async def ready(self, _request: web.Request) -> web.StreamResponse:
        """GET /ready, /health/ready: 503 until the start-up time is over."""
        elapsed = asyncio.get_running_loop().time() - self._started
        return web.Response(status=200 if elapsed * self.config.time_scale >= self.config.startup_s else 503)

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        """GET /metrics: vLLM's and the endpoint picker's, on one page; 503 in a blackout."""
        if any(faults.metrics_blackout for faults in self._faults.values()):
            raise ApiError(503, "metrics blackout (injected)", kind="ServiceUnavailableError")
        return web.Response(
            body=self.driver.metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def show_config(self, _request: web.Request) -> web.StreamResponse:
        """GET /admin/config: the configuration and the faults in force."""
        return _json(shown(self.config, self._faults))

    async def change_config(self, request: web.Request) -> web.StreamResponse:
        """POST /admin/config: change faults from now on; the answer is what is in force."""
        try:
            changes = changed_faults(self._faults, read_body(await request.read()))
        except SimConfigError as error:
            raise ApiError(400, str(error)) from error
        for model, faults in changes.items():
            self._faults[model] = faults
            self.driver.set_faults(replace(faults, model=model))
        return _json(shown(self.config, self._faults))

    # --- the inside ------------------------------------------------------------------------------

    async def _generate(
        self, request: web.Request, read: Callable[[dict[str, Any]], Generation]
    ) -> web.StreamResponse:
        body = await request.read()
        generation = read(read_body(body))
        exchange = self._exchange(request, generation.model, len(body))
        return await exchange.generate(generation)

    def _exchange(self, request: web.Request, name: str, body_bytes: int) -> Exchange:
        """Begin an exchange with a model, past the failures that the caller asked for."""
        fault_error(request.headers)
        exchange = Exchange(self.config, self.driver, self._ids, request, name, body_bytes)
        exchange.model = self._model(exchange.target)
        return exchange

    def _model(self, name: str) -> ModelConfig:
        try:
            return self.cluster.pool(name).config
        except KeyError:
            message = f"The model `{name}` does not exist."
            raise ApiError(404, message, kind="NotFoundError", param="model") from None

    def _card(self, name: str, model: ModelConfig) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self._ids.started,
            "owned_by": "lumyn-sim",
            "root": model.name,
            "parent": None,
            "max_model_len": model.engine.context_max,
        }


def _json(data: Any) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")


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
            too_large = ApiError(413, f"the request body is over {BODY_BYTES_MAX} bytes")
            response = _error_response(request.path, too_large)
        except web.HTTPException as error:
            kind = "NotFoundError" if error.status == 404 else "BadRequestError"
            response = _error_response(request.path, ApiError(error.status, error.reason, kind=kind))
        if not response.prepared:
            response.headers.update(identity)
        return response

    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[shape])
    app.cleanup_ctx.append(server.run)
    app.on_shutdown.append(server.drain)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_post("/v1/completions", server.completions)
    app.router.add_post("/v1/responses", server.responses)
    app.router.add_post("/v1/messages", server.messages)
    app.router.add_post("/v1/messages/count_tokens", server.count_tokens)
    app.router.add_post("/v1/embeddings", server.embeddings)
    app.router.add_get("/v1/models", server.models)
    app.router.add_get("/v1/models/{name:.+}", server.model)
    app.router.add_post("/tokenize", server.tokenize)
    app.router.add_get("/health", server.health)
    app.router.add_get("/ready", server.ready)
    app.router.add_get("/health/ready", server.ready)
    app.router.add_get("/metrics", server.metrics)
    app.router.add_get("/admin/config", server.show_config)
    app.router.add_post("/admin/config", server.change_config)
    return app


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

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return the base URL, without a path; port 0 takes a free one. Raise OSError."""
        self._server = SimServer(self._config, *self._clocks)
        app = build_app(self._config, server=self._server)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, host, port, backlog=1024).start()
        except OSError:
            await self.stop()
            raise
        bound = runner.addresses[0]
        return f"http://[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"http://{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        """Stop listening and cut what is open; harmless when not started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
