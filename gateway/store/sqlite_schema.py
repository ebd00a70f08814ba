"""The SQLite schema, as numbered steps that only go forward; `user_version` holds the number reached.

A step, once released, is never edited: a database made by it must open for ever. Nothing here may change
or drop what an earlier step stored.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from gateway.kernel.errors import StoreSetupError

APPLICATION_ID: Final = 0x4C756D79
"""`Lumy` in ASCII: file(1) and we can tell our databases from others."""

_STEP_1: Final = """
CREATE TABLE writers (
  number INTEGER PRIMARY KEY,
  writer TEXT NOT NULL UNIQUE,
  started_ms INTEGER NOT NULL,
  after_position INTEGER NOT NULL
) STRICT;

CREATE TABLE entries (
  position INTEGER PRIMARY KEY,
  writer INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  link BLOB NOT NULL,
  kind TEXT NOT NULL,
  entry_id TEXT NOT NULL,
  tenant TEXT,
  at_ms INTEGER NOT NULL,
  action_type TEXT,
  verdict TEXT,
  reason_codes TEXT,
  policy_hash TEXT,
  model TEXT,
  correlation_id TEXT,
  request_key TEXT,
  request_digest TEXT,
  awaits_outcome INTEGER,
  decision_id TEXT,
  label TEXT,
  policy_id TEXT,
  policy_version TEXT,
  body BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX entries_by_id ON entries (entry_id);
CREATE UNIQUE INDEX entries_by_key ON entries (ifnull(tenant, x''), request_key)
  WHERE request_key IS NOT NULL;
CREATE INDEX decisions_by_time
  ON entries (at_ms, verdict, action_type, model, reason_codes) WHERE kind = 'decision';
CREATE INDEX decisions_by_tenant
  ON entries (tenant, at_ms, verdict, action_type, model, reason_codes) WHERE kind = 'decision';
CREATE INDEX decisions_by_correlation ON entries (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX events_by_decision ON entries (decision_id, label) WHERE kind = 'event';
CREATE INDEX memory_by_position ON entries (kind) WHERE kind = 'memory';

CREATE TABLE segments (
  number INTEGER PRIMARY KEY,
  last_position INTEGER NOT NULL,
  sealed_ms INTEGER NOT NULL,
  heads TEXT NOT NULL,
  digest TEXT NOT NULL
) STRICT;
CREATE TABLE settled (
  writer INTEGER PRIMARY KEY,
  after_position INTEGER NOT NULL
) STRICT;

CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
  BEGIN SELECT raise(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_never_leave BEFORE DELETE ON entries
  WHEN old.position > (SELECT ifnull(max(last_position), 0) FROM segments)
  BEGIN SELECT raise(ABORT, 'entries are append-only'); END;
CREATE TRIGGER segments_never_change BEFORE UPDATE ON segments
  BEGIN SELECT raise(ABORT, 'segments are append-only'); END;
CREATE TRIGGER segments_never_leave BEFORE DELETE ON segments
  BEGIN SELECT raise(ABORT, 'segments are append-only'); END;
CREATE TRIGGER writers_never_change BEFORE UPDATE ON writers
  BEGIN SELECT raise(ABORT, 'writers are append-only'); END;
CREATE TRIGGER writers_never_leave BEFORE DELETE ON writers
  BEGIN SELECT raise(ABORT, 'writers are append-only'); END;
"""

_STEP_2: Final = """
CREATE INDEX control_by_position ON entries (position, label, writer, at_ms) WHERE kind = 'control';
"""

_STEP_3: Final = """
CREATE TABLE dropped (
  segment INTEGER NOT NULL,
  first_position INTEGER NOT NULL,
  last_position INTEGER NOT NULL,
  PRIMARY KEY (segment, first_position)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER dropped_only_sealed BEFORE INSERT ON dropped
  WHEN new.segment IS NOT (SELECT max(number) FROM segments)
    OR new.last_position > (SELECT last_position FROM segments WHERE number = new.segment)
  BEGIN SELECT raise(ABORT, 'entries are append-only: only what is sealed may go'); END;
CREATE TRIGGER dropped_never_change BEFORE UPDATE ON dropped
  BEGIN SELECT raise(ABORT, 'dropped is append-only'); END;
CREATE TRIGGER dropped_never_leave BEFORE DELETE ON dropped
  BEGIN SELECT raise(ABORT, 'dropped is append-only'); END;

DROP TRIGGER entries_never_leave;
CREATE TRIGGER entries_never_leave BEFORE DELETE ON entries
  WHEN NOT ifnull((
    SELECT last_position >= old.position FROM dropped
    WHERE segment = (SELECT max(number) FROM segments) AND first_position <= old.position
    ORDER BY first_position DESC LIMIT 1), 0)
  BEGIN SELECT raise(ABORT, 'entries are append-only'); END;
"""
"""What may leave is named, run by run, with the segment that seals it: what retention kept is guarded too."""

_STEP_4: Final = """
CREATE TABLE claims (
  space TEXT NOT NULL,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  owner TEXT NOT NULL,
  state TEXT NOT NULL,
  digest TEXT NOT NULL,
  decision_id TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (space, tenant, name)
) STRICT;
CREATE INDEX claims_by_decision ON claims (space, decision_id);
CREATE INDEX claims_by_expiry ON claims (space, expires_ms);
"""

STEPS: Final = (_STEP_1, _STEP_2, _STEP_3, _STEP_4)
SCHEMA_VERSION: Final = len(STEPS)


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring a database to `SCHEMA_VERSION`; each step is one transaction.

    Raises `StoreSetupError` for a newer schema, and for a database that is not one of ours.
    """
    version = _pragma(connection, "user_version")
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreSetupError(
            f"{path} is a database of something else", hint="give storage.url a path of its own"
        )
    if version > 0 and _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreSetupError(
            f"{path} is a database of something else", hint="give storage.url a path of its own"
        )
    if version > SCHEMA_VERSION:
        raise StoreSetupError(
            f"{path} has schema {version}, this version of lumyn knows {SCHEMA_VERSION} at most",
            hint="start the newer version of lumyn that wrote it",
        )
    for number in range(version + 1, SCHEMA_VERSION + 1):
        _step(connection, number)


def _step(connection: sqlite3.Connection, number: int) -> None:
    """Run one step, unless another process has run it since we looked."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _pragma(connection, "user_version") < number:
            for statement in _statements(STEPS[number - 1]):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    """Split a script at the ends of its statements (triggers hold semicolons of their own)."""
    statements = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
