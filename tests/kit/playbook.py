"""Golden conversations with an exchange: what it asks of its ports, and what they say (after mitmproxy's).

    book = Playbook() << "read" >> BODY << "decide" >> PERMITTED << "commit decision" << "send POST /v1/x" ...
    await book.play()

`<<` is a call that the driver must make next, in the words of `_Ports`; `>>` is the port's reply to it: a
value, an exception to raise, `LEAVES` (the client goes, the handler is cancelled), `STOPS` (the drain time
is over), or `After(seconds, reply)`, which moves the virtual clock first. Without a reply a port says the
plain thing. No sockets, no database, no real time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import orjson

from gateway.engine.decide import Decision
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import NO_TENANT, JSONObject, Mode, Verdict
from gateway.pipeline.drive import Exchange
from gateway.pipeline.further import Retries
from gateway.pipeline.govern import FailOpen
from gateway.pipeline.ports import Admitted, Asked, Ending, Terms
from gateway.pipeline.sighting import Sighting
from gateway.pipeline.surroundings import Deadlines, Surroundings
from gateway.records.types import DecisionEntry, Entry, EventEntry
from gateway.store.claims import ClaimStep
from gateway.store.port import Receipt
from tests.kit.entries import CountedRandomness, StillClock, decision

BODY = b'{"model":"m"}'
RECEIPT = Receipt("w", 0, 0)
JSON_HEAD = ((b"content-type", b"application/json"),)
SSE_HEAD = ((b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked"))
LEAVES = "the client leaves"
STOPS = "the gateway stops"


@dataclass(frozen=True)
class After:
    """A reply that comes after some virtual seconds."""

    seconds: float
    reply: Any = None


@dataclass
class Head:
    """A backend's answer: the status and headers, and what is known of its framing at the end."""

    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = JSON_HEAD
    complete: bool = True
    framed: bool = True
    buffered: bool = False
    ports: Any = None

    async def chunk(self, timeout_s: float) -> bytes:
        """Ask the script for the next piece."""
        del timeout_s
        got = await self.ports.waits("chunk")
        return b"" if got is None else got


def verdict(kind: Verdict = Verdict.TRUST, mode: Mode = Mode.ENFORCE, **changed: Any) -> Admitted:
    """Return a decided request whose record is entry 1; a verdict other than TRUST is held."""
    entry = decision(1, verdict=kind.value)
    record = {"verdict": kind.value, "queries": [{"field": "evidence.order_id", "question": "which?"}]}
    decided = Decision(
        body=orjson.dumps(record),
        decision_id=entry.entry_id,
        verdict=kind,
        reason_codes=("LLM_REQUEST_OK",) if kind is Verdict.TRUST else ("LLM_TOKENS_OVER_LIMIT",),
        action_type="llm.chat_completion",
        policy_hash=entry.policy_hash,
        mode=mode,
        inputs_digest="sha256:" + "c" * 64,
    )
    made = Admitted(
        decision=decided,
        tenant=NO_TENANT,
        at_ms=entry.at_ms,
        entries=(entry,),
        backend=_Backend(),
        method="POST",
        path="/v1/chat/completions",
        headers=((b"content-type", b"application/json"),),
        body=BODY,
        model="m",
    )
    return replace(made, **changed)


@dataclass(frozen=True)
class Planned:
    """A governor's answer: by default another model and a cap."""

    turn: str = "admitted"
    intent: str = "chat"
    service_class: str = "standard"
    model: str = "small"
    max_tokens: int | None = 9
    fields: Any = field(default_factory=lambda: {"model": "small", "max_tokens": 9})
    removed: tuple[str, ...] = ()
    headers: Any = (("x-llm-d-inference-objective", "standard"),)
    actions: tuple[str, ...] = ("MODEL_SWITCHED", "TOKENS_CAPPED")
    reason: str = "switched m -> small"
    retry_after_s: float = 0.0
    queued_s: float = 0.0
    control: Any = field(default_factory=lambda: {"intent": "chat"})


