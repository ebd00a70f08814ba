"""What an exchange needs from the outside: protocols only, so that it runs in a test without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gateway.engine.decide import Decision
from gateway.kernel.errors import ClaimTakenError, GatewayError
from gateway.kernel.hot import hot_dataclass
from gateway.kernel.types import Fate, JSONObject, Tenant
from gateway.pipeline.relayed import Answer, AnswerGate, Watch
from gateway.pipeline.retry import Repeats
from gateway.records.types import Entry
from gateway.store.claims import ClaimStep
from gateway.store.port import Receipt
from gateway.wire.api import CHAT, Api

Headers: TypeAlias = Sequence[tuple[str, str]]


class Recorder(Protocol):
    """The part of the store that an exchange uses."""

    def submit(
        self, entries: Sequence[Entry], *, reserved: bool = False, steps: Sequence[ClaimStep] = ()
    ) -> asyncio.Future[Receipt]:
        """See `store.port.Store.submit`."""
        ...


class Backend(Protocol):
    """Where an admitted request goes."""

    name: str

    async def send(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        first_byte_s: float,
    ) -> Answer:
        """Send a request, wait for the head of its answer. Raises UpstreamError."""
        ...

    def release(self, answer: Answer) -> None:
        """Say that the answer is read or given up; one that is not whole closes its connection."""
        ...


class Client(Protocol):
    """The one who asked. Every method may raise ConnectionError: the client has left."""

    @property
    def connected(self) -> bool:
        """The client's side of the connection is up, as far as we know."""
        ...

    async def read(self) -> bytes:
        """Return the whole request body. Raises RequestError."""
        ...

    async def send_head(
        self,
        status: int,
        headers: Sequence[tuple[str, str]],
        *,
        length: int | None,
        flush: bool,
    ) -> None:
        """Begin the answer. `length` None means chunks; `flush` sends the head before any body."""
        ...

    async def send_chunk(self, data: bytes) -> None:
        """Send a piece of the body, and wait while the client is slower than we are."""
        ...

    async def send_end(self) -> None:
        """End the answer as whole."""
        ...

    def break_off(self, last_event: bytes | None) -> None:
        """End an answer that has begun, at once, so that it cannot be taken for whole.

        `last_event` says so inside an event stream; where there is none, the connection is reset.
        """
        ...

    async def send_error(self, error: GatewayError, *, headers: Sequence[tuple[str, str]]) -> None:
        """Answer with an error in the shape of the client's API."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """A decided request: its record, and what would be forwarded where."""

    decision: Decision
    tenant: Tenant
    at_ms: int
    entries: tuple[Entry, ...]
    """The decision, and with it whatever must be committed in the same group."""
    backend: Backend
    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    """The very bytes that are forwarded: as they came, or with the fields that the decision names."""
    model: str | None
    """The model that serves it."""
    actions: tuple[str, ...] = ()
    """What the governor did to it, in the words of records and headers."""
    reason: str = ""
    """Why, in a sentence."""
    watch: Callable[[Answer], Watch] | None = None
    """What looks at the answer; None: the one for streams of the OpenAI API."""
    approved: bool = False
    """A person approved this very call: it goes, though the policy escalates it."""
    refusal: GatewayError | None = None
    """What the caller is told if it does not go; None leaves it to the verdict."""
    steps: tuple[ClaimStep, ...] = ()
    """What is claimed in the commit of the decision."""
    overtaken: Callable[[ClaimTakenError], Admitted] | None = None
    """What it becomes where another claimed first: a refusal, decided again under the same id."""
    settled: Callable[[Fate, GatewayError | None, bool], tuple[ClaimStep, ...]] | None = None
    """What its end claims or frees, in the commit of the outcome: told the fate, the error that ended it, and
    whether it was sent."""
    opaque: bool = False
    """The answer is none of an LLM: its content says nothing of its end or of tokens."""
    api: Api = CHAT
    """How its API says errors, ends and token counts."""
    gate: AnswerGate | None = None
    """What judges the tool calls in its answer; None relays the answer as it comes."""
    onward: Onward | None = None
    """Who knows where else it may go; None where one attempt is all there is."""


@dataclass(frozen=True, slots=True)
class Further:
    """What a further attempt would be: the request as it would be sent now, and how that was judged."""

    admitted: Admitted
    judged: JSONObject | None = None
    """The decision about it, where it is not the one on record: what goes elsewhere is judged anew."""


class Onward(Protocol):
    """Where a request may go whose attempt has failed. What it returns is judged by the policy on record."""

    @property
    def repeats(self) -> Repeats:
        """What a repetition does."""
        ...

    def elsewhere(
        self, admitted: Admitted, excluding: Collection[str], headers: Headers | None
    ) -> Further | None:
        """Return the same request for another backend than these, with fresh headers of the governor."""
        ...

    def instead(self, admitted: Admitted, terms: Terms, excluding: Collection[str]) -> Further | None:
        """Return the request for another model, under these terms."""
        ...

    def again(self, admitted: Admitted, headers: Headers | None) -> Admitted:
        """Return the same request for the same backend."""
        ...


@hot_dataclass(frozen=True, slots=True)
class Asked:
    """What a governor is told of a permitted request: names and counts, no text."""

    ticket: str
    """The decision's id: unlike a client's request id it is never used twice."""
    intent: str | None
    """The intent that the client names."""
    permitted: tuple[str, ...]
    """Shell-style patterns of the intents that its key may use."""
    key: str
    tenant: str | None
    route: str
    model: str
    stream: bool
    input_tokens: int
    max_tokens: int | None
    fields: Mapping[str, int | str]
    """The fields of the body that steer an engine, as they are there."""
    choices: int
    """How many answers are asked for at once."""
    service_tier: str | None
    arrived_s: float
    """Of the monotonic clock."""


class Terms(Protocol):
    """A governor's answer: whether, and under which terms, a request may leave."""

    @property
    def turn(self) -> str:
        """`admitted`, `shed` or `expired`."""
        ...

    @property
    def intent(self) -> str:
        """The name of the intent that covers it."""
        ...

    @property
    def service_class(self) -> str:
        """The class of that intent."""
        ...

    @property
    def model(self) -> str:
        """The model that is to serve it."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """The cap on the answer; None leaves the request as it is."""
        ...

    @property
    def fields(self) -> Mapping[str, int | str]:
        """The top-level fields of the body to set; with nothing to remove the bytes go as they came."""
        ...

    @property
    def removed(self) -> Sequence[str]:
        """The top-level fields of the body to take out."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Headers to add."""
        ...

    @property
    def actions(self) -> tuple[str, ...]:
        """What was done, in the words of records and headers."""
        ...

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        ...

    @property
    def retry_after_s(self) -> float:
        """When a request that was turned away may come again."""
        ...

    @property
    def queued_s(self) -> float:
        """How long the request was kept waiting for its turn."""
        ...

    @property
    def control(self) -> JSONObject:
        """What stands under `extensions.control` of the record."""
        ...


