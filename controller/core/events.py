"""What goes into a controller besides requests, and what comes out of it besides plans. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from controller.core.steps import TickStep
from controller.guard import ModeChange
from controller.plan import ActionKind, Plan, Request, Snapshot, TickState
from controller.verify import Epoch


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a request: its plan, what it was made from, and what shadow mode would have done."""

    plan: Plan
    request: Request
    snapshot: Snapshot
    shadow: Plan | None = None
    """In shadow mode the plan that was not carried out."""


@dataclass(frozen=True, slots=True)
class Release:
    """A request may leave the queue now, under `plan`, which may be a newer one than it was queued with."""

    request_id: str
    plan: Plan
    waited_s: float
    snapshot: Snapshot | None = None
    """Where the plan was made anew: what it was made from."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """A request left the queue without being served."""

    request_id: str
    plan: Plan
    waited_s: float
    reason: str
    snapshot: Snapshot | None = None
    """As of a release."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a dispatched request ended, as the gateway saw it."""

    status: str
    """`complete`, `failed`, `client_gone`, `rejected` (the backend shed it) or `timeout`."""
    output_tokens: int = 0
    input_tokens: int | None = None
    """From the usage, where it was given; else the estimate stands."""
    cached_tokens: int = 0
    truncated: bool = False
    """`finish_reason` was `length`."""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One number that a tick moved, with its reason in one sentence."""

    model: str
    what: str
    """`price`, `limit` or `breaker`."""
    before: float
    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class ModelAction:
    """A control action on a model and not on a request: `BATCHING_REDUCED`, with its reason."""

    kind: ActionKind
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class TickReport:
    """What a tick did; worth a record unless `idle`."""

    state: TickState
    changes: tuple[Change, ...]
    opened: tuple[Epoch, ...]
    closed: tuple[Epoch, ...]
    mode_change: ModeChange | None
    pressed: bool
    step: TickStep | None = None
    """What all of it was decided from."""
    actions: tuple[ModelAction, ...] = ()
    """What was done to whole models, in words."""

    @property
    def idle(self) -> bool:
        """Tell whether nothing happened that a reader would want to see."""
        return not (self.pressed or self.opened or self.closed or self.mode_change or self.actions)
