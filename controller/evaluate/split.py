"""Policies that know classes but do not adapt: a priority queue, and the best fixed split found by search.

The tuned split is the honest opponent: it has the same spare models, a priority queue with deadlines and
fixed limits, and its numbers are searched for on the very workload that it is then run on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from controller.core import Outcome
from controller.evaluate.baselines import Simple
from controller.evaluate.policy import Command, Refuse
from controller.evaluate.world import LARGE, SLOTS
from controller.guard import cohort
from controller.plan import Request

PRIORITY_LIMIT: Final = 70
"""In flight on the preferred model at the measured knee (7.2 requests a second at 9.5 s each)."""


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of each class on its rungs, by class name, and the limit of the large model."""

    shares: Mapping[str, tuple[float, ...]]
    large_limit: int


class Fixed(Simple):
    """A fixed split over the rungs, a fixed limit per model, a priority queue in front of each."""

    def __init__(self, name: str, split: Split, *, expires: bool, slots: Mapping[str, int] = SLOTS) -> None:
        super().__init__(name)
        self._split = split
        self._expires = expires
        self._limits = {**slots, LARGE: split.large_limit}
        self._flying = dict.fromkeys(slots, 0)
        self._model_of: dict[str, str] = {}
        self._queues: dict[str, list[tuple[int, float, int, Request]]] = {name: [] for name in slots}
        self._sequence = 0

    def arrive(self, request: Request, now_s: float) -> None:  # noqa: ARG002  the port's shape
        """Queue it for the model that its hash falls on."""
        u, model = cohort(request.request_id), request.intent.models[-1]
        for share, name in zip(self._split.shares[request.intent.name], request.intent.models, strict=True):
            if u < share:
                model = name
                break
            u -= share
        latency = request.intent.latency
        deadline_s = request.arrived_s + (latency.ttft_ms or 60_000.0) / 1000 - 0.1
        self._sequence += 1
        heapq.heappush(self._queues[model], (-request.intent.priority, deadline_s, self._sequence, request))

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        """Free its slot."""
        self._flying[self._model_of.pop(request_id)] -= 1
        super().ended(request_id, outcome, now_s)

    def take(self, now_s: float) -> list[Command]:
        """Release what has a slot; what is too late expires, if this policy does that."""
        for model, queue in self._queues.items():
            while queue and self._flying[model] < self._limits[model]:
                _, deadline_s, _, request = heapq.heappop(queue)
                if self._expires and now_s > deadline_s:
                    self.out.append(Refuse(request.request_id, "expired", 1.0))
                    continue
                self._flying[model] += 1
                self._model_of[request.request_id] = model
                self.send(request, now_s, model)
        return super().take(now_s)


def priority_only(limit: int = PRIORITY_LIMIT, slots: Mapping[str, int] = SLOTS) -> Fixed:
    """Return a priority queue in front of the preferred model and nothing else."""
    shares = {"premium": (1.0,), "standard": (1.0, 0.0), "batch": (1.0, 0.0, 0.0)}
    return Fixed("priority", Split(shares, limit), expires=False, slots=slots)


def tuned(split: Split, slots: Mapping[str, int] = SLOTS) -> Fixed:
    """Return the policy of a split that was searched for."""
    return Fixed("tuned", split, expires=True, slots=slots)


def candidates(limits: Sequence[int] = (50, 70, 128)) -> Iterator[Split]:
    """Yield the splits that the search tries: 48, from all-large to all-small."""
    standard = (1.0, 0.5, 0.2, 0.0)
    batch = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.6, 0.4), (0.0, 0.2, 0.8))
    for large, rungs, limit in product(standard, batch, limits):
        yield Split({"premium": (1.0,), "standard": (large, 1.0 - large), "batch": rungs}, limit)
