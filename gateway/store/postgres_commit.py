"""The writing end of PostgreSQL: one connection, one round trip and one flush a batch.

`synchronous_commit=on`: the answer to a batch comes when its WAL is flushed. Whenever anything goes wrong,
the connection is dropped and with it the writer: what became of the last batch is then not known here, so
nothing of it is acknowledged, and the next connection begins a chain of its own. The server itself panics
on a failed flush and recovers from its log; there is nothing for us to retry.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from asyncpg import exceptions as pg

from gateway.kernel.bounds import STORE_COMMIT_S
from gateway.kernel.clock import Clock
from gateway.kernel.errors import StoreSetupError
from gateway.kernel.ids import IdSource
from gateway.store import postgres_claims
from gateway.store.anchor import AnchorFile
from gateway.store.claims import asked_keys
from gateway.store.ledger import SETTLED_WHOLLY, Ledger, LedgerRow
from gateway.store.postgres_schema import Connection, migrate
from gateway.store.rows import COLUMNS
from gateway.store.sift import Key, needs_care, questions, sift
from gateway.store.writer import CommitError, Group, Outcome

SETTLE_ROUNDS: Final = 10
"""The watermark costs a commit of its own: every tenth round of chores is enough."""
EARLIER_MAX: Final = 64
"""Writers that one process has been: one a lost connection. No exchange lives through so many."""
ORDER_LOCK: Final = 0x4C756D79_0002
"""Advisory lock of batches that must look before they write, or whose order of commit is read (memory)."""
DAMAGED: Final = frozenset({"XX001", "XX002"})
"""SQLSTATE of damaged data and damaged indexes."""
LOST: Final = (pg.PostgresError, pg.InterfaceError, pg.InternalClientError, OSError, TimeoutError)
"""What asyncpg raises when a server says no, or no longer says anything; its internal error where the server
ended the session (a failover) between two of our questions."""

_TYPES: Final = {
    "writer": "bigint",
    "seq": "bigint",
    "link": "bytea",
    "at_ms": "bigint",
    "awaits_outcome": "smallint",
    "body": "bytea",
}
_INSERT: Final = f"""
    WITH stored AS (
      INSERT INTO entries ({", ".join(COLUMNS)})
      SELECT {", ".join(COLUMNS)} FROM unnest({
    ", ".join(f"${number}::{_TYPES.get(name, 'text')}[]" for number, name in enumerate(COLUMNS, 1))
}) WITH ORDINALITY AS batch ({", ".join(COLUMNS)}, place) ORDER BY place RETURNING 1)
    SELECT count(*) FROM stored