ASKED = Asked(
    ticket="t",
    intent=None,
    permitted=("*",),
    key="local",
    tenant=None,
    route="/v1/chat/completions",
    model="m",
    stream=False,
    input_tokens=3,
    max_tokens=None,
    fields={},
    choices=1,
    service_tier=None,
    arrived_s=0.0,
)


@dataclass
class _Backend:
    """A backend that the script answers for."""

    name: str = "pool-a"
    ports: Any = None
    to: str = ""
    """What the call says besides method and path."""
    expects: bytes = BODY

    async def send(self, method: str, path: str, headers: Any, body: bytes, *, first_byte_s: float) -> Head:
        del headers, first_byte_s
        assert body == self.expects, "what was judged is what is forwarded"
        head = await self.ports.waits(f"send {method} {path}{self.to}")
        answer = Head() if head is None else head
        answer.ports = self.ports
        return answer

    def release(self, answer: Head) -> None:
        del answer
        self.ports.at_once("release")


@dataclass
class _Ports:
    """Client, judge, recorder and observer in one: each call is a line of the conversation."""

    script: list[tuple[str, Any]]
    clock: StillClock = field(default_factory=StillClock)
    heard: list[str] = field(default_factory=list)
    waited: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    endings: list[Sighting] = field(default_factory=list)
    connected: bool = True
    task: asyncio.Task[None] | None = None
    told: list[Any] = field(default_factory=list)
    """What the governor was told: endings, and `first token`."""

    def _reply(self, call: str) -> Any:
        at = len(self.heard)
        self.heard.append(call)
        reply = self.script[at][1] if at < len(self.script) else None
        if isinstance(reply, After):
            self.clock.now_s += reply.seconds
            reply = reply.reply
        return reply

    def at_once(self, call: str) -> Any:
        reply = self._reply(call)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def waits(self, call: str) -> Any:
        self.waited.append(call)
        reply = self._reply(call)
        if reply in (LEAVES, STOPS):
            self.connected = reply is STOPS
            assert self.task is not None
            self.task.cancel()
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    # --- client ----------------------------------------------------------------------------------

    async def read(self) -> bytes:
        body = await self.waits("read")
        return BODY if body is None else body

    async def send_head(self, status: int, headers: Any, *, length: int | None, flush: bool) -> None:
        self.sent.append((status, dict(headers), length, flush))
        await self.waits(f"head {status}")

    async def send_chunk(self, data: bytes) -> None:
        self.sent.append(data)
        await self.waits(f"relay {len(data)}")

    async def send_end(self) -> None:
        await self.waits("end")

    def break_off(self, last_event: bytes | None) -> None:
        self.sent.append(last_event)
        self.at_once("reset" if last_event is None else "break event")

    async def send_error(self, error: GatewayError, *, headers: Any) -> None:
        self.sent.append((error, dict(headers)))
        await self.waits(f"error {error.status} {error.code}")

    # --- judge, recorder, observer ---------------------------------------------------------------

    def decide(self, body: bytes) -> Admitted:
        del body
        got = self.at_once("decide")
        admitted: Admitted = verdict() if got is None else got
        admitted.backend.ports = self  # type: ignore[attr-defined]
        return admitted

    def asked(self, admitted: Admitted, *, arrived_s: float) -> Asked | None:
        del admitted, arrived_s
        return ASKED

    def planned(self, admitted: Admitted, terms: Terms) -> Admitted:
        got = self.at_once(f"plan {terms.turn}")
        return replace(admitted if got is None else got, model=terms.model, actions=terms.actions)

    async def admit(self, asked: Asked) -> Terms:
        del asked
        got: Terms | None = await self.waits("admit")
        return Planned() if got is None else got

    def first_token(self, ticket: str) -> None:
        self.told.append(f"first token of {ticket}")

    def ended(self, ticket: str, ending: Ending) -> JSONObject | None:
        del ticket
        self.told.append(ending)
        return {"met": True} if ending.forwarded else None

    def submit(
        self, entries: Sequence[Entry], *, reserved: bool = False, steps: Sequence[ClaimStep] = ()
    ) -> asyncio.Future[Receipt]:
        call = ("queue " if reserved else "commit ") + " + ".join(map(_entry_name, entries))
        waiter: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if not reserved:
            self.waited.append(call)
        reply = self._reply(call)
        if isinstance(reply, Refusing):
            raise reply.error
        self.entries.extend(entries)
        if isinstance(reply, BaseException):
            waiter.set_exception(reply)
        elif reply in (LEAVES, STOPS):
            self.connected = reply is STOPS
            assert self.task is not None
            self.task.cancel()
        else:
            waiter.set_result(RECEIPT)
        return waiter

    def exchange_ended(self, sighting: Sighting) -> None:
        self.endings.append(sighting)

    def internal_error(self, error: BaseException) -> None:
        self.faults.append(error)


