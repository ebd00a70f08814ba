"""Action gates that are killed while agents act, and agents that try again until they know.

Each agent has operations of its own. It sends one, and where the connection breaks it sends the same again
to the next gateway, as an SDK does: with its Idempotency-Key, or saying that it is a retry. In the end each
operation is known to be done, or known to be unknown. The tool counts how often it executed each.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import uvloop

from tests.kit.gatewaybox import START_S, Victim
from tests.kit.rawpeer import Message, Wire, raw_server
from tests.kit.tools import ESCALATED, REFUNDED, TRUSTED, act, answer, json_of, route

_WARM = multiprocessing.get_context("forkserver")
DONE, UNKNOWN = "done", "unknown"


def _child(config: bytes, ready: Connection) -> None:
    from gateway.app import serve
    from gateway.config import Config

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        settings = Config.model_validate(orjson.loads(config))
        runner.run(serve(settings, ready=lambda ports: ready.send((ports.port, ports.admin_port))))


@dataclass
class ActionVictim(Victim):
    """A gateway process with a route to a tool."""

    admin_port: int = 0


def _start(config: bytes) -> ActionVictim:
    ours, theirs = _WARM.Pipe(duplex=False)
    process = _WARM.Process(target=_child, args=(config, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(START_S), "the gateway did not start in time"
        port, admin_port = ours.recv()
    except BaseException:
        process.kill()
        process.join(10)
        raise
    finally:
        ours.close()
    return ActionVictim(process, port, 0.0, admin_port)


@contextlib.asynccontextmanager
async def action_victim(directory: Path, tool_port: int, **settings: Any) -> AsyncIterator[ActionVictim]:
    """Start a gateway on the store in `directory`; at the end it is dead, whatever happened."""
    config = {
        "listen": {"port": 0, "admin_port": 0},
        "storage": {"url": f"sqlite:{directory / 'lumyn.db'}"},
        "log": {"level": "error"},
        "actions": [route(tool_port)],
    } | settings
    found = await asyncio.to_thread(_start, orjson.dumps(config))
    try:
        yield found
    finally:
        await asyncio.to_thread(found.kill)
        found.process.close()


@dataclass
class CountingTool:
    """Counts how often it executed each operation, at the moment it has read the request."""

    executed: Counter[str] = field(default_factory=Counter)
    port: int = 0

    async def serve(self, wire: Wire) -> None:
        """Execute the requests of one connection, each in a few milliseconds."""
        while True:
            asked = await wire.read_request()
            operation = orjson.loads(asked.body)["ticket"]
            self.executed[operation] += 1
            await asyncio.sleep(0.001 * (os.urandom(1)[0] % 8))
            await wire.send(answer(201, REFUNDED))


@contextlib.asynccontextmanager
async def counting_tool() -> AsyncIterator[CountingTool]:
    """Run one on a free port."""
    tool = CountingTool()
    async with raw_server(tool.serve) as server:
        tool.port = server.port
        yield tool


@dataclass
class Agent:
    """Works through operations of its own, one after the other, over as many gateways as it takes."""

    name: str
    keyed: bool
    escalates: bool = False
    tried: int = 0
    number: int = 0
    known: dict[str, str] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        """The one it is at."""
        return f"{self.name}-{self.number}"

    async def work(self, gateway: ActionVictim) -> None:
        """Go on until the gateway is dead."""
        while await self.step(gateway):
            pass

    async def step(self, gateway: ActionVictim) -> bool:
        """Try the operation once more; False where the gateway is gone."""
        headers = {"idempotency_key": self.operation} if self.keyed else {}
        if self.tried:
            headers["x_stainless_retry_count"] = str(self.tried)
        body = (ESCALATED if self.escalates else TRUSTED) | {"ticket": self.operation}
        self.tried += 1
        try:
            got = await act(gateway.port, body, key=None, **headers)
        except (OSError, EOFError, asyncio.IncompleteReadError):
            return False
        await self._learn(got)
        return True

    async def _learn(self, got: Message) -> None:
        if not got.complete:
            return
        if got.status == 201:
            self._next(DONE)
            return
        code = json_of(got)["reason_code"]
        if code == "IDEMPOTENCY_UNKNOWN":
            self._next(UNKNOWN)
        else:
            assert code in {"IDEMPOTENCY_IN_FLIGHT", "STORAGE_UNAVAILABLE"}, got.body
            await asyncio.sleep(0.01)

    def _next(self, known: str) -> None:
        self.known[self.operation] = known
        self.number += 1
        self.tried = 0
