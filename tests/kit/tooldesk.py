"""A desk that judges tool calls on a real store, with the policy of `toolgates`, and scripted answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from gateway.auth.keys import LOCAL, KeyRing, Principal
from gateway.config.tools import ToolConfig
from gateway.engine.decide import EngineSettings
from gateway.kernel.errors import GatewayError, StoreUnavailableError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import EVERY_TENANT, Mode
from gateway.live import Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline.approvals import Approvals, Terms
from gateway.pipeline.tooljudge import Asker, ToolDesk, ToolJudge, ToolSettings
from gateway.policy.compile import compile_policy
from gateway.policy.select import PolicySet
from gateway.store.port import DecisionFilter, Store
from gateway.store.sqlite import open_sqlite
from gateway.wire.toolcall.call import Call, Kind
from gateway.wire.toolmap import ToolMap
from tests.kit.entries import CountedRandomness, StillClock
from tests.kit.toolgates import POLICY, TOOLS

SETTINGS = ToolSettings(
    strip=True,
    decide_unknown=False,
    brief=False,
    held_bytes_max=10_000,
    held_s=60.0,
    body_bytes_max=10_000,
    terms=Terms(ask_ms=60_000, use_ms=60_000),
)


class Ledger:
    """A recorder in front of a store: counts commits, and fails when it is told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fails = False
        self.commits = 0

    def submit(self, entries: Any, *, reserved: bool = False, steps: Any = ()) -> Any:
        if self.fails:
            raise StoreUnavailableError("disk full")
        self.commits += 1
        return self._store.submit(entries, reserved=reserved, steps=steps)


@dataclass
class Bench:
    """The desk and what stands around it."""

    desk: ToolDesk
    store: Store
    ledger: Ledger
    clock: StillClock
    snapshot: Snapshot
    counted: list[tuple[str, bool]] = field(default_factory=list)

    def judge(self, principal: Principal = LOCAL, **settings: Any) -> ToolJudge:
        """A judge of one answer."""
        return ToolJudge(self.tuned(**settings), self.asker(principal))

    def asker(self, principal: Principal = LOCAL) -> Asker:
        """Whose answer it is."""
        return Asker("01LLM", principal, {"correlation_id": "r-1"}, self.snapshot, "m")

    def tuned(self, **settings: Any) -> ToolDesk:
        """The desk with other settings."""
        return replace(self.desk, settings=replace(self.desk.settings, **settings))

    async def records(self) -> list[Any]:
        """Every record, oldest first, each with its outcomes."""
        page = await self.store.decisions(EVERY_TENANT, DecisionFilter(), limit=100, cursor=None)
        found = [orjson.loads(entry.body) for entry in reversed(page.decisions)]
        for record in found:
            events = await self.store.events(EVERY_TENANT, record["decision_id"])
            outcomes = [event for event in events if event.event_type == "outcome"]
            record["fates"] = [orjson.loads(event.body)["data"]["fate"] for event in outcomes]
        return found


@contextlib.asynccontextmanager
async def tool_bench(directory: Path, *, mode: Mode | None = None) -> AsyncIterator[Bench]:
    """Open a store and make a desk."""
    clock, randomness = StillClock(), CountedRandomness(9)
    store = await open_sqlite(directory / "a.db", clock=clock, randomness=randomness)
    ledger = Ledger(store)
    counted: list[tuple[str, bool]] = []
    snapshot = Snapshot(
        policies=PolicySet(compile_policy(POLICY.encode())),
        memory=MemoryIndex(),
        engine=EngineSettings(mode=mode),
        keys=KeyRing([]),
        top_k=5,
    )
    desk = ToolDesk(
        SETTINGS,
        ToolMap([ToolConfig.model_validate(tool).rule() for tool in TOOLS], prefix="tool."),
        ledger,
        Approvals(store, clock),
        clock,
        IdSource(clock, randomness),
        lambda verdict, released: counted.append((verdict, released)),
    )
    try:
        yield Bench(desk, store, ledger, clock, snapshot, counted)
    finally:
        await store.close()


def asked(name: str, arguments: str = "{}", *, kind: Kind = Kind.FUNCTION, place: str = "/content/0") -> Call:
    """A call that is complete."""
    call = Call(place, kind, call_id="c-1", name=name, pieces=[arguments])
    call.end()
    return call


class Scripted:
    """A backend's answer whose pieces are given. An error among them is raised. A number passes the time."""

    def __init__(
        self,
        pieces: Sequence[bytes | GatewayError | float],
        *,
        media: bytes = b"text/event-stream",
        status: int = 200,
        headers: Sequence[tuple[bytes, bytes]] = (),
        clock: StillClock | None = None,
    ) -> None:
        self.status = status
        self.headers = ((b"Content-Type", media), *headers)
        self.complete = self.framed = True
        self.buffered = False
        self._pieces = list(pieces)
        self._clock = clock

    async def chunk(self, timeout_s: float) -> bytes:
        """Give the next piece."""
        while self._pieces and isinstance(self._pieces[0], float):
            assert self._clock is not None
            self._clock.now_s += self._pieces.pop(0)
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, GatewayError):
            raise piece
        assert isinstance(piece, bytes)
        return piece
