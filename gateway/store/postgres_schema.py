"""The PostgreSQL schema, as numbered steps that only go forward; `lumyn.schema_version` holds the number.

A step, once released, is never edited. Everything lies in a schema of its own, `lumyn`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from gateway.kernel.errors import StoreSetupError

Connection: TypeAlias = Any
"""An `asyncpg.Connection`; the library's methods carry no types."""

_STEP_1: Final = """
CREATE TABLE writers (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  writer text NOT NULL UNIQUE,
  started_ms bigint NOT NULL
);
CREATE TABLE entries (
  position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  writer bigint NOT NULL,
  seq bigint NOT NULL,
  link bytea NOT NULL,
  kind text NOT NULL,
  entry_id text COLLATE "C" NOT NULL UNIQUE,
  tenant text COLLATE "C",
  at_ms bigint NOT NULL,
  action_type text COLLATE "C",
  verdict text COLLATE "C",
  reason_codes text COLLATE "C",
  policy_hash text COLLATE "C",
  model text COLLATE "C",
  correlation_id text COLLATE "C",
  request_key text COLLATE "C",
  request_digest text COLLATE "C",
  awaits_outcome smallint,
  decision_id text COLLATE "C",
  label text COLLATE "C",
  policy_id text COLLATE "C",
  policy_version text COLLATE "C",
  body bytea NOT NULL,
  PRIMARY KEY (writer, seq)
);
CREATE UNIQUE INDEX entries_by_tenant_key ON entries (tenant, request_key)
  WHERE request_key IS NOT NULL AND tenant IS NOT NULL;
CREATE UNIQUE INDEX entries_by_key ON entries (request_key)
  WHERE request_key IS NOT NULL AND tenant IS NULL;
CREATE INDEX decisions_by_time ON entries (at_ms, position) WHERE kind = 'decision';
CREATE INDEX decisions_by_tenant ON entries (tenant, at_ms, position) WHERE kind = 'decision';
CREATE INDEX decisions_by_correlation ON entries (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX events_by_decision ON entries (decision_id) WHERE kind = 'event';
CREATE INDEX memory_by_position ON entries (position) WHERE kind = 'memory';
CREATE TABLE segments (
  number bigint PRIMARY KEY,
  last_position bigint NOT NULL,
  sealed_ms bigint NOT NULL,
  heads text NOT NULL,
  digest text NOT NULL
);
CREATE TABLE settled (
  writer bigint PRIMARY KEY,
  after_seq bigint NOT NULL
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE FUNCTION refuse_unsealed() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN
    IF OLD.position > (SELECT coalesce(max(last_position), 0) FROM segments) THEN
      RAISE EXCEPTION 'entries is append-only';
    END IF;
    RETURN OLD;
  END $$;
CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER entries_never_leave BEFORE DELETE ON entries
  FOR EACH ROW EXECUTE FUNCTION refuse_unsealed();
CREATE TRIGGER entries_never_vanish BEFORE TRUNCATE ON entries
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER segments_never_change BEFORE UPDATE OR DELETE ON segments
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER segments_never_vanish BEFORE TRUNCATE ON segments
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER writers_never_change BEFORE UPDATE OR DELETE ON writers
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER writers_never_vanish BEFORE TRUNCATE ON writers
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

_STEP_2: Final = """
CREATE INDEX control_by_position ON entries (position) INCLUDE (label, writer, at_ms) WHERE kind = 'control';
"""

_STEP_3: Final = """
CREATE TABLE dropped (
  segment bigint NOT NULL,
  first_position bigint NOT NULL,
  last_position bigint NOT NULL,
  PRIMARY KEY (segment, first_position)
);
CREATE FUNCTION refuse_unsealed_run() RETURNS trigger LANGUAGE plpgsql AS
  $$ DECLARE sealed segments;
  BEGIN
    SELECT * INTO sealed FROM segments ORDER BY number DESC LIMIT 1;
    IF sealed.number IS DISTINCT FROM NEW.segment OR NEW.last_position > sealed.last_position THEN
      RAISE EXCEPTION 'entries is append-only: only what is sealed may go';
    END IF;
    RETURN NEW;
  END $$;
CREATE TRIGGER dropped_only_sealed BEFORE INSERT ON dropped
  FOR EACH ROW EXECUTE FUNCTION refuse_unsealed_run();
CREATE TRIGGER dropped_never_change BEFORE UPDATE OR DELETE ON dropped
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER dropped_never_vanish BEFORE TRUNCATE ON dropped
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE FUNCTION refuse_unsealed() RETURNS trigger LANGUAGE plpgsql AS
  $$ DECLARE named boolean;
  BEGIN
    SELECT last_position >= OLD.position INTO named FROM dropped
      WHERE segment = (SELECT max(number) FROM segments) AND first_position <= OLD.position
      ORDER BY first_position DESC LIMIT 1;
    IF named IS NOT TRUE THEN
      RAISE EXCEPTION 'entries is append-only';
    END IF;
    RETURN OLD;
  END $$;
"""
"""What may leave is named, run by run, with the segment that seals it: what retention kept is guarded too."""

_STEP_4: Final = """
CREATE TABLE claims (
  space text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  owner text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL,
  digest text COLLATE "C" NOT NULL,
  decision_id text COLLATE "C" NOT NULL,
  at_ms bigint NOT NULL,
  expires_ms bigint NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (space, tenant, name)
);
CREATE INDEX claims_by_decision ON claims (space, decision_id);
CREATE INDEX claims_by_expiry ON claims (space, expires_ms);
"""

STEPS: Final = (_STEP_1, _STEP_2, _STEP_3, _STEP_4)
SCHEMA_VERSION: Final = len(STEPS)
MIGRATION_LOCK: Final = 0x4C756D79_0001
"""Advisory lock of those who migrate: two gateways may start at once."""


async def migrate(connection: Connection) -> None:
    """Bring a database to `SCHEMA_VERSION`, all in one transaction.

    Raises `StoreSetupError` for a newer schema.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        if not await connection.fetchval("SELECT to_regnamespace('lumyn') IS NOT NULL"):
            await connection.execute("CREATE SCHEMA lumyn")
            await connection.execute("CREATE TABLE schema_version (number integer PRIMARY KEY)")
        version = await connection.fetchval("SELECT coalesce(max(number), 0) FROM schema_version")
        if version > SCHEMA_VERSION:
            raise StoreSetupError(
                f"the database has schema {version}, this version of lumyn knows {SCHEMA_VERSION} at most",
                hint="start the newer version of lumyn that wrote it",
            )
        for number in range(version + 1, SCHEMA_VERSION + 1):
            await connection.execute(STEPS[number - 1])
            await connection.execute("INSERT INTO schema_version (number) VALUES ($1)", number)
