"""The composition root of the server: the one place that names concrete classes and joins the parts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from controller.core import Controller, ControllerConfig
from controller.governor import Governor
from gateway.admin.control import ControlPages
from gateway.admin.health import HealthPages, Readiness
from gateway.admin.pins import PinPages
from gateway.admin.records import RecordPages
from gateway.auth.keys import KeyRing, Principal
from gateway.config import Config
from gateway.engine.decide import EngineSettings
from gateway.gate import Bare, Gate, check_actions
from gateway.governing import Reload, control_config, engines_of, reload_intents
from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.draws import Draws
from gateway.kernel.errors import StoreUnavailableError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import Mode
from gateway.listener.router import Route, Router
from gateway.listener.server import Listener
from gateway.live import Live, Snapshot
from gateway.mcp import McpSurface
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline.announce import Announcer
from gateway.pipeline.decisions import Decisions
from gateway.pipeline.gatehouse import gate_entries
from gateway.pipeline.govern import FailOpen
from gateway.pipeline.journal import ControlJournal
from gateway.pipeline.judge import Bench
from gateway.pipeline.observe import ExchangeObserver
from gateway.pipeline.policies import load_policies, policy_entries
from gateway.pipeline.remember import MemoryFeed
from gateway.pipeline.surroundings import Deadlines, Surroundings
from gateway.pipeline.tasks import spawn
from gateway.policy.select import PolicySet
from gateway.proxy.actions import ActionGate
from gateway.proxy.openai import OpenAiProxy
from gateway.proxy.passthrough import PassThrough
from gateway.reload import PolicyPart, Reloader
from gateway.store.open import open_store
from gateway.store.port import Store, StoreHealth
from gateway.system import SystemClock, SystemRandomness
from gateway.telemetry.log import LOG, start_log
from gateway.telemetry.metrics import ControlReading, Metrics, StoreReading
from gateway.toolcalls import tool_desk
from gateway.upstream.metrics import MetricsPage
from gateway.upstreams import Upstreams
from gateway.wire.errors import anthropic_error_body, openai_error_body, v0_error_body
from gateway.wire.mcp.answers import error_body as mcp_error_body

_COLLECT_AFTER: Final = (20_000, 20, 100)
"""Objects made before the youngest are looked at (a hundred requests' worth), and the older generations."""
_FATAL_LOOK_S: Final = 1.0
"""How soon a gateway leaves whose store has failed for good; until then it refuses, so nothing is lost."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a started gateway listens."""

    port: int
    admin_port: int


class Gateway:
    """A gateway in one event loop: `open`, `start`, and `close` when it is time."""

    def __init__(
        self,
        config: Config,
        store: Store,
        policies: PolicySet,
        clock: Clock,
        randomness: Randomness,
        control: ControllerConfig | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._draining = False
        self._upstreams: Upstreams | None = None
        self._gate: Gate | None = None
        self._mcp: McpSurface | None = None
        self._clock = clock
        self._randomness = randomness
        self._ids = ids = IdSource(clock, randomness)
        self._tasks: list[asyncio.Task[None]] = []
        index = MemoryIndex()
        self._memory = MemoryFeed(store, index)
        self._live = Live(
            Snapshot(
                policies=policies,
                memory=index,
                engine=EngineSettings(
                    mode=config.policy.mode,
                    redaction_profile=config.redaction.profile,
                    advisory_allowed=config.policy.advisory_allowed or config.policy.mode is Mode.ADVISORY,
                ),
                keys=_key_ring(config),
                top_k=config.memory.top_k,
            ),
        )
        self._metrics = Metrics()
        self._decisions = Decisions(
            self._live, store, clock, ids, self._memory, noted=partial(self._metrics.decision, "decide")
        )
        policy_part = PolicyPart(config.policy, self._live, store, clock, ids)
        self._reloader = Reloader([policy_part], self._metrics.reload, watch=config.policy.watch)
        self._pages: dict[str, MetricsPage] = {}
        self._announcer = Announcer(clock)
        self._governor = None if control is None else self._make_governor(control)
        self._data: Listener | None = None
        self._admin: Listener | None = None

    @classmethod
    async def open(cls, config: Config) -> Self:
        """Load the policies and open the store. Raises SetupError: then nothing listens."""
        policies = load_policies(config.policy)
        check_actions(config)
        control = control_config(config)
        clock, randomness = SystemClock(), SystemRandomness()
        store = await open_store(config.storage.url, clock=clock, randomness=randomness)
        gateway = cls(config, store, policies, clock, randomness, control)
        try:
            # What a killed process left open gets its one fate before anything new is promised.
            await store.mark_unknown()
            await store.submit([*policy_entries(policies, clock.wall_ms()), *gate_entries(clock.wall_ms())])
            await gateway._memory.catch_up()
            if gateway._governor is not None:
                gateway._governor.begin()
        except BaseException:
            await store.close()
            raise
        return gateway

    async def start(self) -> Ports:
        """Listen on both addresses. Raises SetupError."""
        config = self._config
        upstreams = await Upstreams.connect(config, clock=self._clock, randomness=self._randomness)
        self._upstreams = upstreams
        health = HealthPages(self._readiness, self._metrics, facts=self._facts)
        # The first prefix that fits says how an unknown path or method is answered.
        shapes = {
            "/v1/messages": anthropic_error_body,
            "/v1/": openai_error_body,
            "/mcp/": mcp_error_body,
        }
        around = self._surroundings(upstreams)
        bare = Bare(config, self._live, self._store, self._clock, self._ids, self._metrics)
        gate = self._gate = Gate(bare, around)
        await gate.prepare()
        if config.mcp.servers:
            self._mcp = await McpSurface.open(
                config,
                self._live,
                self._store,
                around,
                clock=self._clock,
                ids=self._ids,
                randomness=self._randomness,
            )
        data_routes = [*self._data_routes(upstreams, around, health), *gate.data_routes()]
        admin_routes = [*self._admin_routes(health), *gate.admin_routes()]
        self._data = self._listener(Router(data_routes, shapes=shapes, fallback=v0_error_body))
        self._admin = self._listener(Router(admin_routes, shapes={}, fallback=v0_error_body))
        self._metrics.watch_in_flight(lambda: 0 if self._data is None else self._data.in_flight)
        self._metrics.watch_store(self._store_reading)
        self._metrics.watch_backends(upstreams.readings)
        listen = config.listen
        admin_port = await self._admin.start(listen.admin_host, listen.admin_port)
        port = await self._data.start(listen.host, listen.port)
        self._tasks = [
            spawn(upstreams.keep_fresh(), name="catalogue"),
            spawn(self._memory.follow(), name="memory"),
            spawn(gate.keep_swept(), name="claims"),
            spawn(self._reloader.run(), name="reload"),
        ]
        if self._governor is not None:
            self._metrics.watch_control(self._control_reading)
            self._tasks.append(spawn(self._governor.run(), name="controller"))
        return Ports(port, admin_port)

    async def close(self) -> None:
        """Stop being ready, let running requests end, and close the ledger last."""
        self._draining = True
        for task in self._tasks:
            task.cancel()
        if self._mcp is not None:
            self._mcp.gate.stop()
        drain_s = self._config.limits.drain_s
        parts = [part.drain(drain_s) for part in (self._data, self._gate) if part is not None]
        await asyncio.gather(*parts)
        for closing in (self._gate, self._upstreams, self._mcp):
            if closing is not None:
                await closing.close()
        for page in self._pages.values():
            await page.close()
        if self._admin is not None:
            await self._admin.drain(1.0)
        await self._store.close()

    def _data_routes(
        self, upstreams: Upstreams, around: Surroundings, health: HealthPages
    ) -> Sequence[Route]:
        config = self._config
        limits = config.limits
        bench = Bench(
            self._live,
            upstreams.catalogue,
            self._clock,
            self._ids,
            forward_authorization=not config.keys,
            first_rung=None if around.governor is None else around.governor.first_rung,
            tools=tool_desk(config, self._store, self._clock, self._ids, self._metrics),
        )
        return (
            *OpenAiProxy(bench, around, body_bytes_max=limits.llm_body_bytes_max).routes(),
            *PassThrough(bench, around, config.passthrough, upstreams.named()).routes(),
            *ActionGate(
                self._live,
                self._decisions,
                signing_secret=config.service.signing_secret,
                body_bytes_max=limits.decide_body_bytes_max,
            ).routes(),
            *(() if self._mcp is None else self._mcp.gate.routes()),
            *health.routes(),
        )

    def _admin_routes(self, health: HealthPages) -> Sequence[Route]:
        secret = self._config.service.signing_secret
        return (
            *RecordPages(self._store, self._decisions, signing_secret=secret).routes(),
            *self._control_routes(),
            *(() if self._mcp is None else PinPages(self._mcp.pins, signing_secret=secret).routes()),
            *health.routes(),
            health.metrics_route(),
        )

    def _surroundings(self, upstreams: Upstreams) -> Surroundings:
        config = self._config
        observer = ExchangeObserver(
            self._metrics,
            models=upstreams.catalogue,
            log_decisions=config.log.decisions,
        )
        retries = upstreams.retries(config.retries, Draws(self._randomness))
        self._metrics.watch_retries(retries.reading)
        deadlines = Deadlines(first_byte_s=config.limits.first_byte_s, idle_s=config.limits.idle_s)
        governor = None if self._governor is None else FailOpen(self._governor, observer, self._announcer)
        return Surroundings(self._store, self._clock, self._ids, observer, deadlines, governor, retries)

    def _make_governor(self, control: ControllerConfig) -> Governor:
        controller = Controller(control, self._clock.monotonic_s())
        journal = ControlJournal(self._store, self._clock, self._ids, self._announcer)
        self._pages = {
            backend.name: MetricsPage(backend.metrics_url, where=f"backends.{backend.name}.metrics_url")
            for backend in self._config.backends
            if backend.metrics_url is not None
        }
        return Governor(controller, self._clock, journal, engines_of(self._config), self._pages)

    def _control_reading(self) -> ControlReading:
        assert self._governor is not None
        return ControlReading(**self._governor.reading())

    def _control_routes(self) -> Sequence[Route]:
        if self._governor is None:
            return ()
        return ControlPages(self._governor, signing_secret=self._config.service.signing_secret).routes()

    def _listener(self, router: Router) -> Listener:
        limits = self._config.limits
        return Listener(
            router,
            self._ids,
            header_deadline_s=limits.header_deadline_s,
            body_deadline_s=limits.body_deadline_s,
            keepalive_s=limits.keepalive_s,
            stall_s=limits.client_stall_s,
        )

    def reload(self) -> None:
        """Read the policies anew, soon; the last good ones stay where they are wrong."""
        self._reloader.ask()

    async def follow_intents(self, reload: Reload) -> bool:
        """Follow the intents of a configuration that is read anew; False where the last good ones stay."""
        return await reload_intents(self._governor, reload)

    def store_health(self) -> StoreHealth:
        """Tell how the store is."""
        return self._store.health()

    def _readiness(self) -> Readiness:
        if self._draining:
            return Readiness(ready=False, reason="draining")
        health = self._store.health()
        return Readiness(ready=health.ready, reason=health.reason)

    def _store_reading(self) -> StoreReading:
        health = self._store.health()
        return StoreReading(health.ready, health.queued, health.committed, health.last_commit_s)

    def _facts(self) -> dict[str, str]:
        main = self._live.snapshot.policies.main
        return {"policy_id": main.policy_id, "policy_hash": main.policy_hash}


def _key_ring(config: Config) -> KeyRing:
    return KeyRing(
        [(key.hash, Principal(key.name, key.tenant, key.actions, key.intents)) for key in config.keys],
    )


def _calm_collector() -> None:
    """Spare the garbage collector what lives for ever, and let it look less often at what does not.

    A request leaves no cycles behind but makes hundreds of objects, so that the default threshold of
    700 looks three times a request for nothing: an eighth of the gateway's CPU time when measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


async def _stopped(stop: asyncio.Event, gateway: Gateway) -> None:
    """Return at a signal. Raises StoreUnavailableError where this process will never write again."""
    while not stop.is_set():
        health = gateway.store_health()
        if health.fatal:
            # To stay would be to refuse for ever: a supervisor can do better.
            raise StoreUnavailableError(
                f"the store has failed for good: {health.reason}", hint="mend the disk, then start it again"
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FATAL_LOOK_S):
                await stop.wait()


def _reread(gateway: Gateway, reload: Reload | None) -> None:
    """Read policies and intents anew; whatever is wrong leaves the last good of its kind in force."""
    gateway.reload()
    if reload is not None:
        _ = spawn(gateway.follow_intents(reload), name="reload")


async def serve(config: Config, *, ready: Callable[[Ports], None], reload: Reload | None = None) -> None:
    """Run a gateway until SIGTERM or SIGINT, then drain it. At SIGHUP its intents are read anew.

    Raises SetupError, and StoreUnavailableError where the store failed for good while it ran.
    """
    lines = start_log(config.log.level)
    try:
        gateway = await Gateway.open(config)
        try:
            ports = await gateway.start()
            _calm_collector()
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            loop.add_signal_handler(signal.SIGHUP, lambda: _reread(gateway, reload))
            ready(ports)
            LOG.info("serving", extra={"facts": {"port": ports.port, "admin_port": ports.admin_port}})
            await _stopped(stop, gateway)
            LOG.info("draining")
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await gateway.close()
    finally:
        lines.stop()