"""  # noqa: S608 - constants
_SETTLE: Final = (
    "INSERT INTO settled (writer, after_seq) VALUES ($1, $2) "
    "ON CONFLICT (writer) DO UPDATE SET after_seq = excluded.after_seq"
)


class PostgresDriver:
    """The `Driver` of the group writer. `connect` comes first."""

    def __init__(self, dsn: str, *, clock: Clock, ids: IdSource, anchor: AnchorFile) -> None:
        self._dsn = dsn
        self._clock = clock
        self._ids = ids
        self._anchor = anchor
        self._connection: Connection | None = None
        self._ledger = Ledger("", 0, -1)
        self._earlier: deque[str] = deque(maxlen=EARLIER_MAX)
        self._rounds = 0

    @property
    def writer(self) -> str:
        """The id of this writer; another after each loss of the connection."""
        return self._ledger.writer

    async def connect(self) -> None:
        """Connect, bring the schema up, and begin a chain. Raises `StoreSetupError` and what is in `LOST`."""
        connection = await connect(self._dsn)
        try:
            await _check_promises(connection)
            await migrate(connection)
            writer = self._ids.new()
            # Held as long as the connection lives: how others tell that this writer does.
            await connection.execute("SELECT pg_advisory_lock($1)", mark_of(writer))
            # What this process wrote as an earlier writer may be on its way still: nobody calls it unknown.
            for earlier in self._earlier:
                await connection.execute("SELECT pg_try_advisory_lock($1)", mark_of(earlier))
            number = await connection.fetchval(
                "INSERT INTO writers (writer, started_ms) VALUES ($1, $2) RETURNING number",
                writer,
                self._clock.wall_ms(),
            )
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        self._ledger = Ledger(writer, number, -1)
        self._earlier.append(writer)

    async def commit(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Make a batch durable."""
        entries = [group.entries for group in groups]
        ordered = any(entry.kind == "memory" for group in entries for entry in group)
        try:
            try:
                if ordered or needs_care(groups):
                    return await self._commit_with_care(groups, thorough=False)
                spans, rows = self._ledger.bind(entries)
                await self._insert(self._live(), rows)
            except pg.UniqueViolationError:
                return await self._commit_with_care(groups, thorough=True)
            self._ledger.advance(rows, rows[-1][1])
            return spans
        except LOST as error:
            raise self._drop(error) from error

    async def probe(self) -> None:
        """Connect again, as a new writer; its row is the small durable write."""
        try:
            await self.connect()
        except StoreSetupError as error:
            raise CommitError(error.message, fatal=False) from error
        except LOST as error:
            raise self._drop(error) from error

    async def chores(self, *, last: bool) -> None:
        """Anchor the head; every so often, and at last, store how far all is settled."""
        self._rounds += 1
        try:
            if last or self._rounds % SETTLE_ROUNDS == 0:
                await self.settle(self._ledger.number, self._ledger.open_decisions.settled_up_to(last=last))
            self._anchor.write(self._ledger.head(self._clock.wall_ms()))
        except OSError as error:
            raise CommitError(f"cannot write the anchor: {error}", fatal=False) from error

    async def settle(self, number: int, seq: int = SETTLED_WHOLLY) -> None:
        """Store up to which sequence nothing of a writer is open. Raises `CommitError`."""
        try:
            await self._live().execute(_SETTLE, number, seq)
        except LOST as error:
            raise self._drop(error) from error

    async def close(self) -> None:
        """Give up the connection, and with it the mark of life. Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*LOST):
                await connection.close(timeout=STORE_COMMIT_S)

    async def _commit_with_care(self, groups: Sequence[Group], *, thorough: bool) -> Sequence[Outcome]:
        """Store a batch that must look before it writes, one such batch at a time in the database."""
        entries, steps = [group.entries for group in groups], [group.steps for group in groups]
        connection = self._live()
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", ORDER_LOCK)
            asked = questions(entries, thorough=thorough)
            holders: dict[Key, str] = {}
            if asked.keys:
                sql = "SELECT tenant, request_key, entry_id FROM entries WHERE request_key = ANY($1::text[])"
                rows = await connection.fetch(sql, list({key for _, key in asked.keys}))
                holders = {(row[0], row[1]): row[2] for row in rows}
            stored_ids: set[str] = set()
            if asked.ids:
                sql = "SELECT entry_id FROM entries WHERE entry_id = ANY($1::text[])"
                stored_ids = {row[0] for row in await connection.fetch(sql, list(asked.ids))}
            claims = await postgres_claims.look_up(connection, asked_keys(steps))
            sifted = sift(entries, holders, stored_ids, steps=steps, claims=claims)
            spans, bound = self._ledger.bind(sifted.kept)
            if bound:
                await self._insert(connection, bound)
            await postgres_claims.write(connection, claims, sifted.claims)
        if bound:
            self._ledger.advance(bound, bound[-1][1])
        return sifted.outcomes(spans)

    async def _insert(self, connection: Connection, rows: Sequence[LedgerRow]) -> None:
        await connection.fetchval(_INSERT, *map(list, zip(*rows, strict=True)))

    def _live(self) -> Connection:
        if self._connection is None:
            raise ConnectionResetError("the connection is lost")
        return self._connection

    def _drop(self, error: BaseException) -> CommitError:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
        return CommitError(reason_of(error), fatal=getattr(error, "sqlstate", None) in DAMAGED)


_open: Final[Any] = asyncpg.connect


async def connect(dsn: str, **settings: str) -> Connection:
    """Connect with our settings. Raises what is in `LOST`, and ValueError for a DSN that is none."""
    return await _open(
        dsn,
        timeout=STORE_COMMIT_S,
        command_timeout=STORE_COMMIT_S,
        server_settings={
            "search_path": "lumyn",
            "synchronous_commit": "on",
            "application_name": "lumyn",
            **settings,
        },
    )


def mark_of(writer: str) -> int:
    """Return the key of the advisory lock that a living writer holds."""
    return int.from_bytes(hashlib.sha256(writer.encode()).digest()[:8], "big", signed=True)


def reason_of(error: BaseException) -> str:
    """Say in one line what the server said, or that it says nothing."""
    text = str(error).splitlines()[0] if str(error) else "no answer in time"
    return f"PostgreSQL: {text} ({type(error).__name__})"


async def _check_promises(connection: Connection) -> None:
    """Refuse a server that would acknowledge what it has not flushed, or that only follows another."""
    if await connection.fetchval("SHOW fsync") != "on":
        raise StoreSetupError("PostgreSQL runs with fsync=off", hint="set fsync=on: else nothing is kept")
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise StoreSetupError("PostgreSQL is a standby", hint="name the primary in storage.url")
