"""The queue we own: one per model, ordered by priority, then fair between tenants, then by deadline.

Strict between priorities; inside one the tenant that was served the least work goes first (virtual
token counter, VTC, Sheng et al., OSDI 2024), and inside a tenant the earliest deadline. What can no
longer meet its deadline leaves without costing the backend anything. Pure: time is an argument.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TENANTS_MAX: Final = 4096
"""Counters of tenants that are kept; beyond, the longest idle one is forgotten."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request in the queue."""

    request_id: str
    tenant: str
    priority: int
    deadline_s: float
    work_s: float
    enqueued_s: float
    expires: bool
    hold_until_s: float = 0.0
    """Above 0: deferrable work that starts when there is room to spare, and at this time at the latest."""

    @property
    def held(self) -> bool:
        """Tell whether it waits for room to spare."""
        return self.hold_until_s > 0.0


class _Lane:
    """The requests of one tenant at one priority, earliest deadline first."""

    __slots__ = ("heap",)

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Waiting]] = []


class ModelQueue:
    """Requests that wait for one model. Work per priority is kept exact, on push and on removal."""

    __slots__ = ("_lanes", "_present", "_sequence", "_served", "_work")

    def __init__(self) -> None:
        # deferrable work has lanes of its own, so that what waits for room stands in nobody's way
        self._lanes: dict[int, dict[tuple[str, bool], _Lane]] = {}
        self._present: dict[str, Waiting] = {}
        self._sequence = 0
        self._served: dict[str, float] = {}
        self._work: dict[int, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._present)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._present

    def __iter__(self) -> Iterator[Waiting]:
        return iter(tuple(self._present.values()))

    @property
    def work_s(self) -> float:
        """Return the server-seconds that wait, held work left out."""
        return math.fsum(work_s for _, work_s in self._work.values())

    def ahead(self) -> tuple[tuple[int, float], ...]:
        """Return the server-seconds that wait per priority, highest first, held work left out."""
        if not self._work:
            return ()
        return tuple((priority, self._work[priority][1]) for priority in sorted(self._work, reverse=True))

    def push(self, item: Waiting) -> None:
        """Enqueue; an id that already waits here is a fault of the caller."""
        if item.request_id in self._present:
            raise ValueError(f"request {item.request_id} already waits: each request is enqueued once")
        lanes = self._lanes.setdefault(item.priority, {})
        place = (item.tenant, item.held)
        lane = lanes.get(place)
        if lane is None:
            lane = lanes[place] = _Lane()
            self._join(item.tenant, item.priority)
        self._sequence += 1
        heapq.heappush(lane.heap, (item.deadline_s, self._sequence, item))
        self._present[item.request_id] = item
        self._count(item, 1)

    def pop(self, *, room: bool, now_s: float, priority_min: int | None = None) -> Waiting | None:
        """Return who goes next, or None. Held work goes only with `room` to spare or when it must start.

        Nobody below `priority_min` goes: somebody of that priority was turned away just now.
        """
        for priority in sorted(self._lanes, reverse=True):
            if priority_min is not None and priority < priority_min:
                return None
            lanes = self._lanes[priority]
            best: tuple[float, float, int, tuple[str, bool]] | None = None
            for place, lane in lanes.items():
                self._prune(lane)
                if not lane.heap:
                    continue
                deadline_s, sequence, item = lane.heap[0]
                if item.held and not room and now_s < item.hold_until_s:
                    continue
                key = (self._served.get(place[0], 0.0), deadline_s, sequence, place)
                if best is None or key < best:
                    best = key
            if best is not None:
                lane = lanes[best[3]]
                item = heapq.heappop(lane.heap)[2]
                self._forget(item)
                self._served[item.tenant] = self._served.get(item.tenant, 0.0) + item.work_s
                self._drop_empty(priority)
                return item
        return None

    def remove(self, request_id: str) -> Waiting | None:
        """Take a request out, as when its client went away; None if it does not wait here."""
        item = self._present.get(request_id)
        if item is not None:
            # the heap entry is skipped when it comes up: ids are unique among those present
            self._forget(item)
        return item

    def expired(self, now_s: float) -> tuple[Waiting, ...]:
        """Take out and return everything whose deadline has passed and that may expire."""
        late = tuple(item for item in self._present.values() if item.expires and item.deadline_s < now_s)
        for item in late:
            self._forget(item)
        return late

    def _join(self, tenant: str, priority: int) -> None:
        """Lift a tenant that comes back to the least served one that waits: idling earns no credit (VTC)."""
        waiting = [
            self._served.get(other, 0.0)
            for (other, _), lane in self._lanes[priority].items()
            if other != tenant and lane.heap
        ]
        if waiting:
            self._served[tenant] = max(self._served.get(tenant, 0.0), min(waiting))
        if len(self._served) > TENANTS_MAX:
            idle = next(name for name in self._served if name != tenant)
            del self._served[idle]

    def _count(self, item: Waiting, sign: int) -> None:
        if item.held:
            return
        count, work_s = self._work.get(item.priority, (0, 0.0))
        count += sign
        if count == 0:
            # an empty class holds exactly nothing, whatever rounding left behind
            del self._work[item.priority]
        else:
            self._work[item.priority] = (count, work_s + sign * item.work_s)

    def _forget(self, item: Waiting) -> None:
        del self._present[item.request_id]
        self._count(item, -1)

    def _prune(self, lane: _Lane) -> None:
        while lane.heap and self._present.get(lane.heap[0][2].request_id) is not lane.heap[0][2]:
            heapq.heappop(lane.heap)

    def _drop_empty(self, priority: int) -> None:
        lanes = self._lanes[priority]
        for place in [place for place, lane in lanes.items() if not lane.heap]:
            del lanes[place]
        if not lanes:
            del self._lanes[priority]
