"""What a plan is made from and what it is: frozen, plain values that a record can hold.

A `Snapshot` is everything that the planner may look at besides the request; a `Plan` is everything it
concluded. Both turn into JSON-ready data and back without loss, which is what replay rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from controller.estimator import Coefficients
from controller.intent import Intent


class Mode(StrEnum):
    """The controller's own breaker, see `controller.guard`; `SHADOW` plans but changes nothing."""

    ACTIVE = "active"
    GUARDED = "guarded"
    BYPASS = "bypass"
    SHADOW = "shadow"


class Disposition(StrEnum):
    """What happens to the request now."""

    PASS = "pass"  # noqa: S105  a disposition, no password
    QUEUE = "queue"
    HOLD = "hold"
    SHED = "shed"


class Cause(StrEnum):
    """The one primary reason of a plan."""

    IDENTITY = "identity"
    LATENCY_PRICE = "lat_price"
    COST_PRICE = "cost_price"
    FLOOR = "floor"
    INFEASIBLE = "infeasible"
    BREAKER = "breaker"
    HARD_BUDGET = "hard_budget"
    GUARDED = "guarded"
    BYPASS = "bypass"


class ActionKind(StrEnum):
    """The control actions, as logs, records and metrics name them."""

    PASSED = "PASSED"
    MODEL_SWITCHED = "MODEL_SWITCHED"
    TOKENS_CAPPED = "TOKENS_CAPPED"
    BATCHING_HINTED = "BATCHING_HINTED"
    BATCHING_REDUCED = "BATCHING_REDUCED"
    QUEUED = "QUEUED"
    EXPIRED = "EXPIRED"
    SHED = "SHED"


@dataclass(frozen=True, slots=True)
class Action:
    """One control action with its reason in one sentence."""

    kind: ActionKind
    reason: str


@dataclass(frozen=True, slots=True)
class Request:
    """What the planner knows of a request. Counts only: no text ever comes here."""

    request_id: str
    intent: Intent
    model: str
    """As the client asked for it, or `auto`."""
    input_tokens: int
    arrived_s: float
    max_tokens: int | None = None
    cached_tokens: int = 0
    tenant: str = ""
    route: str = ""
    session: str | None = None
    deferrable: bool = False
    """The client said that it can wait (a batch route, `service_tier: flex`)."""
    streamed: bool = True
    """Whether its first token can be seen go by; the answer that is not streamed is silent to its end."""
    choices: int = 1
    """Answers asked for at once (`n`): each is decoded, and paid for."""
    without: tuple[str, ...] = ()
    """Models that have failed this very request: a further attempt goes elsewhere."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model as of the last tick."""

    name: str
    backend: str
    quality: float
    usd_per_mtok_in: float
    usd_per_mtok_out: float
    context_tokens: int
    replicas: int
    coefficients: Coefficients
    price: float
    """The congestion price, in value per server-second."""
    limit: int
    """The in-flight limit over all replicas."""
    batch_nominal: float
    """The batch per replica at which work is counted."""
    load_error: float
    """Load minus set point, positive while there is too much."""
    tpot_s: float | None
    """The measured time per output token right now, None where it is not known."""
    tpot_batch: float
    """The batch per replica at which `tpot_s` was measured."""
    usable: bool
    """False while its breaker is open."""
    failure_share: float = 0.0
    """Of the requests that opened the breaker."""


class LiveState(NamedTuple):
    """One model's exact counters at the instant of the plan.

    A named tuple, as `Option`: each plan has several.
    """

    in_flight: int
    prefill_tokens: int
    """Input tokens of requests in flight that have no first token yet."""
    queued: int
    ahead: tuple[tuple[int, float], ...]
    """Server-seconds queued per priority, highest priority first."""
    shed_priority: int | None = None
    """The highest priority that was shed here in this tick: nothing below it may enter (I3)."""
    admitted_priority: int | None = None
    """The lowest priority admitted here in this tick: nothing above it is shed for load (I3)."""


@dataclass(frozen=True, slots=True)
class IntentState:
    """One intent as of the last tick."""

    name: str
    burn: float
    """Weight multiplier, 1 to 1.5: a class that misses its objective is worth more."""
    cost_price: float
    """Value per micro-dollar."""


NO_INTENT_STATE: Final = IntentState("", 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class TickState:
    """The slow part of a snapshot: made once a tick, shared by all plans of it, stored once."""

    number: int
    at_s: float
    mode: Mode
    config_digest: str
    models: tuple[ModelState, ...]
    intents: tuple[IntentState, ...]

    def model_index(self, name: str) -> int | None:
        """Return the position of a model, or None."""
        for index, model in enumerate(self.models):
            if model.name == name:
                return index
        return None

    def intent(self, name: str) -> IntentState:
        """Return the state of an intent; one without a price where it has none yet."""
        for state in self.intents:
            if state.name == name:
                return state
        return NO_INTENT_STATE


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a plan may depend on besides its request."""

    tick: TickState
    now_s: float
    live: tuple[LiveState, ...]
    """In the order of `tick.models`."""
    lengths: tuple[float, ...]
    """Output lengths of the request's route at `signals.LENGTH_RANKS`."""
    mode: Mode = Mode.ACTIVE
    """The mode for this request: while the guard is half open it depends on the request's cohort."""
    session_model: str | None = None
    """The model that the request's session was last served by."""
    budget_left_uusd: int | None = None
    """What the intent's hard budget still holds at this instant, None without one."""


class Option(NamedTuple):
    """One line of the option table: a model and a cap, what it would give and what it would cost.

    A named tuple and no data class: a decision makes up to 24 of them, and a frozen data class takes five
    times as long to make.
    """

    model: str
    max_tokens: int | None
    quality: float
    miss: float
    """The probability of missing a target."""
    wait_s: float
    ttft_s: float
    e2e_s: float
    cost_uusd: int
    work_s: float
    gain: float
    """Value times quality times the probability of meeting every target."""
    cost_term: float
    load_term: float
    utility: float
    refused_by: str = ""
    """Why the option was out before it was scored; empty for those that were in."""

    @property
    def standing(self) -> float:
        """Return the utility without the price of money, which must never lead to shedding (I4)."""
        return self.gain - self.load_term


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the plan promises, to be compared with what comes."""

    wait_s: float
    ttft_s: float
    ttft_high_s: float
    """The bound that nine in ten should stay under."""
    e2e_s: float
    cost_uusd: int
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided for one request, and why."""

    request_id: str
    intent: str
    tick: int
    disposition: Disposition
    cause: Cause
    model: str
    max_tokens: int | None
    """What to ask the model for at most; None leaves the client's request as it is."""
    priority: int
    deadline_s: float
    """When the request must have left the queue."""
    expires: bool
    """Whether missing the deadline ends the request (it is allowed to be shed) or only makes it late."""
    hold_until_s: float
    """For `HOLD`: the latest start; until then it leaves only when there is room to spare."""
    work_s: float
    reserve_uusd: int
    prediction: Prediction
    actions: tuple[Action, ...]
    options: tuple[Option, ...]
    margin: float
    """Utility of the choice above the next best; 0 without one."""
    retry_after_s: float = 0.0
    pressed: bool = False
    """Whether there was any pressure: only then the table is worth storing."""

    @property
    def chosen(self) -> Option | None:
        """Return the option that was chosen, None where nothing was scored."""
        for option in self.options:
            if option.model == self.model and option.max_tokens == self.max_tokens:
                return option
        return None
