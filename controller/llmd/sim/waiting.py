"""The waiting queue of one replica: first come first served, or by priority then arrival. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Protocol, TypeVar


class Ranked(Protocol):
    """What the queue must know of a sequence; `order` is unique and rises with arrival."""

    @property
    def priority(self) -> int:
        """Lower is earlier."""
        ...

    @property
    def order(self) -> int:
        """The arrival's number."""
        ...


_Item = TypeVar("_Item", bound=Ranked)


class FcfsQueue(deque[_Item]):
    """First come, first served; preempted sequences go back to the front."""

    def push(self, item: _Item) -> None:
        """Queue a new arrival."""
        self.append(item)

    def push_back(self, item: _Item) -> None:
        """Return a preempted sequence: it is the next."""
        self.appendleft(item)

    def head(self) -> _Item:
        """Return the next one, without taking it."""
        return self[0]

    def take(self) -> _Item:
        """Take the next one."""
        return self.popleft()

    def drop(self, item: _Item) -> None:
        """Remove a sequence that waits."""
        self.remove(item)

    def members(self) -> Iterator[_Item]:
        """Return all that wait, in any order."""
        return iter(self)


class PriorityQueue(list[tuple[int, int, _Item]]):
    """By priority, then arrival; a preempted sequence queues by the same two (vLLM's priority policy)."""

    def push(self, item: _Item) -> None:
        """Queue a new arrival."""
        heappush(self, (item.priority, item.order, item))

    push_back = push

    def head(self) -> _Item:
        """Return the next one, without taking it."""
        return self[0][2]

    def take(self) -> _Item:
        """Take the next one."""
        return heappop(self)[2]

    def drop(self, item: _Item) -> None:
        """Remove a sequence that waits; linear, for cancels only."""
        self.remove((item.priority, item.order, item))
        heapify(self)

    def members(self) -> Iterator[_Item]:
        """Return all that wait, in any order."""
        return (item for _, _, item in self)
