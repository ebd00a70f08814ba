"""The store on SQLite: WAL, `synchronous=FULL`, one writing connection, a few reading ones.

Each connection is an aiosqlite one and so has a thread of its own. A batch, and each read, is one function
run on that thread (`sqlite_driver.run`).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import aiosqlite

from gateway.kernel.bounds import PAGE_DECISIONS_MAX, STORE_COMMIT_S
from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.errors import InvalidRequestError, StoreSetupError, StoreUnavailableError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import EveryTenant, Scope, Tenant
from gateway.records.proof import Proof
from gateway.records.types import DecisionEntry, Entry, EventEntry, MemoryEntry, PolicyEntry
from gateway.store import sqlite_claims
from gateway.store import sqlite_read as read
from gateway.store.anchor import AnchorFile, OnHead, anchor_path
from gateway.store.claims import Claim, ClaimFilter, ClaimPage, ClaimStep
from gateway.store.ledger import Ledger
from gateway.store.live import claim
from gateway.store.place import prepare
from gateway.store.port import (
    CONTROL_RECORDS_MAX,
    MEMORY_ITEMS_MAX,
    ControlFilter,
    ControlRecord,
    DecisionFilter,
    Page,
    Receipt,
    StoreHealth,
)
from gateway.store.proof import sqlite_proof
from gateway.store.rows import seal
from gateway.store.sqlite_commit import NO_SPACE, STATEMENTS_CACHED, SqliteLedger
from gateway.store.sqlite_driver import SqliteDriver, hold_open, run
from gateway.store.sqlite_schema import migrate
from gateway.store.unknown import sweep
from gateway.store.writer import CommitError, GroupWriter

P = ParamSpec("P")
T = TypeVar("T")

READERS: Final = 2
"""Reads are admin's and the idempotency look-up's; two keep a long listing from blocking a look-up."""
BUSY_S: Final = STORE_COMMIT_S - 0.5
"""How long SQLite waits for another process's lock: a little less than a commit may take in all."""
READ_CACHE_KIB: Final = 8 * 1024


async def open_sqlite(
    path: str | Path,
    *,
    clock: Clock,
    randomness: Randomness,
    on_head: OnHead | None = None,
    readers: int = READERS,
    busy_s: float = BUSY_S,
) -> SqliteStore:
    """Open, and where needed make, a store in a local file.

    `on_head` is told each anchored head, on the writing thread; `busy_s` bounds the wait for another
    process's lock. Raises `StoreSetupError`, one clear line each.
    """
    place = Path(path)
    prepare(place)
    writer = IdSource(clock, randomness).new()
    async with contextlib.AsyncExitStack() as undo:
        try:
            mark = claim(place, writer)
            if mark is None:
                raise StoreSetupError(
                    f"writer {writer} is alive already", hint="the randomness repeats itself"
                )
            undo.callback(mark.release)
            anchor = AnchorFile(anchor_path(place), on_head)
            undo.callback(anchor.close)
            writing = await undo.enter_async_context(_connect(place, busy_s, cached=STATEMENTS_CACHED))
            ledger = await run(writing, _prepare_writing, str(place), writer, clock.wall_ms())
            reading = []
            for _ in range(readers + 1):
                reading.append(await undo.enter_async_context(_connect(place, busy_s, cached=32)))
                await run(reading[-1], _prepare_reading)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_IOERR"):
                hold_open(place)
            raise _setup_error(place, error) from error
        except OSError as error:
            raise StoreSetupError(
                f"cannot open {place}: {error.strerror}: {error.filename}",
                hint="SQLite keeps files beside the database: allow writing there",
            ) from error
        driver = SqliteDriver(writing, reading.pop(), ledger, anchor, clock)
        return SqliteStore(place, driver, reading, clock, undo.pop_all())


