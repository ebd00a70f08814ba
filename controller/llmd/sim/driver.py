"""The cluster under the real clock: one timer, events handed to whoever waits for them.

Engine time is the monotonic time since the start, times the time scale. Steps end at absolute instants of it,
so that a late wake-up delays what is due and shifts nothing after it. Never blocks; belongs to one loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress

from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.config import Faults
from controller.llmd.sim.engine_config import CompatLatency, KvTransfer
from controller.llmd.sim.fake_metrics import FakeMetrics
from controller.llmd.sim.telemetry import Arrival, Telemetry
from controller.llmd.sim.types import (
    Dispatched,
    Dropped,
    EngineLoad,
    Event,
    Finished,
    FirstToken,
    SimRequest,
    Tokens,
)


class Channel:
    """Where the events of one request arrive. `on_token` and `on_finished`, when set, make bytes at once."""

    __slots__ = (
        *("_waiter", "chunks", "cold", "dispatched", "dropped", "finished", "left"),
        *("on_finished", "on_token"),
    )

    def __init__(self, parts: int) -> None:
        self.left = parts
        self.chunks: list[bytes] = []
        self.dispatched: Dispatched | None = None
        self.dropped: Dropped | None = None
        self.finished: list[Finished] = []
        self.on_token: Callable[[int], bytes] | None = None
        self.on_finished: Callable[[int, bool], bytes] | None = None
        self.cold: set[int] = set()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def over(self) -> bool:
        """All parts are finished, or the request was dropped."""
        return self.left == 0 or self.dropped is not None

    def wake(self) -> None:
        """Let the handler look."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def changed(self) -> None:
        """Wait for the next event."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Driver:
    """Runs a cluster on a loop. `start` and `stop` belong to the loop's thread."""

    def __init__(
        self,
        cluster: Cluster,
        telemetry: Telemetry,
        time_scale: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._telemetry = telemetry
        self._scale = time_scale
        self._monotonic_s = monotonic_s
        self._channels: dict[str, Channel] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def start(self) -> None:
        """Begin counting time."""
        self._loop = asyncio.get_running_loop()
        self._start = self._monotonic_s()

    def stop(self) -> None:
        """Stop the timer; whoever waits is left to its cancellation."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = math.inf

    def now(self) -> float:
        """Return the engine time in simulated seconds."""
        return (self._monotonic_s() - self._start) * self._scale

    def submit(self, request: SimRequest, channel: Channel, arrival: Arrival) -> None:
        """Send a request into the cluster. Raise ValueError when it cannot fit or its id is in use."""
        now = self.now()
        self._telemetry.submitted(request.request_id, arrival, now)
        self._channels[request.request_id] = channel
        try:
            self._cluster.submit(request, now)
        except ValueError:
            self._forget(request.request_id, queued=False)
            raise
        self._pump()

    def cancel(self, request_id: str) -> None:
        """The client went away: free everything now. Harmless after the end."""
        channel = self._channels.get(request_id)
        if channel is None:
            return
        self._cluster.cancel(request_id, self.now())
        self._forget(request_id, queued=channel.dispatched is None)
        self._pump()

    def set_faults(self, faults: Faults) -> None:
        """Let these faults hold from now on."""
        self._cluster.set_faults(faults, self.now())
        self._pump()

    def drain(self) -> None:
        """Refuse all that waits in the pickers, because they shut down."""
        self._cluster.drain(self.now())
        self._pump()

    def metrics(self, wall_s: float = 0.0, fake: tuple[FakeMetrics, float] | None = None) -> bytes:
        """Return the metrics page as of now, which is `wall_s` on the wall."""
        self._pump()
        return self._telemetry.render(wall_s, fake)

    def set_latency(self, latency: CompatLatency | None, transfer: KvTransfer) -> None:
        """Let the compat formula, and transfers between replicas, take these times from now on."""
        self._cluster.set_latency(latency, transfer, self.now())

    def sleep(self, *, asleep: bool) -> None:
        """Discard the prefix caches, or let them fill again."""
        self._cluster.sleep(self.now(), asleep=asleep)

    def load_of(self, model: str, replica: int) -> EngineLoad:
        """Return the gauges of one replica as of now."""
        self._pump()
        return self._cluster.pool(model).replicas[replica].load()

    # --- the inside ------------------------------------------------------------------------------

    def _forget(self, request_id: str, *, queued: bool) -> None:
        self._channels.pop(request_id, None)
        self._telemetry.cancelled(request_id, queued=queued)

    def _pump(self) -> None:
        """Advance to now, hand the events out, and set the timer for the next ones."""
        for event in self._cluster.advance(self.now()):
            self._telemetry.observe(event)
            self._deliver(event)
        self._arm()

    def _arm(self) -> None:
        due = self._cluster.next_event_time()
        if due == self._due and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = due
        if due < math.inf and self._loop is not None:
            # uvloop's own time is that of the turn's beginning, and its timers count from now: call_at would
            # be late by as long as the turn has lasted
            self._timer = self._loop.call_later(max((due - self.now()) / self._scale, 0.0), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._pump()

    def _deliver(self, event: Event) -> None:
        if isinstance(event, Tokens):
            for request_id in event.request_ids:
                self._token(request_id)
        elif isinstance(event, FirstToken):
            self._token(event.request_id)
        elif isinstance(event, Dispatched):
            channel = self._channels.get(event.request_id)
            if channel is not None:
                channel.dispatched = event
                channel.wake()
        elif isinstance(event, Dropped):
            channel = self._channels.pop(event.request_id, None)
            if channel is not None:
                channel.dropped = event
                channel.wake()
        elif isinstance(event, Finished):
            self._finished(event)

    def _find(self, request_id: str) -> tuple[Channel | None, int]:
        channel = self._channels.get(request_id)
        if channel is not None:
            return channel, 0
        root, _, part = request_id.rpartition("/")
        return self._channels.get(root), int(part) if part.isdigit() else 0

    def _token(self, request_id: str) -> None:
        channel = self._channels.get(request_id)
        part = 0
        if channel is None:
            channel, part = self._find(request_id)
        if channel is not None and channel.on_token is not None:
            channel.chunks.append(channel.on_token(part))
            channel.wake()

    def _finished(self, event: Finished) -> None:
        channel, part = self._find(event.request_id)
        if channel is None:
            return
        channel.finished.append(event)
        channel.left -= 1
        if event.cold:
            channel.cold.add(part)
        if channel.on_finished is not None:
            channel.chunks.append(channel.on_finished(part, event.cold))
        if not channel.left:
            with suppress(KeyError):
                del self._channels[event.request_id.rpartition("/")[0] if part else event.request_id]
        channel.wake()
