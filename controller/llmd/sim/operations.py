"""The simulator's operating surface: health, metrics, faults, latencies, adapters, sleep.

Everything that a test run changes on a server that is running. A change is checked whole before any of it
holds. Nothing here asks for a credential.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from controller.llmd.sim.admin import Changes, planned, shown
from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.config import Faults, SimConfig
from controller.llmd.sim.engine_config import SimConfigError
from controller.llmd.sim.exchange import Site
from controller.llmd.sim.fields import ApiError, read_body


def json_response(data: Any) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=orjson.dumps(data), content_type="application/json")


class Operations:
    """The handlers of the operating surface."""

    def __init__(self, site: Site, cluster: Cluster) -> None:
        config = site.config
        only = config.faults.model
        self._site = site
        self._cluster = cluster
        self._faults = {
            model.name: Faults() if only not in {"", *model.names} else config.faults
            for model in config.models
        }
        self._fake = config.fake_metrics
        self._asleep = False
        self._started = 0.0

    def start(self) -> None:
        """Begin counting the start-up time."""
        self._started = asyncio.get_running_loop().time()

    async def health(self, _request: web.Request) -> web.StreamResponse:
        """GET /health: the process answers."""
        return web.Response()

    async def ready(self, _request: web.Request) -> web.StreamResponse:
        """GET /ready, /health/ready: 503 until the start-up time is over."""
        return web.Response(status=200 if self._elapsed_s() >= self._config.startup_s else 503)

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        """GET /metrics: vLLM's and the endpoint picker's, on one page; 503 in a blackout."""
        if any(faults.metrics_blackout for faults in self._faults.values()):
            raise ApiError(503, "metrics blackout (injected)", kind="ServiceUnavailableError")
        fake = None
        if self._fake is not None:
            interval = self._config.fake_metrics_interval_s
            fake = (self._fake, math.floor(self._elapsed_s() / interval) * interval)
        page = self._site.driver.metrics(self._site.ids.wall_s(), fake)
        return web.Response(body=page, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def show_config(self, _request: web.Request) -> web.StreamResponse:
        """GET /admin/config: the configuration and the faults in force."""
        return json_response(shown(self._config, self._faults, self._fake))

    async def change_config(self, request: web.Request) -> web.StreamResponse:
        """POST /admin/config: change what can be changed from now on; the answer is what is in force."""
        data = read_body(await request.read())
        try:
            self._apply(planned(self._config, self._faults, self._fake, data))
        except SimConfigError as error:
            raise ApiError(400, str(error)) from error
        return json_response(shown(self._config, self._faults, self._fake))

    async def change_fake_metrics(self, request: web.Request) -> web.StreamResponse:
        """POST /fake_metrics: the older way to change them."""
        data = {"fake-metrics": read_body(await request.read())}
        try:
            self._apply(planned(self._config, self._faults, self._fake, data))
        except SimConfigError as error:
            raise ApiError(400, f"Failed to update fake metrics: {error}") from error
        return web.Response(status=204)

    async def load_lora(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/load_lora_adapter: serve an adapter, of `base_model_name` or else of the first model."""
        data = read_body(await request.read())
        name, path = data.get("lora_name"), data.get("lora_path")
        base = data.get("base_model_name") or self._config.models[0].name
        if not isinstance(name, str) or not name or not isinstance(path, str) or not path:
            raise ApiError(400, "Both 'lora_name' and 'lora_path' must be provided.")
        try:
            self._cluster.load_lora(name, path, str(base))
        except ValueError as error:
            message = f"The lora adapter cannot be loaded: {error}"
            raise ApiError(400, message, kind="InvalidUserInput", param="lora_name") from None
        except KeyError:
            message = f"The model `{base}` does not exist."
            raise ApiError(404, message, kind="NotFoundError", param="base_model_name") from None
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def unload_lora(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/unload_lora_adapter."""
        name = read_body(await request.read()).get("lora_name")
        if not isinstance(name, str) or not name:
            raise ApiError(400, "'lora_name' must be provided.")
        try:
            self._cluster.unload_lora(name)
        except KeyError:
            message = f"The lora adapter '{name}' cannot be found."
            raise ApiError(404, message, kind="NotFoundError") from None
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def sleep(self, _request: web.Request) -> web.StreamResponse:
        """POST /sleep: discard the prefix caches; accepted and ignored unless sleep mode is on."""
        if self._config.sleep_mode:
            self._asleep = True
            self._site.driver.sleep(asleep=True)
        return web.Response()

    async def wake_up(self, request: web.Request) -> web.StreamResponse:
        """POST /wake_up: let the caches fill again, unless `tags` names something else only."""
        self._asleep = False
        tags = request.query.getall("tags", [])
        if not tags or "kv_cache" in tags:
            self._site.driver.sleep(asleep=False)
        return web.Response()

    async def is_sleeping(self, _request: web.Request) -> web.StreamResponse:
        """GET /is_sleeping."""
        return json_response({"is_sleeping": self._asleep})

    # --- the inside ------------------------------------------------------------------------------

    @property
    def _config(self) -> SimConfig:
        return self._site.config

    def _elapsed_s(self) -> float:
        """Return the simulated seconds since the start."""
        return (asyncio.get_running_loop().time() - self._started) * self._config.time_scale

    def _apply(self, changes: Changes) -> None:
        driver = self._site.driver
        for model, faults in changes.faults.items():
            self._faults[model] = faults
            driver.set_faults(replace(faults, model=model))
        if changes.latency is not None:
            driver.set_latency(*changes.latency)
        self._fake = changes.fake
        self._site.config = changes.config
