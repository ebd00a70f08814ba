"""Carries out what the exchange table commands, against ports. The table decides; this only obeys.

The driver's own duty is to name what happened. It never chooses an order: persist comes before
forward because `exchange.TABLE` has no other way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

from gateway.kernel.errors import (
    ClaimTakenError,
    GatewayError,
    InternalError,
    RequestError,
    UpstreamBrokenError,
    UpstreamError,
)
from gateway.kernel.types import Fate, JSONObject
from gateway.pipeline.exchange import START, TABLE, Command, Event, State, Transition
from gateway.pipeline.further import Attempts, Load
from gateway.pipeline.govern import TURNED_AWAY, ending_of, turned_away
from gateway.pipeline.ports import Admitted, Asked, Client, Judge
from gateway.pipeline.relayed import Answer, Watch
from gateway.pipeline.settle import kept, queue, settle
from gateway.pipeline.sighting import (
    Sighting,
    content_length,
    is_event_stream,
    outcome_data,
    own_headers,
    refusal,
    watch_for,
)
from gateway.pipeline.surroundings import Surroundings
from gateway.pipeline.wholeness import BODY_KEPT_BYTES_MAX, how_it_ended
from gateway.records.types import Entry, EventEntry
from gateway.store.port import Receipt
from gateway.wire.headers import relayed_response_headers


class Exchange:
    """One request from its first byte to its fate."""

    __slots__ = (
        "_admitted",
        "_answer",
        "_around",
        "_asked",
        "_attempts",
        "_chunk",
        "_client",
        "_fate",
        "_judge",
        "_kept",
        "_promised",
        "_relayed",
        "_request_id",
        "_watch",
        "sighting",
    )

    def __init__(self, client: Client, judge: Judge, around: Surroundings, *, request_id: str) -> None:
        self._client = client
        self._judge = judge
        self._around = around
        self._request_id = request_id
        self._admitted: Admitted | None = None
        self._asked: Asked | None = None
        self._attempts: Attempts | None = None
        self._fate: Fate | None = None
        self._answer: Answer | None = None
        self._relayed: Answer | None = None
        self._watch: Watch | None = None
        self._chunk = b""
        self._promised: asyncio.Future[Receipt] | None = None
        self._kept: list[bytes] = []
        self.sighting = Sighting(around.clock.monotonic_s())

    async def run(self) -> None:
        """Follow the table to its end. Raises only cancellation and ConnectionError: nobody listens."""
        transition = START
        at_once, waiting = self._AT_ONCE, self._WAITING
        try:
            while True:
                event: Event | None = None
                self._fate = transition.fate
                try:
                    # Here and not in a method of its own: whatever wakes us passes through every frame.
                    for command in transition.commands:
                        if command in at_once:
                            at_once[command](self, transition)
                        else:
                            event = await waiting[command](self)
                except ConnectionError:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever broke, the table says what follows
                    event = self._fault(error, transition)
                if event is None or transition.state is State.ENDED:
                    return
                transition = TABLE[transition.state, event]
        except asyncio.CancelledError:
            self._leave(transition, Event.SHUT_DOWN if self._client.connected else Event.CLIENT_LEFT)
            raise
        except ConnectionError:
            self._leave(transition, Event.CLIENT_LEFT)
            raise
        finally:
            self._finish()

    def _fault(self, error: Exception, transition: Transition) -> Event:
        """Fail closed, and still end in one fate: whatever broke, the table says what follows."""
        self._around.observer.internal_error(error)
        if transition.state is State.ENDED:
            raise error
        return self._note(InternalError(), Event.FAULTED)

    def _leave(self, transition: Transition, event: Event) -> None:
        """The client left, or we are stopping: only what never waits may still be done."""
        if transition.state is not State.ENDED:
            last = TABLE[transition.state, event]
            for command in last.commands:
                self._AT_ONCE[command](self, last)

    def _finish(self) -> None:
        self._release()
        self._tell_end(None)
        self.sighting.ended_s = self._around.clock.monotonic_s()
        self._around.observer.exchange_ended(self.sighting)

    def _release(self) -> None:
        if self._answer is not None and self._admitted is not None:
            self._admitted.backend.release(self._answer)
            self._answer = None

    # --- read, decide, persist -------------------------------------------------------------------

    async def _read(self) -> Event:
        try:
            self._chunk = await self._client.read()
        except RequestError as error:
            return self._note(error, Event.REQUEST_UNREADABLE)
        return Event.REQUEST_READ

    async def _decide(self) -> Event:
        try:
            admitted = self._judge.decide(self._chunk)
        except GatewayError as error:
            return self._note(error, Event.DECISION_FAILED)
        self._admitted = self.sighting.admitted = admitted
        self.sighting.decided_s = self._around.clock.monotonic_s()
        if not (admitted.decision.forwardable or admitted.approved):
            return Event.HELD
        if self._around.governor is not None:
            self._asked = self._judge.asked(admitted, arrived_s=self.sighting.began_s)
        return Event.PERMITTED if self._asked is None else Event.GOVERNED

    async def _admit(self) -> Event:
        admitted, asked, governor = self._admitted, self._asked, self._around.governor
        assert admitted is not None
        assert asked is not None
        assert governor is not None
        terms = await governor.admit(asked)
        if terms is None:
            self._asked = None
            return Event.UNGOVERNED
        self.sighting.queued_s = terms.queued_s
        try:
            admitted = self._judge.planned(admitted, terms)
        except GatewayError as error:
            return self._note(error, Event.DECISION_FAILED)
        self._admitted = self.sighting.admitted = admitted
        if terms.turn in TURNED_AWAY:
            return self._note(turned_away(terms, asked.ticket), TURNED_AWAY[terms.turn])
        return Event.ADMITTED if admitted.decision.forwardable else Event.HELD

    async def _persist(self) -> Event:
        assert self._admitted is not None
        return await self._commit(self._admitted, self._admitted.entries, None)

    async def _persist_refusal(self) -> Event:
        assert self._admitted is not None
        assert self._fate is not None
        outcome = self._outcome(self._admitted, self._fate)
        event = await self._commit(self._admitted, (*self._admitted.entries, outcome), self._fate)
        # Decided again it claims nothing, so that this happens once.
        return await self._persist_refusal() if event is Event.OVERTAKEN else event

    async def _commit(self, admitted: Admitted, entries: tuple[Entry, ...], fate: Fate | None) -> Event:
        try:
            receipt = self._around.recorder.submit(entries, steps=admitted.steps)
            # From here on the store owns the write, also where the client leaves while we wait.
            self.sighting.fate = fate
            self._promised = receipt if admitted.steps else None
            await (asyncio.shield(receipt) if admitted.steps else receipt)
        except GatewayError as error:
            self.sighting.fate = None
            if isinstance(error, ClaimTakenError) and admitted.overtaken is not None:
                self._admitted = self.sighting.admitted = admitted.overtaken(error)
                return Event.OVERTAKEN
            return self._note(error, Event.COMMIT_FAILED)
        return Event.COMMITTED

    # --- forward, relay --------------------------------------------------------------------------

    async def _forward(self) -> Event:
        admitted = self._admitted
        assert admitted is not None
        clock, deadlines, sighting = self._around.clock, self._around.deadlines, self.sighting
        if self._attempts is None:
            sighting.forwarded_s = clock.monotonic_s()
        else:
            self._attempts.sent(admitted)
        try:
            answer = self._answer = await admitted.backend.send(
                admitted.method,
                admitted.path,
                admitted.headers,
                admitted.body,
                first_byte_s=deadlines.first_byte_s,
            )
        except UpstreamError as error:
            sighting.error = error
            return Event.ATTEMPT_FAILED if self._goes_on(admitted, error) else Event.BACKEND_FAILED
        sighting.head_s = clock.monotonic_s()
        sighting.status = answer.status
        if answer.status >= 400 and self._goes_on(admitted, answer):
            return Event.ATTEMPT_FAILED
        self._relayed = answer
        if admitted.gate is not None:
            try:
                self._relayed = await admitted.gate.open(answer, admitted.model, idle_s=deadlines.idle_s)
            except GatewayError as error:
                return self._note(error, Event.BACKEND_FAILED)
        return Event.HEAD_ARRIVED

    def _goes_on(self, admitted: Admitted, came_to: UpstreamError | Answer) -> bool:
        """Tell whether an attempt has failed and there is a further one."""
        retries = self._around.retries
        failure = None if retries is None else retries.failure_of(came_to)
        if retries is None or failure is None:
            return False
        if self._attempts is None:
            load = Load(self._around.governor, self._asked)
            self._attempts = Attempts(retries, load, self.sighting, admitted)
        return self._attempts.failed(failure)

    async def _back_off(self) -> Event:
        assert self._attempts is not None
        await self._attempts.back_off()
        return Event.BACKED_OFF

    async def _persist_attempt(self) -> Event:
        assert self._attempts is not None
        try:
            self._admitted = await self._attempts.commit(self._around)
        except GatewayError as error:
            return self._note(error, Event.COMMIT_FAILED)
        return Event.COMMITTED

    async def _relay_head(self) -> Event:
        answer, admitted = self._relayed, self._admitted
        assert answer is not None
        assert admitted is not None
        headers = own_headers(self.sighting, request_id=self._request_id)
        for name, value in relayed_response_headers(answer.headers):
            headers.append((name.decode("latin-1"), value.decode("latin-1")))
        streamed = is_event_stream(answer)
        self._watch = watch_for(admitted, answer, streamed=streamed)
        if streamed:
            headers.append(("x-accel-buffering", "no"))
        length = content_length(answer)
        await self._client.send_head(answer.status, headers, length=length, flush=not answer.buffered)
        return await self._next_chunk(answer)

    async def _relay_chunk(self) -> Event:
        answer = self._relayed
        assert answer is not None
        data = self._chunk
        sighting = self.sighting
        sighting.bytes_out += len(data)
        if self._watch is not None:
            self._watch.feed(data)
            sighting.usage = self._watch.usage
            if sighting.first_content_s is None and self._watch.content_seen:
                sighting.first_content_s = self._around.clock.monotonic_s()
                if self._asked is not None and self._around.governor is not None:
                    self._around.governor.first_token(self._asked)
        elif sighting.bytes_out <= BODY_KEPT_BYTES_MAX:
            self._kept.append(data)
        await self._client.send_chunk(data)
        return await self._next_chunk(answer)

    async def _next_chunk(self, answer: Answer) -> Event:
        try:
            self._chunk = await answer.chunk(self._around.deadlines.idle_s)
        except GatewayError as error:
            return self._note(error, Event.BODY_BROKE_OFF)
        if self._chunk:
            return Event.CHUNK_ARRIVED
        assert self._admitted is not None
        return how_it_ended(answer, self._admitted, self._watch, self._kept, self.sighting)

    async def _relay_end(self) -> None:
        if self._promised is not None:
            await kept(self._promised)
        await self._client.send_end()

    async def _answer_error(self) -> None:
        assert self.sighting.error is not None
        await kept(self._promised)
        await self._client.send_error(
            self.sighting.error,
            headers=own_headers(self.sighting, request_id=self._request_id),
        )

    async def _answer_refusal(self) -> None:
        assert self._admitted is not None
        await self._client.send_error(
            self.sighting.error or self._admitted.refusal or refusal(self._admitted),
            headers=own_headers(self.sighting, request_id=self._request_id),
        )

    # --- what never waits ------------------------------------------------------------------------

    def _abort_backend(self, _: Transition) -> None:
        self._release()

    def _settle(self, transition: Transition) -> None:
        assert transition.fate is not None
        assert self._admitted is not None
        self.sighting.fate = fate = transition.fate
        gate = self._admitted.gate
        calls = () if gate is None else gate.outcomes(fate)
        ends = (self._outcome(self._admitted, fate), *calls)
        self._promised = settle(self._around.recorder, self.sighting, ends, self._promised)

    def _settle_unsent(self, transition: Transition) -> None:
        assert transition.fate is not None
        assert self._admitted is not None
        self.sighting.fate = transition.fate
        outcome = self._outcome(self._admitted, transition.fate)
        queue(self._around.recorder, (*self._admitted.entries, outcome))

    def _relay_break(self, _: Transition) -> None:
        error = self.sighting.error or UpstreamBrokenError("the gateway is stopping")
        told = None if self._watch is None else self._admitted
        self._client.break_off(None if told is None else told.api.error_event(error))

    def _note(self, error: GatewayError, event: Event) -> Event:
        self.sighting.error = error
        return event

    def _outcome(self, admitted: Admitted, fate: Fate) -> EventEntry:
        around = self._around
        if self._attempts is not None:
            self.sighting.attempts = self._attempts.told()
        data = outcome_data(self.sighting, fate, now_s=around.clock.monotonic_s(), watch=self._watch)
        control = self._tell_end(fate)
        if control is not None:
            data["control"] = control
        return around.event(admitted, "outcome", data, own=control is None)

    def _tell_end(self, fate: Fate | None) -> JSONObject | None:
        """Tell the governor how it ended, once."""
        asked, governor = self._asked, self._around.governor
        if asked is None or governor is None:
            return None
        self._asked = None
        return governor.ended(asked, ending_of(asked, self.sighting, fate, self._watch))

    _WAITING: ClassVar[Mapping[Command, Callable[[Exchange], Awaitable[Event | None]]]] = MappingProxyType(
        {
            Command.READ: _read,
            Command.DECIDE: _decide,
            Command.ADMIT: _admit,
            Command.PERSIST: _persist,
            Command.PERSIST_REFUSAL: _persist_refusal,
            Command.FORWARD: _forward,
            Command.BACK_OFF: _back_off,
            Command.PERSIST_ATTEMPT: _persist_attempt,
            Command.RELAY_HEAD: _relay_head,
            Command.RELAY_CHUNK: _relay_chunk,
            Command.RELAY_END: _relay_end,
            Command.ANSWER_ERROR: _answer_error,
            Command.ANSWER_REFUSAL: _answer_refusal,
        },
    )
    _AT_ONCE: ClassVar[Mapping[Command, Callable[[Exchange, Transition], None]]] = MappingProxyType(
        {
            Command.ABORT_BACKEND: _abort_backend,
            Command.SETTLE: _settle,
            Command.SETTLE_UNSENT: _settle_unsent,
            Command.RELAY_BREAK: _relay_break,
        },
    )
    """What never waits, and so may still be done when the client has left or we are stopping."""
