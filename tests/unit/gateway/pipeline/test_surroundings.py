"""What exchanges share makes their events."""

from __future__ import annotations

from typing import Any, cast

import orjson

from gateway.kernel.ids import IdSource, is_ulid
from gateway.pipeline.surroundings import Deadlines, Surroundings
from tests.kit.entries import CountedRandomness, StillClock
from tests.kit.playbook import verdict


def test_an_event_belongs_to_its_decision() -> None:
    """A fresh id, the decision's id and tenant, the instant of now, and the data as given."""
    clock = StillClock()
    nobody = cast("Any", None)
    around = Surroundings(nobody, clock, IdSource(clock, CountedRandomness()), nobody, Deadlines(1.0, 1.0))
    admitted = verdict()
    event = around.event(admitted, "note", {"kind": "attempt"})
    assert is_ulid(event.entry_id)
    assert event.entry_id != around.event(admitted, "note", {}).entry_id
    assert (event.decision_id, event.tenant) == (admitted.decision.decision_id, admitted.tenant)
    assert (event.event_type, event.at_ms) == ("note", clock.now_ms)
    assert orjson.loads(event.body)["data"] == {"kind": "attempt"}
    assert (around.governor, around.retries) == (None, None)
