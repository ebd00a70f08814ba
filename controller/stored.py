"""What the ledger holds of control: the control part of a decision, and the records beside it. Pure.

Written by the governor and the loop, read back by `controller.rederive`. A tick's state stands once, under
its digest; plans name it. Bodies are plain data; whoever keeps them writes canonical JSON.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from controller.core import ControllerConfig, TickReport
from controller.intent import Intent
from controller.plan import ActionKind, Plan, Request, Snapshot, TickState, digest, plain
from controller.ports import Journal

TICKS_KEPT: Final = 64
"""Ticks whose state is known to be in the ledger: half a minute, longer than any request plans with one."""
_LEAN: Final = tuple(field.name for field in fields(Plan) if field.name not in {"actions", "options"})
_SEEN: Final = tuple(field.name for field in fields(Snapshot) if field.name != "tick")


def tick_body(state: TickState, state_digest: str, report: TickReport | None) -> dict[str, Any]:
    """Return the record of a tick; without its report the state alone, as a plan that saw it needs it."""
    body: dict[str, Any] = {"digest": state_digest, "state": plain(state), "changes": []}
    if report is not None:
        body["changes"] = plain(report.changes)
        body["actions"] = plain(report.actions)
        body["mode_change"] = plain(report.mode_change)
        body["step"] = plain(report.step)
    return body


def config_body(config: ControllerConfig, before: str | None) -> dict[str, Any]:
    """Return the record of the intents and models from here on; `before` is the last intents' digest."""
    return {
        "before": before,
        "after": config.intents.digest,
        "config_digest": config.digest,
        "intents": plain(config.intents.intents),
        "lengths_prior": plain(config.lengths_prior),
        "models": plain(tuple(config.catalogue)),
        "tuning": plain(config.tuning),
    }


class Ledger:
    """A journal that holds the state of a tick once, whoever notes it first."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ticks: deque[str] = deque(maxlen=TICKS_KEPT)

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Pass a record on; of a tick that is there already nothing."""
        if kind == "tick":
            if body["digest"] in self._ticks:
                return
            self._ticks.append(body["digest"])
        self._journal.note(kind, body)

    def hold(self, state: TickState, state_digest: str, report: TickReport | None) -> None:
        """See that the state that a stored plan was made from is in the ledger."""
        if state_digest not in self._ticks:
            theirs = report if report is not None and report.state is state else None
            self.note("tick", tick_body(state, state_digest, theirs))


def control_part(
    intent: Intent, mode: str, snapshot: Snapshot, tick_digest: str, plan: Plan
) -> dict[str, Any]:
    """Return what every governed decision's record holds under `extensions.control`."""
    return {
        "intent": intent.name,
        "service_class": intent.service_class.value,
        "mode": mode,
        "snapshot_digest": digest(seen(snapshot, tick_digest)),
        "actions": plain(plan.actions),
        "plan": lean(plan),
    }


def table_part(request: Request, snapshot: Snapshot, tick_digest: str, plan: Plan) -> dict[str, Any]:
    """Return what is held beside it under pressure: with the tick's state all that a replay needs."""
    return {
        "options": plain(plan.options),
        "request": plain(request),
        "snapshot": seen(snapshot, tick_digest),
    }


def lean(plan: Plan) -> dict[str, Any]:
    """Return a plan without what stands beside it or is stored under pressure only."""
    return {name: plain(getattr(plan, name)) for name in _LEAN}


def seen(snapshot: Snapshot, tick_digest: str) -> dict[str, Any]:
    """Return a snapshot with its tick by digest."""
    return {"tick_digest": tick_digest, **{name: plain(getattr(snapshot, name)) for name in _SEEN}}


def stored_plan(control: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan of a control part as plain data, whole again."""
    # that it expired was found in the queue; no plan says so
    actions = [action for action in control["actions"] if action["kind"] != ActionKind.EXPIRED]
    return {**control["plan"], "actions": actions, "options": control["options"]}


def stored_case(control: Mapping[str, Any], tick: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return the request, snapshot and plan of a stored control part, as `core.replay` takes them.

    `tick` is the state that the ledger holds under the part's `tick_digest`.
    """
    snapshot = {name: value for name, value in control["snapshot"].items() if name != "tick_digest"}
    return control["request"], {**snapshot, "tick": tick}, stored_plan(control)
