"""The memory log as decisions see it: an index per tenant and action type, and the prefix that it holds.

A prefix of the append-only log is named by its length and a chained digest, so a record can say exactly
what was consulted. Each tenant and action type has its own log: no tenant's name, count or digest ever
depends on another's. Lookups take the same time at ten items and at ten thousand.

Nothing here locks: whoever owns the index adds and asks from one thread at a time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gateway.kernel.bounds import MEMORY_CANDIDATES_MAX
from gateway.memory.features import Features
from gateway.memory.items import FAILURE, LogEntry, MemoryItem, decode, encode
from gateway.memory.similarity import TokenMatrix, rows_of
from gateway.memory.types import NO_ADVICE, NO_SNAPSHOT, MemoryAdvice, MemoryHit


@dataclass(frozen=True, slots=True)
class LogPrefix:
    """The first `length` entries of one log. `digest` chains them: sha256(digest before + sha256(body))."""

    length: int = 0
    digest: bytes = b""

    def extended(self, body: bytes) -> LogPrefix:
        """Return the prefix that is longer by one entry."""
        return LogPrefix(self.length + 1, sha256(self.digest + sha256(body).digest()).digest())

    @property
    def name(self) -> str:
        """How a record names it: `memory:<length>:<64 hex digits>`."""
        return f"memory:{self.length}:{self.digest.hex()}" if self.length else NO_SNAPSHOT


EMPTY: Final = LogPrefix()


class MemoryIndex:
    """All memory of a gateway, by tenant and action type."""

    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs: dict[tuple[str | None, str], _Log] = {}

    def add(self, tenant_id: str | None, item: LogEntry) -> None:
        """Append an entry to the log of a tenant."""
        self._append(tenant_id, item, encode(item))

    def add_body(self, tenant_id: str | None, body: bytes) -> LogEntry:
        """Append an entry as the store keeps it, and return it. RecordError if it cannot be read."""
        entry = decode(body)
        self._append(tenant_id, entry, body)
        return entry

    def prefix(self, tenant_id: str | None, action_type: str) -> LogPrefix:
        """Return what the next advice on this tenant and action type will have consulted."""
        log = self._logs.get((tenant_id, action_type))
        return EMPTY if log is None else log.prefix

    def advise(self, tenant_id: str | None, features: Features, top_k: int) -> MemoryAdvice:
        """Return what memory says of a request with these features; `top_k` 0 switches memory off.

        The failure score is the best over all failures of the tenant and action type. The hits are the
        best `top_k` among the newest items of any label, by score, then by memory id.
        """
        log = self._logs.get((tenant_id, features.action_type))
        if log is None or top_k <= 0:
            return NO_ADVICE
        return log.advise(features.tokens(), top_k)

    def _append(self, tenant_id: str | None, entry: LogEntry, body: bytes) -> None:
        key = (tenant_id, entry.action_type)
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = _Log()
        log.append(entry, body)


class _Log:
    """One tenant's items of one action type."""

    __slots__ = ("_ages", "_failures", "_items", "_newest", "_rows", "prefix")

    def __init__(self) -> None:
        self.prefix = EMPTY
        self._items: dict[str, MemoryItem] = {}
        # Oldest first; the id breaks ties of a second, so that the order is the same on every machine.
        self._ages: list[tuple[str, str]] = []
        self._rows: dict[str, int] = {}  # the failures, by memory id
        self._failures = TokenMatrix()
        self._newest: _Newest | None = None

    def append(self, entry: LogEntry, body: bytes) -> None:
        self.prefix = self.prefix.extended(body)
        if isinstance(entry, MemoryItem):
            self._remember(entry)
        else:
            self._withdraw(entry.withdraws)

    def advise(self, tokens: frozenset[str], top_k: int) -> MemoryAdvice:
        newest = self._newest
        if newest is None:
            ages = self._ages[-MEMORY_CANDIDATES_MAX:]
            newest = self._newest = _Newest([self._items[memory_id] for _, memory_id in ages])
        failure_score = self._failures.best(tokens)
        return MemoryAdvice(failure_score, newest.hits(tokens, top_k), self.prefix.name)

    def _remember(self, item: MemoryItem) -> None:
        if item.memory_id in self._items:
            return  # the same item twice in the log is one memory
        self._items[item.memory_id] = item
        insort(self._ages, (item.created_at, item.memory_id))
        self._renew(item)
        if item.label == FAILURE:
            row = self._rows[item.memory_id] = len(self._rows)
            self._failures.add(row, item.features.tokens())

    def _renew(self, item: MemoryItem) -> None:
        # Nearly every item is the newest and has the highest id: then no lookup pays for building anew.
        newest = self._newest
        if newest is None or self._ages[-1][1] != item.memory_id or not newest.append(item):
            self._newest = None
        elif len(self._ages) > MEMORY_CANDIDATES_MAX:
            newest.remove(self._ages[-MEMORY_CANDIDATES_MAX - 1][1])

    def _withdraw(self, memory_id: str) -> None:
        item = self._items.get(memory_id)
        if item is None:
            return
        age = bisect_left(self._ages, (item.created_at, memory_id))
        if age < len(self._ages) and self._ages[age][1] == memory_id:
            del self._ages[age]
            self._newest = None
        if memory_id in self._rows:
            self._failures.remove(self._rows[memory_id])


class _Newest:
    """The newest items, in rows by memory id, so that the lowest bits of a score are its first hits."""

    __slots__ = ("_items", "_matrix")

    def __init__(self, items: list[MemoryItem]) -> None:
        self._items = sorted(items, key=lambda item: item.memory_id)
        self._matrix = TokenMatrix()
        for row, item in enumerate(self._items):
            self._matrix.add(row, item.features.tokens())

    def append(self, item: MemoryItem) -> bool:
        """Take one more item, and tell whether its id comes last and there is a row for it."""
        rows = len(self._items)
        if rows >= 2 * MEMORY_CANDIDATES_MAX or (rows and item.memory_id <= self._items[-1].memory_id):
            return False
        self._matrix.add(rows, item.features.tokens())
        self._items.append(item)
        return True

    def remove(self, memory_id: str) -> None:
        self._matrix.remove(bisect_left(self._items, memory_id, key=lambda item: item.memory_id))

    def hits(self, tokens: frozenset[str], top_k: int) -> tuple[MemoryHit, ...]:
        hits: list[MemoryHit] = []
        for score, bits in sorted(self._matrix.scores(tokens).items(), reverse=True):
            for row in rows_of(bits):
                item = self._items[row]
                hits.append(MemoryHit(item.memory_id, item.label, score, item.summary))
                if len(hits) == top_k:
                    return tuple(hits)
        return tuple(hits)
