"""`controller.stored`: bodies for a ledger, and back; a tick's state stands there once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.core import Controller, ControllerConfig, replay
from controller.intent import IntentSet
from controller.plan import Disposition, digest, tick_from_plain
from controller.stored import (
    Ledger,
    config_body,
    control_part,
    seen,
    stored_case,
    table_part,
    tick_body,
)
from tests.kit.control import catalogue, intent, request

CHAT = intent()


class Notes:
    """A journal that keeps what it is told."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Mapping[str, Any]]] = []

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Keep it."""
        self.kept.append((kind, body))


def controller() -> Controller:
    """Return a controller with a full large model."""
    made = Controller(ControllerConfig(catalogue(), IntentSet([CHAT])), 0.0)
    made.deployments["large"].limit.restore(4)
    made.tick(0.0)
    return made


def test_a_state_is_held_once_and_with_its_step_where_that_is_known() -> None:
    """Whoever notes it first; a state that no report belongs to stands alone."""
    made, notes = controller(), Notes()
    ledger = Ledger(notes)
    report = made.tick(0.5)
    ledger.hold(report.state, digest(report.state), report)
    ledger.hold(report.state, digest(report.state), report)
    ledger.note("tick", tick_body(report.state, digest(report.state), report))
    assert [kind for kind, _ in notes.kept] == ["tick"]
    assert notes.kept[0][1]["step"]["operator_mode"] == "active"
    later = made.tick(1.0)
    ledger.hold(later.state, digest(later.state), report)
    assert set(notes.kept[1][1]) == {"digest", "state", "changes"}
    assert tick_from_plain(notes.kept[1][1]["state"]) == later.state


def test_a_control_part_and_its_table_are_a_case() -> None:
    """Together with the tick's state they replay; that it expired was found later, and is no part of it."""
    made = controller()
    for number in range(6):
        submission = made.submit(request(CHAT, request_id=f"r{number}", arrived_s=0.0), 0.0)
    assert submission.plan.disposition in {Disposition.QUEUE, Disposition.PASS}
    tick_digest = digest(submission.snapshot.tick)
    control = control_part(CHAT, "active", submission.snapshot, tick_digest, submission.plan)
    assert "options" not in control
    control |= table_part(submission.request, submission.snapshot, tick_digest, submission.plan)
    control["actions"].append({"kind": "EXPIRED", "reason": "late"})
    tick = tick_body(submission.snapshot.tick, tick_digest, None)["state"]
    assert replay(*stored_case(control, tick)).same
    assert control["snapshot_digest"] == digest(seen(submission.snapshot, tick_digest))
    assert "tick" not in control["snapshot"]


def test_a_configuration_is_written_whole() -> None:
    """With the digest that ticks name, and that of the intents before."""
    config = ControllerConfig(catalogue(), IntentSet([CHAT]))
    body = config_body(config, "sha256:before")
    assert (body["before"], body["after"]) == ("sha256:before", config.intents.digest)
    assert body["config_digest"] == config.digest
    assert [model["name"] for model in body["models"]] == ["large", "mid", "small"]
    assert body["intents"][0]["name"] == "chat"
