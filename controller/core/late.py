"""Which queued requests would come too late where they wait, handed out in small bites. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from controller.core.deployment import Deployment
from controller.plan import Plan, Request
from controller.queue import Waiting

BITE: Final = 5
"""Requests planned anew at once: at 200 microseconds each, a millisecond of the event loop."""
BITES_PER_TICK: Final = 12
"""Together 60 requests a tick, 120 a second."""
BITE_S: Final = 0.5 / BITES_PER_TICK


class LateRequests:
    """Found anew at each tick, the most urgent first; what is left over at the next tick is found again."""

    __slots__ = ("_due_s", "_ids")

    def __init__(self) -> None:
        self._ids: deque[str] = deque()
        self._due_s = 0.0

    def find(
        self,
        deployments: Iterable[Deployment],
        queued: Mapping[str, tuple[Request, Plan]],
        now_s: float,
    ) -> None:
        """Look for requests that would come too late and have another rung to go to."""
        items = [item for each in deployments if len(each.queue) for item in each.late_items(now_s)]
        items.sort(key=_urgency)
        choosers = (item.request_id for item in items if _has_choice(queued[item.request_id][0]))
        self._ids = deque(islice(choosers, BITE * BITES_PER_TICK))
        self._due_s = now_s

    def bite(self, now_s: float) -> tuple[str, ...]:
        """Return the next few, at most one bite in each eighth of a tick."""
        if not self._ids or now_s < self._due_s:
            return ()
        self._due_s = now_s + BITE_S
        return tuple(self._ids.popleft() for _ in range(min(BITE, len(self._ids))))

    def clear(self) -> None:
        """Forget them, as in a mode that changes nothing."""
        self._ids.clear()


def _urgency(item: Waiting) -> tuple[int, float]:
    return -item.priority, item.deadline_s


def _has_choice(request: Request) -> bool:
    return len(request.intent.rungs(request.model)) > 1
