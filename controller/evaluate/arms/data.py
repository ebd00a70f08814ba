"""A comparison as plain values: what each arm was offered, what became of it, what the controller said.

Live runs and runs in virtual time make the same values, so that one report shows both. Instants are seconds
since an arm began; latencies are seconds from the instant at which a request was due, whenever it was sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

COMPLETE: Final = "complete"
REFUSED: Final = frozenset({"shed", "expired", "rejected"})
"""Turned away: by a policy, in its queue, or by the backend."""


@dataclass(frozen=True, slots=True)
class Service:
    """One class of requests and its targets; None where there is no such target."""

    name: str
    ttft_s: float | None
    e2e_s: float | None
    models: tuple[str, ...]
    """What may serve it, the preferred one first; empty where the client does not know."""
    usd_per_hour: float | None = None
    """Its budget."""

    def meets(self, ttft_s: float | None, e2e_s: float | None) -> bool:
        """Tell whether a complete answer met every target."""
        return all(
            target is None or (got is not None and got <= target)
            for target, got in ((self.ttft_s, ttft_s), (self.e2e_s, e2e_s))
        )


@dataclass(frozen=True, slots=True)
class Offered:
    """One request, and what became of it: `complete`, or why not."""

    request_id: str
    service: str
    at_s: float
    status: str
    met: bool
    """Whether it met all its targets; whatever is not complete did not."""
    model: str = ""
    ttft_s: float | None = None
    e2e_s: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    cost_uusd: float = 0.0
    capped: bool = False
    cause: str = ""
    """The planner's word for why it did what it did."""
    tries: int = 1
    lag_s: float = 0.0
    """How late it was sent."""
    http_status: int | None = None
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class Called:
    """One tool action that was asked about."""

    at_s: float
    latency_s: float | None
    verdict: str
    """Empty where no answer came."""
    lag_s: float = 0.0
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """The controller at one instant."""

    at_s: float
    mode: str
    queued: int
    in_flight: int
    prices: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """One decision in words."""

    at_s: float
    who: str
    """The class, or `controller`."""
    kind: str
    text: str
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class Arm:
    """One run over the schedule under one policy."""

    name: str
    about: str
    offered: tuple[Offered, ...]
    called: tuple[Called, ...] = ()
    moments: tuple[Moment, ...] = ()
    told: tuple[Told, ...] = ()
    began: str = ""
    """The wall clock's `12:00:00` at its begin; empty in virtual time."""
    chunks: tuple[int, ...] = ()
    """Streamed chunks that arrived, by second."""
    partial: str = ""
    """Why it did not run to its end; empty where it did."""


@dataclass(frozen=True, slots=True)
class Spans:
    """The three parts of a run, in seconds."""

    base_s: float
    peak_s: float
    after_s: float

    @property
    def end_s(self) -> float:
        """Return when the last request is due."""
        return self.base_s + self.peak_s + self.after_s

    def windows(self) -> dict[str, tuple[float, float]]:
        """Return the parts by name, and `all`."""
        up, down = self.base_s, self.base_s + self.peak_s
        return {
            "before": (0.0, up),
            "spike": (up, down),
            "after": (down, self.end_s),
            "all": (0.0, self.end_s),
        }


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to hold, and what was found."""

    name: str
    wanted: str
    found: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A whole run: the arms on one schedule, and what was checked beside them."""

    title: str
    how: Literal["live", "virtual"]
    spans: Spans
    services: tuple[Service, ...]
    arms: tuple[Arm, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    """What a reader needs to know of it, by name."""
    checks: tuple[Check, ...] = ()
    """What was checked apart from the arms' own figures."""
    partial: str = ""
    """Why it is not whole; empty where it is."""
    baseline_max: float | None = None
    """What the baseline must stay under for the load to have been one; None where that is no matter."""
    chunks_max: int | None = None
    """Streamed chunks a second beyond which the machine, and no policy, is what was measured."""

    @property
    def usd_per_hour(self) -> float | None:
        """Return the budget of all classes; None without budgets."""
        budgets = [service.usd_per_hour for service in self.services if service.usd_per_hour is not None]
        return math.fsum(budgets) if budgets else None

    def service(self, name: str) -> Service:
        """Return the class of that name. Raise KeyError."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def arm(self, name: str) -> Arm | None:
        """Return the arm of that name, or None."""
        return next((arm for arm in self.arms if arm.name == name), None)


def within(offered: Iterable[Offered], span: tuple[float, float]) -> list[Offered]:
    """Return what was due in a window."""
    return [one for one in offered if span[0] <= one.at_s < span[1]]


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value at or below which `share` of them lie, by nearest rank; nan for none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
