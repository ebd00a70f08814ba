"""The generator: sends a schedule, open loop, and writes one row a request.

A request is sent when it is due, whatever became of those before it, and its latency counts from then. What
came of the whole: rows, how late they were sent, streamed chunks by second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from controller.core import Outcome
from controller.evaluate.arms.data import COMPLETE
from controller.evaluate.policy import Refuse, Send
from controller.evaluate.run import TIMEOUT_S
from loadtest import answers
from loadtest.client import Client, Head, trouble
from loadtest.rows import Row
from loadtest.schedule import Act, Ask, Schedule
from loadtest.sse import Stream


class Gate(Protocol):
    """A policy on the client's side: may send, send elsewhere or refuse. See `policies`."""

    async def admit(self, ask: Ask, now_s: float) -> Send | Refuse:
        """Return what to do, when it is its turn."""
        ...

    def first_token(self, request_id: str, now_s: float) -> None:
        """A first token came."""
        ...

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        """A request that was sent ended."""
        ...


@dataclass(slots=True)
class Progress:
    """What is known while it runs; counts, and the rows so far."""

    sent: int = 0
    done: int = 0
    open: int = 0
    rows: list[Row] = field(default_factory=list)
    chunks: dict[int, int] = field(default_factory=dict)
    """By second of the run."""


@dataclass(frozen=True, slots=True)
class Users:
    """How requests are sent: credentials by class, and what clients do when they are refused."""

    headers: Mapping[str, Mapping[str, str]]
    """By class; under the empty name those of tool actions."""
    run_id: str = ""
    """Begins every request id: an id that was used before would be answered from the ledger."""
    retries: int = 0
    patience_s: float = TIMEOUT_S
    drain_s: float = 20.0


@dataclass(slots=True)
class _Reading:
    """An answer in the making."""

    stream: Stream = field(default_factory=Stream)
    plain: bytearray = field(default_factory=bytearray)
    head: Head | None = None


