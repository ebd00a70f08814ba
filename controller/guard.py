"""The controller's own breaker, and that of each backend.

`ACTIVE -> GUARDED -> BYPASS`: guarded keeps the priority queue, the limits and hard budgets and stops
everything learned; bypass forwards what was asked for. The way back is half open, by cohorts of requests.
Pure: a vote of vital signs per tick, time as an argument, cohorts by hash.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RATIO_LOW: Final = 0.5
RATIO_HIGH: Final = 2.0
RATIO_WINDOWS: Final = 3
RATIO_WINDOW_S: Final = 10.0
"""A median prediction off by two, three windows in a row, is a model that no longer holds."""
COVERAGE_MIN: Final = 0.7
"""The bound for nine in ten covers fewer than seven."""
STALE_MAX_S: Final = 5.0
HARMED_MAX: Final = 2
"""Harmful epochs within five minutes."""
EXCEPTION_SHARE_MAX: Final = 0.01
DECISION_P99_MAX_S: Final = 0.005
"""Five milliseconds: five times the budget of a decision (I8)."""
SELF_QUEUE_S: Final = 2.0
"""A queue this old in front of a backend that is half idle is of our own making."""
MIN_DWELL_S: Final = 10.0
"""No way back before so long, so that the mode does not flap."""
STEP_S: Final = 30.0
COHORTS: Final = (0.05, 0.25, 1.0)
"""Half open: shares of the requests that are controlled again, half a minute each."""


class GuardMode(StrEnum):
    """The three rungs of the fail-safe ladder."""

    ACTIVE = "active"
    GUARDED = "guarded"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the guard looks at in one tick; None is unknown and never trips."""

    median_ratio: float | None = None
    coverage: float | None = None
    signals_age_s: float = 0.0
    """Age of the youngest observation while requests are in flight, 0 without any."""
    little_broken: bool = False
    self_inflicted: bool = False
    harmed_epochs: int = 0
    exception_share: float = 0.0
    decision_p99_s: float | None = None
    overloaded: bool = False
    """Whether the preferred models could not serve what is asked of them: to guard would let it all in."""
    miss_share: float | None = None
    """Share of requests that missed a target, over the last window."""


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A change of mode with its reason, for a record."""

    before: GuardMode
    after: GuardMode
    share: float
    reason: str
    at_s: float


def set_by_operator(was_active: bool, mode: str, now_s: float) -> ModeChange:
    """Return the change that an operator made: whatever is not active is bypass to those who are served."""
    before = GuardMode.ACTIVE if was_active else GuardMode.BYPASS
    after = GuardMode.ACTIVE if mode == GuardMode.ACTIVE else GuardMode.BYPASS
    return ModeChange(before, after, 1.0, f"set to {mode} by the operator", now_s)


@dataclass(frozen=True, slots=True)
class GuardState:
    """Everything that a guard remembers between two ticks; a ledger can hold it."""

    mode: GuardMode
    bad_ratios: int
    ratio_due_s: float | None
    """When the next window of predictions is looked at; None before the first."""
    since_s: float | None
    """When it last changed; None where it never did."""
    step: int
    """Which of `COHORTS` is controlled."""
    entered_miss: float | None


class Guard:
    """Decides the mode, tick by tick."""

    __slots__ = ("_bad_ratios", "_entered_miss", "_ratio_due_s", "_since_s", "_step", "mode")

    def __init__(self, state: GuardState | None = None) -> None:
        """Begin well, or go on from `state`."""
        began = state or GuardState(GuardMode.ACTIVE, 0, None, None, len(COHORTS) - 1, None)
        self.mode = began.mode
        self._bad_ratios = began.bad_ratios
        self._ratio_due_s = -math.inf if began.ratio_due_s is None else began.ratio_due_s
        self._since_s = -math.inf if began.since_s is None else began.since_s
        self._step = began.step
        self._entered_miss = began.entered_miss

    @property
    def state(self) -> GuardState:
        """Return what it remembers."""
        return GuardState(
            mode=self.mode,
            bad_ratios=self._bad_ratios,
            ratio_due_s=self._ratio_due_s if math.isfinite(self._ratio_due_s) else None,
            since_s=self._since_s if math.isfinite(self._since_s) else None,
            step=self._step,
            entered_miss=self._entered_miss,
        )

    @property
    def share(self) -> float:
        """Return the share of requests that is controlled: 1 when active, 0 before half open begins."""
        if self.mode is GuardMode.ACTIVE:
            return COHORTS[self._step]
        return 0.0

    def controls(self, request_id: str) -> bool:
        """Tell whether this request is in the controlled cohort."""
        return self.mode is GuardMode.ACTIVE and (
            self._step == len(COHORTS) - 1 or cohort(request_id) < COHORTS[self._step]
        )

    def trip(self, mode: GuardMode, reason: str, now_s: float) -> ModeChange:
        """Change the mode at once, as an operator or an exception does."""
        change = ModeChange(self.mode, mode, 0.0, reason, now_s)
        self.mode, self._since_s, self._step = mode, now_s, 0 if mode is not GuardMode.ACTIVE else self._step
        return change

    def tick(self, vitals: Vitals, now_s: float) -> ModeChange | None:
        """Take a vote; return the change of mode, if any."""
        self._watch_ratio(vitals, now_s)
        fatal = self._fatal(vitals, now_s)
        if fatal and self.mode is not GuardMode.BYPASS:
            return self.trip(GuardMode.BYPASS, fatal, now_s)
        reason = self._reason(vitals)
        if reason and self.mode is GuardMode.ACTIVE:
            self._entered_miss = vitals.miss_share
            return self.trip(GuardMode.GUARDED, reason, now_s)
        if not reason and not fatal:
            return self._recover(now_s)
        return None

    def _watch_ratio(self, vitals: Vitals, now_s: float) -> None:
        if now_s < self._ratio_due_s:
            return
        self._ratio_due_s = now_s + RATIO_WINDOW_S
        ratio = vitals.median_ratio
        off = ratio is not None and not RATIO_LOW <= ratio <= RATIO_HIGH
        self._bad_ratios = self._bad_ratios + 1 if off else 0

    def _fatal(self, vitals: Vitals, now_s: float) -> str:
        if vitals.exception_share > EXCEPTION_SHARE_MAX:
            return f"{vitals.exception_share:.1%} of decisions raised"
        if vitals.decision_p99_s is not None and vitals.decision_p99_s > DECISION_P99_MAX_S:
            return f"a decision takes {vitals.decision_p99_s * 1000:.1f} ms at the 99th percentile"
        entered, miss = self._entered_miss, vitals.miss_share
        guarded_long = self.mode is GuardMode.GUARDED and now_s - self._since_s > STEP_S
        if guarded_long and entered is not None and miss is not None and miss > entered + 0.1:
            return f"guarding did not help: misses went from {entered:.1%} to {miss:.1%}"
        return ""

    def _reason(self, vitals: Vitals) -> str:
        if not vitals.overloaded:
            # under an overload a wrong prediction is still better than no decision at all
            if self._bad_ratios >= RATIO_WINDOWS:
                return f"outcomes are {vitals.median_ratio or 0.0:.2f} times what was predicted"
            if vitals.coverage is not None and vitals.coverage < COVERAGE_MIN:
                return f"the nine-in-ten bound covers {vitals.coverage:.0%}"
        if vitals.signals_age_s > STALE_MAX_S:
            return f"no signal for {vitals.signals_age_s:.1f} s while requests are in flight"
        if vitals.little_broken:
            return "requests in flight do not agree with arrivals and completions"
        if vitals.self_inflicted:
            return "we hold a queue in front of a backend that is half idle and on pace"
        if vitals.harmed_epochs >= HARMED_MAX:
            return f"{vitals.harmed_epochs} actions did harm within five minutes"
        return ""

    def _recover(self, now_s: float) -> ModeChange | None:
        if self.mode is GuardMode.ACTIVE:
            if self._step < len(COHORTS) - 1 and now_s - self._since_s >= STEP_S:
                self._step += 1
                self._since_s = now_s
                share = COHORTS[self._step]
                return ModeChange(self.mode, self.mode, share, f"{share:.0%} of requests again", now_s)
            return None
        if now_s - self._since_s < MIN_DWELL_S:
            return None
        before, self.mode, self._since_s, self._step = self.mode, GuardMode.ACTIVE, now_s, 0
        self._entered_miss = None
        return ModeChange(before, self.mode, COHORTS[0], "vital signs are well: half open", now_s)


def cohort(request_id: str) -> float:
    """Return the request's place in [0, 1), the same on every machine."""
    raw = hashlib.blake2b(request_id.encode(), digest_size=4).digest()
    return int.from_bytes(raw, "big") / 2**32