@dataclass(frozen=True)
class Refusing:
    """A reply to `commit` or `queue` that refuses at once, before anything is queued."""

    error: Exception


def _entry_name(entry: Entry) -> str:
    if isinstance(entry, EventEntry):
        data = orjson.loads(entry.body)["data"]
        return f"{entry.event_type}:{data.get('fate') or data.get('state') or data['kind']}"
    assert isinstance(entry, DecisionEntry)
    return "decision"


@dataclass(frozen=True)
class Played:
    """What came of a conversation."""

    ports: _Ports
    raised: BaseException | None

    @property
    def heard(self) -> list[str]:
        """Every call, in order."""
        return self.ports.heard

    @property
    def outcomes(self) -> list[JSONObject]:
        """The data of the outcome events that were handed to the store."""
        return [data for data in self.events if "fate" in data]

    @property
    def events(self) -> list[JSONObject]:
        """The data of all events that were handed to the store."""
        return [
            orjson.loads(entry.body)["data"] for entry in self.ports.entries if isinstance(entry, EventEntry)
        ]

    @property
    def ending(self) -> Sighting:
        """What the observer was told: once, whatever happened."""
        [sighting] = self.ports.endings
        return sighting


class Playbook:
    """A script; see the module's docstring."""

    ports_type = _Ports

    def __init__(self) -> None:
        self.script: list[tuple[str, Any]] = []

    def retries(self, ports: _Ports) -> Retries | None:
        """Return what further attempts share: none here."""
        del ports
        return None

    def __lshift__(self, call: str) -> Self:
        """The driver must make this call next."""
        self.script.append((call, None))
        return self

    def __rshift__(self, reply: Any) -> Self:
        """The reply to the call before."""
        self.script[-1] = (self.script[-1][0], reply)
        return self

    async def play(self, *, governed: bool = False) -> Played:
        """Run the exchange and hold what it did against the script, call by call."""
        played = await self.run(governed=governed)
        assert played.heard == [call for call, _ in self.script]
        return played

    async def run(self, *, governed: bool = False) -> Played:
        """Run the exchange along the script's replies, whatever it asks."""
        ports = self.ports_type(self.script)
        around = Surroundings(
            recorder=ports,
            clock=ports.clock,
            ids=IdSource(ports.clock, CountedRandomness(7)),
            observer=ports,
            deadlines=Deadlines(first_byte_s=30.0, idle_s=5.0),
            governor=FailOpen(ports, ports) if governed else None,
            retries=self.retries(ports),
        )
        exchange = Exchange(ports, ports, around, request_id="req-1")
        ports.task = asyncio.get_running_loop().create_task(exchange.run())
        raised: BaseException | None = None
        async with asyncio.timeout(5):
            with contextlib.suppress(asyncio.CancelledError):
                try:
                    await asyncio.shield(ports.task)
                except asyncio.CancelledError as error:
                    raised = error
                    raise
                except Exception as error:  # noqa: BLE001 - the test says which was meant
                    raised = error
        return Played(ports, raised)
