"""What every exchange of a server shares."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.kernel.clock import Clock
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSONObject
from gateway.pipeline.further import Retries
from gateway.pipeline.govern import FailOpen
from gateway.pipeline.journal import event_entry
from gateway.pipeline.ports import Admitted, Recorder
from gateway.pipeline.sighting import Observer
from gateway.records.types import EventEntry


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a backend may be silent, in seconds."""

    first_byte_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The ports and the deadlines of all exchanges."""

    recorder: Recorder
    clock: Clock
    ids: IdSource
    observer: Observer
    deadlines: Deadlines
    governor: FailOpen | None = None
    """None without intents: then an exchange never hears of one."""
    retries: Retries | None = None
    """None where every request has a single attempt."""

    def event(
        self, admitted: Admitted, event_type: str, data: JSONObject, *, own: bool = False
    ) -> EventEntry:
        """Return the entry of something that happens to a decision now; `own` as for `event_entry`."""
        return event_entry(
            event_id=self.ids.new(),
            decision_id=admitted.decision.decision_id,
            tenant=admitted.tenant,
            at_ms=self.clock.wall_ms(),
            event_type=event_type,
            data=data,
            own=own,
        )