BREAKER_FAILURES: Final = 5
BREAKER_SHARE: Final = 0.5
"""LiteLLM's rule: more than half of at least five."""
BREAKER_OPEN_S: Final = 5.0
BREAKER_OPEN_MAX_S: Final = 60.0
BREAKER_WINDOW_S: Final = 10.0
HANG_S: Final = 10.0
"""A backend with work in flight that shows no sign of life this long is treated as failing."""


class Breaker:
    """Closed, open for 5 to 60 seconds, then half open with 1, 2, 4 ... probes."""

    __slots__ = (
        "_events", "_failures", "_open_until_s", "_openings", "_probes", "_probing", "_salt", "failure_share",
    )  # fmt: skip

    def __init__(self, salt: str) -> None:
        self._salt = salt
        self._events: deque[tuple[float, bool]] = deque()
        self._failures = 0
        """Among the events, counted as they come and go: a busy model ends ten thousand in a window."""
        self._openings = 0
        self.failure_share = 0.0
        """Of the results that opened it, or of those since: who has nowhere else to go may still try."""
        self._open_until_s = -math.inf
        self._probes = 0
        self._probing = 0

    def result(self, *, failed: bool, now_s: float) -> None:
        """Count the end of a request."""
        self._probing = max(0, self._probing - 1)
        if self._openings and now_s >= self._open_until_s:
            if failed:
                self._open(now_s)
                return
            self._probes *= 2
            if self._probes >= 8:
                self._openings, self._probes, self.failure_share = 0, 0, 0.0
                self._forget()
                return
        self._events.append((now_s, failed))
        self._failures += failed
        while self._events[0][0] < now_s - BREAKER_WINDOW_S:
            self._failures -= self._events.popleft()[1]
        if len(self._events) >= BREAKER_FAILURES:
            self.failure_share = self._failures / len(self._events)
        if self._failures >= BREAKER_FAILURES and self._failures > BREAKER_SHARE * len(self._events):
            self._open(now_s)

    def hung(self, now_s: float) -> None:
        """Open because nothing has come back for `HANG_S`."""
        if now_s >= self._open_until_s:
            self.failure_share = 1.0
            self._open(now_s)

    def usable(self, now_s: float) -> bool:
        """Tell whether a request may go there now."""
        if not self._openings:
            return True
        return now_s >= self._open_until_s and self._probing < self._probes

    def sent(self, now_s: float) -> None:
        """Count a request that goes there; half open, it is a probe."""
        if self._openings and now_s >= self._open_until_s:
            self._probing += 1

    def _open(self, now_s: float) -> None:
        self._openings += 1
        length_s = min(BREAKER_OPEN_MAX_S, BREAKER_OPEN_S * 2.0 ** (self._openings - 1))
        # up to a quarter more, by hash: several gateways must not probe in step
        jitter = cohort(f"{self._salt}:{self._openings}") / 4
        self._open_until_s = now_s + length_s * (1.0 + jitter)
        self._probes, self._probing = 1, 0
        self._forget()

    def _forget(self) -> None:
        self._events.clear()
        self._failures = 0