class Generator:
    """One run over a schedule against one origin. Use once."""

    def __init__(
        self,
        schedule: Schedule,
        client: Client,
        users: Users,
        write: Callable[[Row], object],
        gate: Gate | None = None,
    ) -> None:
        self.progress = Progress()
        self.began_s = 0.0
        self._schedule = schedule
        self._client = client
        self._users = users
        self._write = write
        self._gate = gate
        self._path = client.origin.path
        self._closing = False

    def now_s(self) -> float:
        """Return the seconds since the run began."""
        return time.perf_counter() - self.began_s

    async def run(self, stop: asyncio.Event) -> None:
        """Send everything, wait for the answers, at most `drain_s` after the end. `stop` ends it early."""
        self.began_s = time.perf_counter()
        tasks: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as group:
            for one in self._schedule.in_order():
                if await self._wait(one.at_s, stop):
                    break
                lag_s = max(0.0, self.now_s() - one.at_s)
                self.progress.sent += 1
                self.progress.open += 1
                tasks.append(group.create_task(self._one(one, lag_s)))
            if not stop.is_set():
                await self._drain(tasks, stop)
            self._closing = True
            for task in tasks:
                task.cancel()

    async def _wait(self, at_s: float, stop: asyncio.Event) -> bool:
        """Wait until something is due; tell whether the run is to end instead."""
        delay_s = at_s - self.now_s()
        if delay_s > 0 and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await stop.wait()
        return stop.is_set()

    async def _drain(self, tasks: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
        until_s = self._schedule.spans.end_s + self._users.drain_s
        while self.progress.open and self.now_s() < until_s and not stop.is_set():
            left_s = min(0.2, until_s - self.now_s())
            running = [task for task in tasks if not task.done()]
            if running:
                await asyncio.wait(running, timeout=max(left_s, 0.0), return_when=asyncio.FIRST_COMPLETED)

    async def _one(self, one: Ask | Act, lag_s: float) -> None:
        kind, service = ("ask", one.service) if isinstance(one, Ask) else ("act", "")
        row = Row(kind, one.request_id, service, one.at_s, lag_s, "")
        try:
            if isinstance(one, Ask):
                row = await self._ask(one, row)
            else:
                row = await self._act(one, row)
        except asyncio.CancelledError:
            if not self._closing:
                raise
            row = replace(row, status="unfinished")
        finally:
            self.progress.open -= 1
            if row.status:
                self._note(row)

    def _note(self, row: Row) -> None:
        self.progress.done += 1
        self.progress.rows.append(row)
        self._write(row)

    # --- LLM requests --------------------------------------------------------------------------

    async def _ask(self, ask: Ask, row: Row) -> Row:
        for tries in range(1, self._users.retries + 2):
            row, wait_s = await self._try(ask, replace(row, tries=tries))
            if wait_s is None or tries > self._users.retries or self._late(ask):
                return row
            await asyncio.sleep(answers.pause_s(wait_s, tries, ask.job.u_retry))
        return row

    def _late(self, ask: Ask) -> bool:
        return self.now_s() - ask.at_s >= self._users.patience_s

    async def _try(self, ask: Ask, row: Row) -> tuple[Row, float | None]:
        """Send once; return the row, and how long to wait before another try makes sense."""
        command = Send(ask.request_id, ask.model, None)
        if self._gate is not None:
            granted = await self._gate.admit(ask, self.now_s())
            if isinstance(granted, Refuse):
                row = replace(row, status=granted.status, error="the arm's own policy")
                return row, granted.retry_after_s
            command = granted
        outcome = Outcome("failed")
        try:
            row, wait_s, outcome = await self._send(ask, command.model, row)
        except asyncio.CancelledError:
            outcome = Outcome("client_gone")
            raise
        finally:
            if self._gate is not None:
                self._gate.ended(ask.request_id, outcome, self.now_s())
        return row, wait_s

    async def _send(self, ask: Ask, model: str, row: Row) -> tuple[Row, float | None, Outcome]:
        headers = {
            **self._users.headers.get(ask.service, {}),
            "x-request-id": f"{self._users.run_id}{ask.request_id}-{row.tries}",
        }
        if row.tries > 1:
            headers[answers.RETRY_COUNT] = str(row.tries - 1)
        request = self._client.request("POST", f"{self._path}/chat/completions", ask.body(model), headers)
        reading = _Reading()
        try:
            async with asyncio.timeout(max(0.0, ask.at_s + self._users.patience_s - self.now_s())):
                head = await self._client.exchange(request, partial(self._take, ask, reading))
        except TimeoutError:
            return self._cut(ask, reading, row, "timeout"), None, Outcome("timeout")
        except OSError as error:
            return self._cut(ask, reading, row, "failed", trouble(error)), None, Outcome("failed")
        except asyncio.CancelledError:
            if not self._closing:
                raise
            return self._cut(ask, reading, row, "unfinished"), None, Outcome("client_gone")
        due_s = self.began_s + ask.at_s
        row = answers.headed(answers.seen(row, reading.stream, due_s), head.status, head.headers)
        if head.status != 200:
            row, wait_s = answers.turned_away(row, head.headers, bytes(reading.plain))
            return row, wait_s, Outcome("failed" if wait_s is None else "rejected")
        row = answers.streamed(row, reading.stream, head.done_s, due_s)
        ended = COMPLETE if row.status == COMPLETE else "failed"
        return row, None, Outcome(ended, reading.stream.tokens)

    def _cut(self, ask: Ask, reading: _Reading, row: Row, status: str, error: str = "") -> Row:
        """Return the row of an answer that did not come to its end, with as much as there is of it."""
        row = answers.seen(row, reading.stream, self.began_s + ask.at_s)
        if reading.head is not None:
            row = answers.headed(row, reading.head.status, reading.head.headers)
        return replace(row, status=status, error=error)

    def _take(self, ask: Ask, reading: _Reading, head: Head, data: bytes, at_s: float) -> None:
        reading.head = head
        if not head.streamed:
            reading.plain.extend(data[: answers.ERROR_BYTES_MAX - len(reading.plain)])
            return
        stream = reading.stream
        before, first_s = stream.chunks, stream.first_s
        stream.feed(data, at_s)
        second = int(at_s - self.began_s)
        self.progress.chunks[second] = self.progress.chunks.get(second, 0) + stream.chunks - before
        if first_s is None and stream.first_s is not None and self._gate is not None:
            self._gate.first_token(ask.request_id, at_s - self.began_s)

    # --- tool actions --------------------------------------------------------------------------

    async def _act(self, act: Act, row: Row) -> Row:
        try:
            async with asyncio.timeout(self._users.patience_s):
                head, body = await self._client.read(
                    "POST", "/v0/decide", act.body(self._users.run_id), self._users.headers.get("", {})
                )
        except TimeoutError:
            return replace(row, status="timeout")
        except OSError as error:
            return replace(row, status="failed", error=trouble(error))
        return answers.decided(row, head.status, body, head.done_s, self.began_s + act.at_s)