@hot_dataclass(frozen=True, slots=True)
class Ending:
    """How an admitted request ended, for the governor."""

    fate: str | None
    """None where nothing came of it and nothing was recorded."""
    forwarded: bool
    status: int | None
    error: str | None
    """The code of the error, where one ended it."""
    input_tokens: int | None
    output_tokens: int
    """By the backend's usage, else by the events of its stream."""
    cached_tokens: int
    truncated: bool
    """The answer is as long as the client allowed, so it might have been longer."""


class Governor(Protocol):
    """Who keeps latency and cost within what was declared. May raise anything: it is not trusted to work."""

    async def admit(self, asked: Asked) -> Terms:
        """Plan a request and wait for its turn. A cancelled caller leaves nothing behind."""
        ...

    def first_rung(self, asked: Asked) -> str | None:
        """Return the model that the intent of a request prefers, None where it has none; plans nothing."""
        ...

    def first_token(self, ticket: str) -> None:
        """The first content of an admitted request went by."""
        ...

    def headers(self, asked: Asked) -> Headers:
        """Return the headers of an admitted request as they are to be now, for a further attempt."""
        ...

    def detour(self, asked: Asked, without: Collection[str]) -> Terms | None:
        """Return the terms under which another model than these may serve it at once; None for none."""
        ...

    def diverted(self, asked: Asked, terms: Terms, ending: Ending) -> None:
        """Take note that it goes that way, and how the attempt before ended."""
        ...

    def ended(self, ticket: str, ending: Ending) -> JSONObject | None:
        """Take note of an end; return prediction against observation, None where it was never sent."""
        ...


class Judge(Protocol):
    """Reads a body and decides it: the part of an exchange that knows what kind of traffic it is."""

    def decide(self, body: bytes) -> Admitted:
        """Return the decided request. Raises RequestError where the body is no request."""
        ...

    def asked(self, admitted: Admitted, *, arrived_s: float) -> Asked | None:
        """Return what a governor is told of it; None where there is nothing to govern."""
        ...

    def planned(self, admitted: Admitted, terms: Terms) -> Admitted:
        """Return the request decided again, under these terms, with the same id. Raises GatewayError."""
        ...
