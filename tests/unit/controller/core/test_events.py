"""`controller.core.events`: what is idle, what an outcome counts as, and that events can be recorded."""

from __future__ import annotations

import dataclasses
import json
from itertools import product

import pytest

from controller.core import Change, Controller, ControllerConfig, Expiry, Outcome, Release, Submission
from controller.core.events import TickReport
from controller.guard import GuardMode, ModeChange
from controller.intent import IntentSet
from controller.plan import Disposition, Mode, plain
from controller.verify import Epoch
from tests.kit.control import catalogue as models
from tests.kit.control import intent, request, snapshot

ONLY = intent(models=("large",))
EPOCH = Epoch(1, "large", "price_up", 0.0, 10.0, "fewer misses", 0.0, 0.1, 50, 0.9)
MODE = ModeChange(GuardMode.ACTIVE, GuardMode.GUARDED, 1.0, "test", 0.0)
CHANGE = Change("large", "limit", 64.0, 63.0, "the pace fell")


def controller() -> Controller:
    """Return a controller that lets four requests of the large model through."""
    made = Controller(ControllerConfig(models(), IntentSet([ONLY])), 0.0)
    made.deployments["large"].limit.restore(4)
    made.tick(0.0)
    return made


def submitted(made: Controller, count: int) -> list[Submission]:
    """Submit `count` requests at time 0."""
    return [made.submit(request(ONLY, request_id=f"r{index}", arrived_s=0.0), 0.0) for index in range(count)]


@pytest.mark.parametrize("parts", list(product((False, True), repeat=4)))
def test_a_report_is_idle_when_nothing_is_worth_reading(parts: tuple[bool, ...]) -> None:
    """Pressure, an epoch that opens or closes, or a change of mode each make a tick worth a record."""
    opened, closed, mode, pressed = parts
    report = TickReport(
        snapshot().tick,
        changes=(),
        opened=(EPOCH,) * opened,
        closed=(EPOCH,) * closed,
        mode_change=MODE if mode else None,
        pressed=pressed,
    )
    assert report.idle is not any(parts)


def test_numbers_that_move_in_quiet_times_are_idle() -> None:
    """A limit that follows its pace is no news by itself."""
    assert TickReport(snapshot().tick, (CHANGE,), (), (), None, pressed=False).idle


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        ("complete", "completed"),
        ("failed", "failed"),
        ("rejected", "failed"),
        ("timeout", "failed"),
        ("client_gone", "cancelled"),
    ],
)
def test_every_outcome_is_counted_once(status: str, counted: str) -> None:
    """Each documented status falls under one count; only a client that went away is nobody's miss."""
    made = controller()
    submitted(made, 1)
    settled = made.finish("r0", Outcome(status, output_tokens=1), 0.5)
    assert settled is not None
    assert settled.status == status
    ended = {name: count for name, count in made.counts.items() if name != "offered" and count}
    assert ended == {counted: 1}
    assert made.accounts[ONLY.name].miss_share(0.5)[1] == (status != "client_gone")


def test_an_outcome_without_usage_claims_none() -> None:
    """A bare status leaves the input estimate standing and blames no length on a cap."""
    bare = Outcome("failed")
    assert bare.input_tokens is None
    assert (bare.output_tokens, bare.cached_tokens, bare.truncated, bare.retry_after_s) == (0, 0, False, None)


def test_a_submission_holds_what_the_plan_was_made_from() -> None:
    """Plan, request and snapshot belong together, and there is a second plan in shadow mode only."""
    made = controller()
    (submission,) = submitted(made, 1)
    assert submission.plan.request_id == submission.request.request_id == "r0"
    assert submission.plan.tick == submission.snapshot.tick.number
    assert submission.shadow is None
    made.set_mode(Mode.SHADOW, 0.0)
    shadowed = made.submit(request(ONLY, request_id="s", arrived_s=0.0), 0.0)
    assert shadowed.shadow is not None
    assert shadowed.shadow.request_id == "s"


def test_what_waited_leaves_with_its_wait() -> None:
    """A release and an expiry name the request, its plan and the seconds since it arrived."""
    made = controller()
    queued = submitted(made, 6)[4:]
    assert {submission.plan.disposition for submission in queued} == {Disposition.QUEUE}
    made.finish("r0", Outcome("complete", 10), 0.25)
    (released,) = made.poll(0.25)
    (expired,) = made.expire(30.0)
    assert isinstance(released, Release)
    assert isinstance(expired, Expiry)
    assert (released.waited_s, expired.waited_s) == (0.25, 30.0)
    assert {released.request_id, expired.request_id} == {"r4", "r5"}
    for event in (released, expired):
        assert event.plan.request_id == event.request_id


def test_changes_say_what_moved_and_why() -> None:
    """Under pressure every change names a model, one of three numbers, two values and a reason."""
    made = controller()
    submitted(made, 60)
    changes = [change for at in range(1, 8) for change in made.tick(at * 0.5).changes]
    assert changes
    for change in changes:
        assert change.model in made.deployments
        assert change.what in {"price", "limit", "breaker"}
        assert change.before != change.after
        assert change.reason


def test_reports_can_be_recorded() -> None:
    """A report under pressure turns into JSON, without NaN, and is not idle."""
    made = controller()
    submitted(made, 60)
    report = made.tick(0.5)
    assert not report.idle
    assert json.dumps(plain(report), allow_nan=False)


@pytest.mark.parametrize("event", [Submission, Release, Expiry, Outcome, Change, TickReport])
def test_events_are_frozen_and_slotted(event: type) -> None:
    """What was handed out cannot be changed afterwards, nor grow a field."""
    parameters = event.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen
    assert "__slots__" in vars(event)
    assert dataclasses.fields(event)
