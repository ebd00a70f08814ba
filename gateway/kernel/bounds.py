"""Every limit of the gateway in one place, each with its reason. At a limit we refuse.

Limits that an operator may want to move have their default here and a key in the configuration.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- what clients send -------------------------------------------------------------------------
LLM_BODY_BYTES_MAX: Final = 20 * MIB
"""A million-token prompt is 4 MiB of text; a few images in base64 come to 20 (OpenAI's own cap is 50)."""
DECIDE_BODY_BYTES_MAX: Final = 1 * MIB
"""A DecisionRequest carries evidence, not documents; the reference's largest example is 4 kB."""
MODEL_NAME_CHARS_MAX: Final = 256
"""A model's name stands in its record several times; names on model hubs stay under 100."""
HEADER_BYTES_MAX: Final = 16 * KIB
"""One header line; tomcat allows 8 KiB, node.js 16."""
HEADERS_COUNT_MAX: Final = 100
"""Apache's default; browsers send 20, SDKs 15."""
HEADER_DEADLINE_S: Final = 10.0
"""From the first byte of a request to the end of its headers; nginx waits 60, slow-loris lives on that."""
BODY_DEADLINE_S: Final = 30.0
"""For the whole body: 20 MiB in 30 s is 0.7 MB/s, slower than any link between services."""
CLIENT_STALL_S: Final = 60.0
"""A client that reads nothing for so long, while an answer waits for it, has left; nginx's `send_timeout`."""
KEEPALIVE_S: Final = 75.0
"""An idle client connection; longer than the 60 s of usual load balancers, so that they close first."""

# --- what backends send ------------------------------------------------------------------------
UPSTREAM_CONNECT_S: Final = 5.0
"""Two SYN retransmissions (1 s and 3 s) fit; a backend that needs longer is down."""
UPSTREAM_FIRST_BYTE_S: Final = 300.0
"""Time to the first byte: a long prompt on a busy pool waits minutes for a non-streamed answer."""
UPSTREAM_IDLE_S: Final = 120.0
"""Silence between two chunks of an answer; vLLM preemptions stall for seconds, never minutes."""
UPSTREAM_KEEPALIVE_S: Final = 4.0
"""uvicorn, and so vLLM, closes idle connections after 5 s: we drop them first, so no request meets a
closing one."""
UPSTREAM_CONNECTIONS_MAX: Final = 1024
"""Per backend origin: vLLM's default `max_num_seqs` on a large GPU; beyond it requests would queue."""
UPSTREAM_HEADER_BYTES_MAX: Final = 64 * KIB
"""The whole response head."""
UPSTREAM_BODY_BYTES_MAX: Final = 64 * MIB
"""A non-streamed answer: 100k tokens with log-probabilities come to 30 MiB."""
SSE_LINE_BYTES_MAX: Final = 1 * MIB
"""One `data:` line: tool arguments may come in one piece; relayed as they are, read up to this."""

# --- tool calls inside answers -----------------------------------------------------------------
TOOL_CALL_HELD_BYTES_MAX: Final = 1 * MIB
"""Held of one answer for calls that are not complete: a whole file as an argument is 100 KiB."""
TOOL_CALL_HELD_S: Final = 60.0
"""A call of 4,000 tokens at 70 a second; a client that hears nothing for longer gives up."""
TOOL_CALLS_MAX: Final = 128
"""In one answer: as many as OpenAI takes tools in a request."""
TOOL_EVENT_BYTES_MAX: Final = 8 * MIB
"""One event of a stream, which is held until its end has come: a partial image in base64 is 2 MiB."""
TOOL_BODY_BYTES_MAX: Final = 8 * MIB
"""An answer that is not streamed and may hold a call, which is held until it is whole."""
EVIDENCE_MEMBERS_MAX: Final = 64
"""Members of a tool's arguments that become evidence: real schemas have about ten."""
EVIDENCE_TEXT_CHARS_MAX: Final = 512
"""Of one text: an address, a path, a reason. What is longer is content, and stands as its digest."""

# --- MCP ---------------------------------------------------------------------------------------
MCP_BODY_BYTES_MAX: Final = 4 * MIB
"""One message of a client: the official SDK's servers take no more."""
MCP_EVENT_BYTES_MAX: Final = 8 * MIB
"""One event, or one JSON answer, as far as it is read: a photograph in base64; 1,000 tools are 2 MiB."""
MCP_TOOLS_MAX: Final = 1_000
"""Tools of one server: a model chooses badly among fifty, and each one is pinned."""
MCP_LIST_TTL_MS: Final = 60_000
"""How long a client may take a list of tools for fresh: a policy that changes shows after a minute."""
MCP_STATE_CHARS_MAX: Final = 64 * KIB
"""A `requestState`: answers to a few questions, and the state of the server's own that it may carry."""
MCP_ROUNDS_MAX: Final = 3
"""How often one call is asked about on the wire before it is refused in words: the official clients give up
after ten rounds, with an exception that no model reads."""
MCP_STATE_TTL_S: Final = 900.0
"""How long a held call may come back: a person reads, asks a colleague, and answers within a quarter hour."""
MCP_DEFINITION_CHARS_KEPT: Final = 16 * KIB
"""Of a tool's definition, so that an operator sees what has changed; its digest covers all of it."""
MCP_CONNECTIONS_MAX: Final = 256
"""Connections to one MCP server: every client that listens holds one."""
MCP_LISTEN_IDLE_S: Final = 900.0
"""Silence on a stream that only listens; the official servers send a comment every 15 s, others nothing."""
MCP_ARGUMENTS_BYTES_MAX: Final = 1 * MIB
"""Arguments of one call: a document; what is larger is handed over by reference."""
MCP_LEARN_PAGES_MAX: Final = 20
"""Pages of a server's list that the gateway reads by itself: with 50 tools each the most it can have."""
MCP_LEARN_S: Final = 10.0
"""For reading a server's list before a call of a tool that nobody has listed yet."""
MCP_LEARN_INTERVAL_S: Final = 2.0
"""Between two such readings of one server: calls of unknown tools must not become load on it."""
# --- several backends --------------------------------------------------------------------------
BREAKER_FAILURES: Final = 5
"""In a row: Envoy's `consecutive_5xx`. One or two are a restart of one worker, five are a backend."""
BREAKER_FAILURE_RATIO: Final = 0.5
"""Of a window: a backend that fails every second request costs more in retries than it serves."""
BREAKER_REQUESTS_MIN: Final = 20
"""In a window, before its share of failures means anything: of 20 fair coins 14 heads come once in 17."""
BREAKER_WINDOW_S: Final = 10.0
"""Long enough for `BREAKER_REQUESTS_MIN` at 2 requests a second, short enough to forget a restart."""
BREAKER_OPEN_S: Final = 5.0
"""A process is started anew in so long; what takes longer is waited for twice as long each time."""
BREAKER_OPEN_MAX_S: Final = 60.0
"""A model that is loaded anew takes minutes; a minute more is the price of asking seldom."""
CLUSTER_BACKENDS_MAX: Final = 64
"""Backends of one model: each is looked at for each request, and more belong behind a router."""

# --- further attempts --------------------------------------------------------------------------
ATTEMPTS_MAX: Final = 3
"""In all, the first included: of backends that fail independently three leave one request in a thousand."""
ATTEMPTS_TOTAL_S: Final = 30.0
"""From the first attempt on; no further one begins later. Clients wait a minute, and an answer takes time."""
BACKOFF_S: Final = 0.2
"""The first pause before the same backend is asked again: longer than a connection, shorter than a person."""
BACKOFF_MAX_S: Final = 5.0
"""A sixth of `ATTEMPTS_TOTAL_S`: longer pauses would be most of the time there is."""
RETRY_BUDGET_RATIO: Final = 0.2
"""Further attempts for each request, over all: Finagle's default. At worst backends get a fifth more."""
RETRY_BUDGET_PER_S: Final = 1.0
"""And so many a second whatever the traffic, so that a quiet gateway retries as well."""
RETRY_TOKENS_FIRST: Final = 10.0
"""What a gateway begins with."""
RETRY_TOKENS_MAX: Final = 100.0
"""What it can save up: a restart of a backend with a hundred requests under way."""

# --- documents and patterns --------------------------------------------------------------------
JSON_DEPTH_MAX: Final = 64
"""A DecisionRequest nests 5 deep; Python's own encoder recurses to about 1,000."""
CANON_DEPTH_MAX: Final = 96
"""A record holds a request of `JSON_DEPTH_MAX` a few levels down; orjson writes at most 254."""
LOOSE_DEPTH_MAX: Final = 128
"""Bodies that we relay: JSON schemas of tools nest 20 to 30 deep; orjson reads at most 1,024."""
TOOL_NODES_MAX: Final = 100_000
"""Commas and opening brackets in a tool's arguments: 0.1 s of reading; 4 MiB of prose has 80,000."""
TOOL_NAME_CHARS_MAX: Final = 128
"""A tool's name: what MCP recommends (SEP-986), and twice what the OpenAI API allows."""
MAPPED_EVIDENCE_BYTES_MAX: Final = 16 * KIB
"""What is mapped from a tool's arguments stands in the record: facts, not documents."""
TOOL_RULES_MAX: Final = 1_000
"""Mapped tools of one place in the configuration: a name that none names is tried against every pattern."""
WHOLE_MAX: Final = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly (RFC 7493, 2.2)."""
AMOUNT_SCALE_MAX: Final = 40
"""Decimal places of an amount or a rate: 17 digits of a double behind the 20 zeros of the smallest coin."""
POINTER_CHARS_MAX: Final = 512
"""A pointer in an error: the longest real path is about 60; keys are the caller's and may be long."""
YAML_BYTES_MAX: Final = 256 * KIB
"""A policy of 1,000 rules is 200 KiB."""
YAML_DEPTH_MAX: Final = 32
YAML_NODES_MAX: Final = 20_000
"""Keys count. Read in about 0.1 s, half of it in libyaml; a rule with two conditions has 23."""

# --- the store ---------------------------------------------------------------------------------
STORE_QUEUE_MAX: Final = 8192
"""Appends that wait for a commit: at 15,000 a second half a second of work; more is an outage."""
STORE_BATCH_MAX: Final = 256
"""Appends in one commit: throughput is flat from 64 on, latency is not."""
STORE_COMMIT_S: Final = 5.0
"""A commit that takes longer fails its waiters: they can do better than to wait."""
STORE_GATHER_S: Final = 0.001
"""How long a commit waits for company that the last one had: as long as a commit takes."""
STORE_PATIENCE_S: Final = 0.02
"""How long an outcome, for which nobody waits, may wait to ride with a decision's commit. If the process
dies meanwhile the fate is recorded as unknown, as it would be had it died before the last byte."""
STORE_COLUMN_BYTES_MAX: Final = 1024
"""A text that one searches by (a key, an id, a model). PostgreSQL indexes 2,704 bytes a row, two of these at
once; payment APIs keep keys of up to 255."""
PAGE_DECISIONS_MAX: Final = 500
"""Decisions in one page of a listing."""
IDEMPOTENCY_TTL_S: Final = 24 * 3600.0
"""A key is honoured at least so long, as callers know it from payment APIs: retention never drops a decision
that holds a younger one."""

IDEMPOTENCY_DERIVED_TTL_S: Final = 1800.0
"""A key that we derive from a request is honoured so long: SDKs wait 600 s for an answer, at most 120 s
before each of two retries, and nobody who acts anew half an hour later means the old action."""
RESULT_BYTES_MAX: Final = 256 * KIB
"""The answer of an action, kept for its repetition; tools answer with some kB."""
EXECUTIONS_MAX: Final = 100_000
"""Actions whose repetition can be recognised at one time: some 100 MB at 1 kB an answer."""
CLAIMS_SWEPT_MAX: Final = 200
"""Expired claims taken away in one commit: less than a full batch, so that live traffic fits beside it."""

# --- approvals ---------------------------------------------------------------------------------
APPROVAL_ASK_S: Final = 24 * 3600.0
"""How long a question waits for a person: a night and a morning."""
APPROVAL_USE_S: Final = 3600.0
"""How long an approval may be used, from the moment that it is given: agents poll, and restart."""
APPROVALS_PENDING_MAX: Final = 1_000
"""Questions of one key that wait at one time: no person answers more, and a wild agent asks for ever."""
APPROVAL_KEPT_S: Final = 7 * 86_400.0
"""How long an approval that nobody can use any more is listed; its record holds it for ever."""
REASON_CHARS_MAX: Final = 2_000
"""Why somebody approved or denied: a sentence or two."""

# --- actions -----------------------------------------------------------------------------------
ACTION_FIRST_BYTE_S: Final = 60.0
"""A tool's answer: payment APIs give up after 30 to 60 s."""
ACTION_CONNECTIONS_MAX: Final = 128
"""Per action route: a tool's server is smaller than a model's."""
QUERY_FIELDS_MAX: Final = 100
"""Parameters of a query."""

# --- the process -------------------------------------------------------------------------------
DRAIN_S: Final = 25.0
"""For streams to end after SIGTERM: Kubernetes kills after 30."""
EVENT_BODY_BYTES_MAX: Final = 64 * KIB
"""A label or a note."""
# --- experience memory -------------------------------------------------------------------------
MEMORY_CANDIDATES_MAX: Final = 500
"""Newest items of a tenant and action type among which `top_k` is sought (contract 3). Failures have no
such bound: the failure score is the best over all of them."""