class SqliteStore:
    """Implements `gateway.store.port.Store`; made by `open_sqlite`."""

    def __init__(
        self,
        path: Path,
        driver: SqliteDriver,
        readers: Sequence[aiosqlite.Connection],
        clock: Clock,
        resources: contextlib.AsyncExitStack,
    ) -> None:
        self._path = path
        self._driver = driver
        self._clock = clock
        self._resources = resources
        self._free: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for reader in readers:
            self._free.put_nowait(reader)
        self._closed = False
        self._group_writer = GroupWriter(driver, clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def writer(self) -> str:
        """The id under which this store writes its chain."""
        return self._driver.writer

    def submit(
        self, entries: Sequence[Entry], *, reserved: bool = False, steps: Sequence[ClaimStep] = ()
    ) -> asyncio.Future[Receipt]:
        """Enqueue entries; see `Store.submit`. Raises `InvalidRequestError` for a column of no database."""
        return self._group_writer.submit(tuple(map(seal, entries)), reserved=reserved, steps=tuple(steps))

    async def decision(self, scope: Scope, decision_id: str) -> DecisionEntry | None:
        """Return one decision, or None if this scope has none of that id."""
        return await self._read(read.decision, scope, decision_id)

    async def decision_by_key(self, tenant: Tenant, request_key: str) -> DecisionEntry | None:
        """Return the decision that holds an idempotency key of this tenant."""
        return await self._read(read.decision_by_key, tenant, request_key)

    async def events(self, scope: Scope, decision_id: str) -> tuple[EventEntry, ...]:
        """Return the events of a decision, oldest first."""
        return await self._read(read.events, scope, decision_id)

    async def decisions(
        self, scope: Scope, wanted: DecisionFilter, *, limit: int, cursor: str | None
    ) -> Page:
        """Return a page of decisions, newest first; `limit` is cut to 1..PAGE_DECISIONS_MAX."""
        count = max(1, min(limit, PAGE_DECISIONS_MAX))
        return await self._read(read.decisions, scope, wanted, count, cursor)

    async def memory(self, scope: Scope, *, after: int, limit: int) -> tuple[tuple[int, MemoryEntry], ...]:
        """Return memory items in the order of their commit, each with its position."""
        return await self._read(read.memory, scope, after, max(1, min(limit, MEMORY_ITEMS_MAX)))

    async def control(
        self, scope: EveryTenant, wanted: ControlFilter, *, after: int, limit: int
    ) -> tuple[ControlRecord, ...]:
        """Return control records in the order of their positions, from after one on; none means the end."""
        return await self._read(read.control, scope, wanted, after, max(1, min(limit, CONTROL_RECORDS_MAX)))

    async def policy(self, policy_hash: str) -> PolicyEntry | None:
        """Return a policy that decided, by its hash."""
        return await self._read(read.policy, policy_hash)

    async def proof(self, entry_id: str) -> Proof | None:
        """Return an entry's place in the ledger, or None where it is not known."""
        return await self._read(sqlite_proof, entry_id)

    async def claim(self, tenant: Tenant, space: str, name: str) -> Claim | None:
        """Return what stands under a name, whether or not it has expired."""
        return await self._read(sqlite_claims.claim, tenant, space, name)

    async def claims(
        self, scope: Scope, space: str, wanted: ClaimFilter, *, limit: int, cursor: str | None
    ) -> ClaimPage:
        """Return a page of claims, newest decision first; `limit` is cut to 1..PAGE_DECISIONS_MAX."""
        count = max(1, min(limit, PAGE_DECISIONS_MAX))
        return await self._read(sqlite_claims.claims, scope, space, wanted, count, cursor)

    async def dangling(self, *, limit: int) -> tuple[DecisionEntry, ...]:
        """Return decisions that await an outcome and have none, oldest first."""
        return await self._read(read.dangling, limit)

    async def mark_unknown(self) -> int:
        """Give what dead writers left open the fate `unknown`, once; return how many decisions."""
        count = 0
        for number, writer, position in await self._read(read.unsettled):
            mark = None if writer == self.writer else claim(self._path, writer)
            if mark is None:
                continue
            try:
                count += await self._sweep(number, position)
            except CommitError as error:
                raise StoreUnavailableError(f"the store cannot commit: {error.reason}") from error
            finally:
                mark.release()
        return count

    async def _sweep(self, number: int, position: int) -> int:
        """Mark what one dead writer left open after a position. The caller holds its mark."""

        async def left_open(after: int, limit: int) -> list[tuple[int, DecisionEntry]]:
            return await self._read(read.left_open, number, after, limit)

        count = await sweep(left_open, position, self.submit, self._clock.wall_ms())
        await self._driver.settle(number)
        return count

    def health(self) -> StoreHealth:
        """Tell the truth, at once."""
        return self._group_writer.health()

    async def close(self) -> None:
        """Commit what is queued, then close. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        await self._group_writer.close()
        if self.health().fatal:
            hold_open(self._path)
        await self._resources.aclose()

    async def _read(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        connection = await self._free.get()
        try:
            return await run(connection, query, *args, **kwargs)
        except UnicodeEncodeError as error:
            raise InvalidRequestError("what is asked for is no text") from error
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"the store cannot be read: {error}", retry_after_s=1.0) from error
        finally:
            self._free.put_nowait(connection)


def _connect(path: Path, busy_s: float, *, cached: int) -> aiosqlite.Connection:
    connection = aiosqlite.connect(path, timeout=busy_s, isolation_level=None, cached_statements=cached)
    # A program that never closes its store must still be able to end: what it was told is kept is kept.
    connection._thread.daemon = True  # noqa: SLF001 - see the module's docstring
    return connection


def _prepare_writing(connection: sqlite3.Connection, path: str, writer: str, now_ms: int) -> SqliteLedger:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreSetupError(
            f"{path} cannot be kept in WAL mode (it stays in {mode!r})",
            hint="put it on an ordinary local disk",
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    migrate(connection, path)
    number, position = connection.execute(
        "INSERT INTO writers (writer, started_ms, after_position) "
        "SELECT ?, ?, ifnull(max(position), 0) FROM entries RETURNING number, after_position",
        (writer, now_ms),
    ).fetchone()
    return SqliteLedger(connection, Ledger(writer, number, position))


def _prepare_reading(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute(f"PRAGMA cache_size = -{READ_CACHE_KIB}")


def _setup_error(path: Path, error: sqlite3.Error) -> StoreSetupError:
    name: Any = getattr(error, "sqlite_errorname", "")
    hint = {
        "SQLITE_NOTADB": "the file is no SQLite database: give storage.url a path of its own",
        "SQLITE_BUSY": "another process holds a lock on it: find it with `fuser`",
        "SQLITE_CANTOPEN": "check that it may be written, and where its link leads if it is one",
        "SQLITE_READONLY": "allow writing to the file and its directory",
        **dict.fromkeys(NO_SPACE, "free some disk space"),
    }.get(name, "run `lumyn verify` on a copy of it")
    return StoreSetupError(f"cannot open {path}: {error}", hint=hint)
