"""The store on PostgreSQL: one writing connection (see `postgres_commit`), a few reading ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Self, TypeVar

from asyncpg import exceptions as pg

from gateway.kernel.bounds import PAGE_DECISIONS_MAX, STORE_COMMIT_S
from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.errors import InvalidRequestError, StoreSetupError, StoreUnavailableError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import EveryTenant, Scope, Tenant
from gateway.records.proof import Proof
from gateway.records.types import DecisionEntry, Entry, EventEntry, MemoryEntry, PolicyEntry
from gateway.store import postgres_claims
from gateway.store import postgres_read as read
from gateway.store.anchor import AnchorFile, OnHead
from gateway.store.claims import Claim, ClaimFilter, ClaimPage, ClaimStep
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
from gateway.store.postgres_commit import LOST, PostgresDriver, connect, mark_of, reason_of
from gateway.store.postgres_schema import Connection
from gateway.store.proof import postgres_proof
from gateway.store.rows import seal
from gateway.store.unknown import sweep
from gateway.store.writer import CommitError, GroupWriter

P = ParamSpec("P")
T = TypeVar("T")

READERS: Final = 4
"""Reads are admin's and the idempotency look-up's; a server's connections are dear."""
READING: Final = {"default_transaction_read_only": "on", "enable_seqscan": "off", "enable_bitmapscan": "off"}
"""Each read has an index in its own order. A planner whose statistics are old takes a whole scan and a sort:
400 ms for a page, measured."""


async def open_postgres(
    dsn: str,
    *,
    clock: Clock,
    randomness: Randomness,
    anchor: Path | None = None,
    on_head: OnHead | None = None,
) -> PostgresStore:
    """Open, and where needed make, a store in a PostgreSQL database.

    `anchor` is the file that heads are anchored in, and `on_head` is told them. Raises `StoreSetupError`;
    no message holds the password.
    """
    try:
        anchors = AnchorFile(anchor, on_head)
    except OSError as error:
        raise StoreSetupError(f"cannot open {anchor}: {error.strerror}") from error
    driver = PostgresDriver(dsn, clock=clock, ids=IdSource(clock, randomness), anchor=anchors)
    try:
        await driver.connect()
    except (*LOST, ValueError) as error:
        anchors.close()
        hint = "check host, database and user in storage.url, and that the server runs"
        raise StoreSetupError(f"cannot open the store: {reason_of(error)}", hint=hint) from error
    except BaseException:
        anchors.close()
        raise
    return PostgresStore(dsn, driver, anchors, clock)


class PostgresStore:
    """Implements `gateway.store.port.Store`; made by `open_postgres`."""

    def __init__(self, dsn: str, driver: PostgresDriver, anchors: AnchorFile, clock: Clock) -> None:
        self._dsn = dsn
        self._driver = driver
        self._anchors = anchors
        self._clock = clock
        self._closed = False
        self._free: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()
        for _ in range(READERS):
            self._free.put_nowait(None)  # Connected when it is first needed.
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
        return await self._read(postgres_proof, entry_id)

    async def claim(self, tenant: Tenant, space: str, name: str) -> Claim | None:
        """Return what stands under a name, whether or not it has expired."""
        return await self._read(postgres_claims.claim, tenant, space, name)

    async def claims(
        self, scope: Scope, space: str, wanted: ClaimFilter, *, limit: int, cursor: str | None
    ) -> ClaimPage:
        """Return a page of claims, newest decision first; `limit` is cut to 1..PAGE_DECISIONS_MAX."""
        count = max(1, min(limit, PAGE_DECISIONS_MAX))
        return await self._read(postgres_claims.claims, scope, space, wanted, count, cursor)

    async def dangling(self, *, limit: int) -> tuple[DecisionEntry, ...]:
        """Return decisions that await an outcome and have none, oldest first."""
        return await self._read(read.dangling, limit)

    async def mark_unknown(self) -> int:
        """Give what dead writers left open the fate `unknown`, once; return how many decisions."""
        try:
            claims = await connect(self._dsn)
        except LOST as error:
            raise StoreUnavailableError(f"the store cannot be read: {reason_of(error)}") from error
        try:
            count = 0
            for number, writer, seq in await read.unsettled(claims):
                # A living writer holds this lock; so does another start that sweeps up after it.
                if await claims.fetchval("SELECT pg_try_advisory_lock($1)", mark_of(writer)):
                    count += await self._sweep(number, seq)
            return count
        except LOST as error:
            raise StoreUnavailableError(f"the store cannot be read: {reason_of(error)}") from error
        except CommitError as error:
            raise StoreUnavailableError(f"the store cannot commit: {error.reason}") from error
        finally:
            await claims.close(timeout=STORE_COMMIT_S)

    async def _sweep(self, number: int, seq: int) -> int:
        """Mark what one dead writer left open after a sequence. The caller holds its lock."""

        async def left_open(after: int, limit: int) -> list[tuple[int, DecisionEntry]]:
            return await self._read(read.left_open, number, after, limit)

        count = await sweep(left_open, seq, self.submit, self._clock.wall_ms())
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
        await self._driver.close()
        for _ in range(READERS):
            connection = await self._free.get()
            if connection is not None:
                await connection.close(timeout=STORE_COMMIT_S)
        self._anchors.close()

    async def _read(
        self,
        query: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        connection = await self._free.get()
        try:
            if connection is None or connection.is_closed():
                connection = await connect(self._dsn, **READING)
            return await query(connection, *args, **kwargs)
        except (UnicodeEncodeError, pg.DataError) as error:
            raise InvalidRequestError("what is asked for is no text") from error
        except LOST as error:
            if connection is not None and isinstance(error, pg.InternalClientError):
                connection.terminate()  # It is of no more use, and does not know it.
            raise StoreUnavailableError(
                f"the store cannot be read: {reason_of(error)}", retry_after_s=1.0
            ) from error
        finally:
            self._free.put_nowait(connection)
