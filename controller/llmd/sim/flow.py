"""The endpoint picker's flow-control queue: priority bands, round-robin flows, order inside a flow. Pure.

A flow is (fairness id, priority). The highest priority band with anything in it is served first, strictly;
inside a band the flows take turns; inside a flow it is first come first served, or the earliest TTFT
deadline first (`slo-deadline`, requests without a deadline last).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush


@dataclass(slots=True, eq=False)
class Queued:
    """One request in the queue. Times are seconds; `deadline_s` orders, `expires_at_s` expels."""

    request_id: str
    priority: int
    fairness_id: str
    body_bytes: int
    entered_at_s: float
    expires_at_s: float
    deadline_s: float
    order: int
    gone: bool = False


@dataclass(slots=True)
class _Band:
    """One priority: its flows, each a heap, and whose turn it is."""

    flows: dict[str, list[tuple[float, int, Queued]]] = field(default_factory=dict)
    turns: deque[str] = field(default_factory=deque)
    count: int = 0


class FlowQueue:
    """The queue of one pool. `requests` and `bytes` are what is in it."""

    def __init__(self, *, by_deadline: bool) -> None:
        self._by_deadline = by_deadline
        self._bands: dict[int, _Band] = {}
        self._members: dict[str, Queued] = {}
        self._expiries: list[tuple[float, int, Queued]] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._members)

    def band_size(self, priority: int) -> int:
        """Return how many requests of this priority wait."""
        band = self._bands.get(priority)
        return band.count if band else 0

    def push(self, item: Queued) -> None:
        """Put a request in."""
        band = self._bands.setdefault(item.priority, _Band())
        if item.fairness_id not in band.flows:
            band.flows[item.fairness_id] = []
            band.turns.append(item.fairness_id)
        rank = item.deadline_s if self._by_deadline else 0.0
        heappush(band.flows[item.fairness_id], (rank, item.order, item))
        band.count += 1
        self.bytes += item.body_bytes
        self._members[item.request_id] = item
        heappush(self._expiries, (item.expires_at_s, item.order, item))

    def pop(self) -> Queued:
        """Take the next request: highest band, next flow, first in its order. Raise IndexError when empty."""
        priority = self.top_priority()
        band = self._bands[priority]
        while True:
            flow = band.turns[0]
            heap = band.flows[flow]
            while heap and heap[0][2].gone:
                heappop(heap)
            if not heap:
                band.turns.popleft()
                del band.flows[flow]
                continue
            item = heappop(heap)[2]
            band.turns.rotate(-1)
            self._forget(item)
            return item

    def top_priority(self) -> int:
        """Return the highest priority that waits. Raise IndexError when empty."""
        if not self._members:
            raise IndexError("the queue is empty")
        return max(priority for priority, band in self._bands.items() if band.count)

    def remove(self, request_id: str) -> Queued | None:
        """Take a request out, wherever it stands; None when it is not here."""
        item = self._members.get(request_id)
        if item is not None:
            self._forget(item)
        return item

    def next_expiry(self) -> float:
        """Return when the next request expires; infinity when none does."""
        while self._expiries and self._expiries[0][2].gone:
            heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else math.inf

    def expired(self, now: float) -> Iterator[Queued]:
        """Take out every request whose time is up by `now`."""
        while self.next_expiry() <= now:
            item = heappop(self._expiries)[2]
            self._forget(item)
            yield item

    def sizes(self) -> dict[tuple[int, str], int]:
        """Return how many wait by (priority, fairness id)."""
        sizes: dict[tuple[int, str], int] = {}
        for item in self._members.values():
            key = (item.priority, item.fairness_id)
            sizes[key] = sizes.get(key, 0) + 1
        return sizes

    def _forget(self, item: Queued) -> None:
        item.gone = True
        del self._members[item.request_id]
        self.bytes -= item.body_bytes
        band = self._bands[item.priority]
        band.count -= 1
        if not band.count:
            del self._bands[item.priority]
