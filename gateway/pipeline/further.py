"""Further attempts of one exchange: where the next goes, and the event that is committed before it is sent.

Asked in this order: another backend that serves the same model; the next model of the plan, where a governor
knows one that its intent permits; the same backend again, where the configuration wants that. What goes to
another backend or model is judged anew, under the snapshot that is on record: a policy that would not have
let it go there does not let it go there now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from gateway.kernel.canon import sha256_digest
from gateway.kernel.clock import Clock
from gateway.kernel.errors import UpstreamError
from gateway.kernel.types import Fate, JSONObject
from gateway.pipeline.govern import FailOpen, ending_of
from gateway.pipeline.journal import ATTEMPT
from gateway.pipeline.ports import Admitted, Asked, Further, Headers, Onward, Recorder, Terms
from gateway.pipeline.relayed import Answer
from gateway.pipeline.retry import (
    Failure,
    RetryBudget,
    RetrySettings,
    failure_of_answer,
    failure_of_error,
    may_repeat,
    pause_s,
)
from gateway.pipeline.sighting import Sighting, micros
from gateway.records.types import EventEntry
from gateway.telemetry.upstream import RetryReading


class Writer(Protocol):
    """Who makes and keeps events: an exchange's surroundings."""

    @property
    def recorder(self) -> Recorder:
        """Where they are kept."""
        ...

    def event(self, admitted: Admitted, event_type: str, data: JSONObject) -> EventEntry:
        """Return the entry of something that happens to a decision now."""
        ...


@dataclass(slots=True)
class Retries:
    """What further attempts of all exchanges share."""

    settings: RetrySettings
    budget: RetryBudget
    clock: Clock
    draw: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    requests: Callable[[], int]
    """How many requests have been sent so far, attempts of all kinds."""
    made: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Further attempts by the reason for them."""
    forgone: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Failures without a further attempt, by what stood in its way."""

    def reading(self) -> RetryReading:
        """Return what metrics show."""
        return RetryReading(self.budget.tokens, dict(self.made), dict(self.forgone))

    def afford(self) -> bool:
        """Take one out of the budget."""
        made = sum(self.made.values())
        self.budget.refill(self.requests() - made, self.clock.monotonic_s())
        return self.budget.take()

    def failure_of(self, came_to: UpstreamError | Answer) -> Failure | None:
        """Return why an attempt failed; None where its answer is one to relay."""
        if isinstance(came_to, UpstreamError):
            return failure_of_error(came_to)
        return failure_of_answer(
            came_to.status, came_to.headers, self.settings.statuses, wall_ms=self.clock.wall_ms()
        )


@dataclass(frozen=True, slots=True)
class _Next:
    """A further attempt that could be made."""

    further: Further
    pause_s: float
    terms: Terms | None = None
    """Where another model serves it."""


