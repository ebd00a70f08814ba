SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA lumyn;
CREATE FUNCTION lumyn.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE FUNCTION lumyn.refuse_unsealed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
    IF OLD.position > (SELECT coalesce(max(last_position), 0) FROM segments) THEN
      RAISE EXCEPTION 'entries is append-only';
    END IF;
    RETURN OLD;
  END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE lumyn.entries (
    "position" bigint NOT NULL,
    writer bigint NOT NULL,
    seq bigint NOT NULL,
    link bytea NOT NULL,
    kind text NOT NULL,
    entry_id text NOT NULL COLLATE pg_catalog."C",
    tenant text COLLATE pg_catalog."C",
    at_ms bigint NOT NULL,
    action_type text COLLATE pg_catalog."C",
    verdict text COLLATE pg_catalog."C",
    reason_codes text COLLATE pg_catalog."C",
    policy_hash text COLLATE pg_catalog."C",
    model text COLLATE pg_catalog."C",
    correlation_id text COLLATE pg_catalog."C",
    request_key text COLLATE pg_catalog."C",
    request_digest text COLLATE pg_catalog."C",
    awaits_outcome smallint,
    decision_id text COLLATE pg_catalog."C",
    label text COLLATE pg_catalog."C",
    policy_id text COLLATE pg_catalog."C",
    policy_version text COLLATE pg_catalog."C",
    body bytea NOT NULL
);
ALTER TABLE lumyn.entries ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME lumyn.entries_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE lumyn.schema_version (
    number integer NOT NULL
);
CREATE TABLE lumyn.segments (
    number bigint NOT NULL,
    last_position bigint NOT NULL,
    sealed_ms bigint NOT NULL,
    heads text NOT NULL,
    digest text NOT NULL
);
CREATE TABLE lumyn.settled (
    writer bigint NOT NULL,
    after_seq bigint NOT NULL
);
CREATE TABLE lumyn.writers (
    number bigint NOT NULL,
    writer text NOT NULL,
    started_ms bigint NOT NULL
);
ALTER TABLE lumyn.writers ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME lumyn.writers_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO lumyn.entries OVERRIDING SYSTEM VALUE VALUES (1, 1, 0, '\x5f9866c8c37f3ebb966c5a9696853185fa92248795239eaf76f4b63e7f4041e7', 'policy', 'sha256:0000000000000000000000000000000000000000000000000000000000000000', NULL, 1760000000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'p', '1', '\x736368656d615f76657273696f6e3a20706f6c6963792e76300a');
INSERT INTO lumyn.entries OVERRIDING SYSTEM VALUE VALUES (2, 1, 1, '\xf61e0cda00c096dbcffc21c9ef500a4e9ef87497112d0acc1eb88ebc99345682', 'decision', '01K742SG010000000000000001', 'acme', 1760000000001, 'llm.chat_completion', 'TRUST', '["LLM_OK"]', 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'llama-70b', 'request-1', 'key-1', 'sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 1, NULL, NULL, NULL, NULL, '\x7b226465636973696f6e5f6964223a2230314b3734325347303130303030303030303030303030303031222c22706f6c696379223a7b22706f6c6963795f68617368223a227368613235363a61616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161227d2c22726561736f6e5f636f646573223a5b224c4c4d5f4f4b225d2c2272657175657374223a7b22616374696f6e223a7b22696e74656e74223a2274657374222c2274797065223a226c6c6d2e636861745f636f6d706c6574696f6e227d2c22726571756573745f6964223a226b65792d31222c22736368656d615f76657273696f6e223a226465636973696f6e5f726571756573742e7630222c227375626a656374223a7b226964223a22626f74222c2274656e616e745f6964223a2261636d65222c2274797065223a2273657276696365227d7d2c22736368656d615f76657273696f6e223a226465636973696f6e5f7265636f72642e7630222c227472616365223a7b22636f7272656c6174696f6e5f6964223a22726571756573742d31227d2c2276657264696374223a225452555354227d');
INSERT INTO lumyn.entries OVERRIDING SYSTEM VALUE VALUES (3, 1, 2, '\xc7891ece0fd2f449db03f356bb07ce17cc0d21602b46623956886ba488c8a6ee', 'decision', '01K742SG020000000000000002', NULL, 1760000000002, 'llm.chat_completion', 'TRUST', '["LLM_OK"]', 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'llama-70b', 'request-2', NULL, 'sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 1, NULL, NULL, NULL, NULL, '\x7b226465636973696f6e5f6964223a2230314b3734325347303230303030303030303030303030303032222c22706f6c696379223a7b22706f6c6963795f68617368223a227368613235363a61616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161227d2c22726561736f6e5f636f646573223a5b224c4c4d5f4f4b225d2c2272657175657374223a7b22616374696f6e223a7b22696e74656e74223a2274657374222c2274797065223a226c6c6d2e636861745f636f6d706c6574696f6e227d2c22736368656d615f76657273696f6e223a226465636973696f6e5f726571756573742e7630222c227375626a656374223a7b226964223a22626f74222c2274797065223a2273657276696365227d7d2c22736368656d615f76657273696f6e223a226465636973696f6e5f7265636f72642e7630222c227472616365223a7b22636f7272656c6174696f6e5f6964223a22726571756573742d32227d2c2276657264696374223a225452555354227d');
INSERT INTO lumyn.entries OVERRIDING SYSTEM VALUE VALUES (4, 1, 3, '\x1ed88f37c8210edf9360ca5617df03fd55c94d1d2e02ed0987821f4122602ad8', 'event', '01K742SG010000000100000001', 'acme', 1760000000001, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '01K742SG010000000000000001', 'outcome', NULL, NULL, '\x7b2264617461223a7b2266617465223a22636f6d706c657465227d2c226465636973696f6e5f6964223a2230314b3734325347303130303030303030303030303030303031222c226576656e745f6964223a2230314b3734325347303130303030303030313030303030303031222c2274797065223a226f7574636f6d65227d');
INSERT INTO lumyn.entries OVERRIDING SYSTEM VALUE VALUES (5, 1, 4, '\x1dd8e8f48426629177be40a5fe095f51117da29c075e708279d0d70d82cc782a', 'memory', '01K742SG010000000200000001', NULL, 1760000000001, 'support.refund', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'failure', NULL, NULL, '\x7b226e223a317d');
INSERT INTO lumyn.entries OVERRIDING SYSTEM VALUE VALUES (6, 1, 5, '\x02bec94ef41d75b3fc9b85d3432e872cf5eb02c5b6f13b729ee43801f25fb613', 'control', '01K742SG010000000300000001', NULL, 1760000000001, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'tick', NULL, NULL, '\x7b226e223a317d');
INSERT INTO lumyn.schema_version VALUES (1);
INSERT INTO lumyn.settled VALUES (1, 1);
INSERT INTO lumyn.writers OVERRIDING SYSTEM VALUE VALUES (1, '01K742SG000000000000040001', 1760000000000);
SELECT pg_catalog.setval('lumyn.entries_position_seq', 6, true);
SELECT pg_catalog.setval('lumyn.writers_number_seq', 1, true);
ALTER TABLE ONLY lumyn.entries
    ADD CONSTRAINT entries_entry_id_key UNIQUE (entry_id);
ALTER TABLE ONLY lumyn.entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (writer, seq);
ALTER TABLE ONLY lumyn.entries
    ADD CONSTRAINT entries_position_key UNIQUE ("position");
ALTER TABLE ONLY lumyn.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (number);
ALTER TABLE ONLY lumyn.segments
    ADD CONSTRAINT segments_pkey PRIMARY KEY (number);
ALTER TABLE ONLY lumyn.settled
    ADD CONSTRAINT settled_pkey PRIMARY KEY (writer);
ALTER TABLE ONLY lumyn.writers
    ADD CONSTRAINT writers_pkey PRIMARY KEY (number);
ALTER TABLE ONLY lumyn.writers
    ADD CONSTRAINT writers_writer_key UNIQUE (writer);
CREATE INDEX decisions_by_correlation ON lumyn.entries USING btree (correlation_id) WHERE (correlation_id IS NOT NULL);
CREATE INDEX decisions_by_tenant ON lumyn.entries USING btree (tenant, at_ms, "position") WHERE (kind = 'decision'::text);
CREATE INDEX decisions_by_time ON lumyn.entries USING btree (at_ms, "position") WHERE (kind = 'decision'::text);
CREATE UNIQUE INDEX entries_by_key ON lumyn.entries USING btree (request_key) WHERE ((request_key IS NOT NULL) AND (tenant IS NULL));
CREATE UNIQUE INDEX entries_by_tenant_key ON lumyn.entries USING btree (tenant, request_key) WHERE ((request_key IS NOT NULL) AND (tenant IS NOT NULL));
CREATE INDEX events_by_decision ON lumyn.entries USING btree (decision_id) WHERE (kind = 'event'::text);
CREATE INDEX memory_by_position ON lumyn.entries USING btree ("position") WHERE (kind = 'memory'::text);
CREATE TRIGGER entries_never_change BEFORE UPDATE ON lumyn.entries FOR EACH ROW EXECUTE FUNCTION lumyn.refuse_change();
CREATE TRIGGER entries_never_leave BEFORE DELETE ON lumyn.entries FOR EACH ROW EXECUTE FUNCTION lumyn.refuse_unsealed();
CREATE TRIGGER entries_never_vanish BEFORE TRUNCATE ON lumyn.entries FOR EACH STATEMENT EXECUTE FUNCTION lumyn.refuse_change();
CREATE TRIGGER segments_never_change BEFORE DELETE OR UPDATE ON lumyn.segments FOR EACH ROW EXECUTE FUNCTION lumyn.refuse_change();
CREATE TRIGGER segments_never_vanish BEFORE TRUNCATE ON lumyn.segments FOR EACH STATEMENT EXECUTE FUNCTION lumyn.refuse_change();
CREATE TRIGGER writers_never_change BEFORE DELETE OR UPDATE ON lumyn.writers FOR EACH ROW EXECUTE FUNCTION lumyn.refuse_change();
CREATE TRIGGER writers_never_vanish BEFORE TRUNCATE ON lumyn.writers FOR EACH STATEMENT EXECUTE FUNCTION lumyn.refuse_change();