class Attempts:
    """The attempts of one exchange; made when its first one has failed."""

    __slots__ = (
        "_began_s",
        "_down",
        "_load",
        "_log",
        "_next",
        "_reason",
        "_retries",
        "_sent_s",
        "_sighting",
        "_tried",
        "_way",
    )

    def __init__(self, retries: Retries, load: Load, sighting: Sighting, first: Admitted) -> None:
        """Take what is shared, what the governor says, and the first attempt, which was sent already."""
        assert sighting.forwarded_s is not None
        self._retries = retries
        self._load = load
        self._sighting = sighting
        self._began_s = self._sent_s = sighting.forwarded_s
        self._way: Admitted | None = first
        self._next: _Next | None = None
        self._reason = ""
        self._tried: set[tuple[str | None, str]] = set()
        self._down: set[str] = set()
        self._log: list[JSONObject] = []

    def sent(self, admitted: Admitted) -> None:
        """Take note that an attempt is sent now."""
        self._way = admitted
        self._sent_s = self._retries.clock.monotonic_s()

    def told(self) -> list[JSONObject] | None:
        """Return what the outcome event says of the attempts; None where there was only one."""
        if self._way is not None:
            self._note(self._way)
        return self._log if len(self._log) > 1 else None

    def failed(self, failure: Failure) -> bool:
        """Take note of why the attempt came to nothing; tell whether there is a further one."""
        admitted = self._way
        assert admitted is not None
        self._note(admitted, failure)
        found = self._find(admitted, failure)
        if isinstance(found, str):
            self._retries.forgone[found] += 1
            return False
        if found.terms is not None:
            self._load.divert(found.terms, self._sighting)
        self._retries.made[failure.reason] += 1
        self._next, self._reason = found, failure.reason
        return True

    def _note(self, admitted: Admitted, failure: Failure | None = None) -> None:
        self._way = None
        facts: JSONObject = {
            "n": len(self._log) + 1,
            "backend": admitted.backend.name,
            "model": admitted.model,
            "failed": None if failure is None else failure.reason,
            "duration_us": micros(self._sent_s, self._retries.clock.monotonic_s()),
        }
        self._log.append({name: value for name, value in facts.items() if value is not None})

    def _find(self, admitted: Admitted, failure: Failure) -> _Next | str:
        """Return the next attempt, or in a word what stands in its way."""
        retries, settings, onward = self._retries, self._retries.settings, admitted.onward
        self._tried.add((admitted.model, admitted.backend.name))
        if not failure.reason.startswith("status_"):
            self._down.add(admitted.backend.name)
        if onward is None or not may_repeat(failure, onward.repeats, settings):
            return "unrepeatable"
        if len(self._log) >= settings.attempts_max:
            return "attempts"
        found = (
            self._elsewhere(admitted, onward)
            or self._instead(admitted, onward, failure)
            or self._again(admitted, onward, failure)
        )
        if found is None:
            return "nowhere"
        if retries.clock.monotonic_s() - self._began_s + found.pause_s > settings.total_s:
            return "time"
        return found if retries.afford() else "budget"

    async def back_off(self) -> None:
        """Wait until the next attempt may be made."""
        if self._next is not None and self._next.pause_s:
            await self._retries.sleep(self._next.pause_s)

    async def commit(self, writer: Writer) -> Admitted:
        """Commit the event of the next attempt; return what is to be sent. Raises GatewayError.

        Where nobody waits for the commit any more, nothing is sent: the event says what was meant to be.
        """
        found = self._next
        assert found is not None
        admitted = found.further.admitted
        data: JSONObject = {
            "kind": ATTEMPT,
            "n": len(self._log) + 1,
            "backend": admitted.backend.name,
            "model": admitted.model,
            "reason": self._reason,
            "digest": sha256_digest(admitted.body),
            "pause_us": round(found.pause_s * 1_000_000) or None,
            "judged": found.further.judged,
            "control": None if found.terms is None else found.terms.control,
        }
        facts = {name: value for name, value in data.items() if value is not None}
        await writer.recorder.submit((writer.event(admitted, "note", facts),))
        return self._sighting.goes_on(admitted)

    # --- where to --------------------------------------------------------------------------------

    def _elsewhere(self, admitted: Admitted, onward: Onward) -> _Next | None:
        further = onward.elsewhere(admitted, self._spent(admitted.model), self._load.headers())
        return None if further is None else _Next(further, 0.0)

    def _instead(self, admitted: Admitted, onward: Onward, failure: Failure) -> _Next | None:
        without = {model for model, _ in self._tried if model is not None}
        while (terms := self._load.detour(without)) is not None:
            further = onward.instead(admitted, terms, self._spent(terms.model))
            if further is not None:
                same = further.admitted.backend.name == admitted.backend.name
                return _Next(further, (failure.retry_after_s or 0.0) if same else 0.0, terms)
            if terms.model in without:
                break
            without.add(terms.model)
        return None

    def _again(self, admitted: Admitted, onward: Onward, failure: Failure) -> _Next | None:
        retries = self._retries
        if not retries.settings.same_backend:
            return None
        pause = pause_s(failure, len(self._log) + 1, retries.settings, retries.draw())
        return _Next(Further(onward.again(admitted, self._load.headers())), pause)

    def _spent(self, model: str | None) -> set[str]:
        """Return the backends that are not asked for this model: down, or asked for it before."""
        return self._down | {backend for served, backend in self._tried if served == model}


@dataclass(frozen=True, slots=True)
class Load:
    """What a governor has to say about a further attempt; nothing, where nobody governs."""

    governor: FailOpen | None
    asked: Asked | None

    def headers(self) -> Headers | None:
        """Return its headers for now, or None to leave them as they are."""
        if self.governor is None or self.asked is None:
            return None
        return self.governor.headers(self.asked)

    def detour(self, without: Collection[str]) -> Terms | None:
        """Return the terms of another model than these."""
        if self.governor is None or self.asked is None:
            return None
        return self.governor.detour(self.asked, without)

    def divert(self, terms: Terms, sighting: Sighting) -> None:
        """Say that it goes that way, and how the attempt before ended."""
        if self.governor is not None and self.asked is not None:
            ending = ending_of(self.asked, sighting, Fate.FAILED, None)
            self.governor.diverted(self.asked, terms, ending)
