"""What is exported is what is stored, from each driver alike."""

from __future__ import annotations

import csv
import io

import orjson

from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.store import export
from gateway.store.port import DecisionFilter, Store
from tests.kit.entries import decision, event

ACME = Tenant("acme")


async def fill(store: Store) -> None:
    """Seven decisions, the fourth with an event, the last of another tenant."""
    await store.submit([decision(n, tenant=ACME, model='a,"b"\n') for n in range(6)])
    await store.submit([event(1, decision(3).entry_id, tenant=ACME), decision(6)])


async def test_json_lines_hold_the_stored_bytes(store: Store) -> None:
    """Each line is a decision's own bytes with its events, newest first, of this tenant only."""
    await fill(store)
    lines = [line async for line in export.export_json_lines(store, ACME)]
    assert len(lines) == 6
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert decision(5, tenant=ACME, model='a,"b"\n').body in lines[0]
    assert [len(orjson.loads(line)["events"]) for line in lines] == [0, 0, 1, 0, 0, 0]
    assert len([line async for line in export.export_json_lines(store, EVERY_TENANT)]) == 7


async def test_csv_reads_back(store: Store) -> None:
    """A CSV reader gets back each column, quotes and line ends included."""
    await fill(store)
    wanted = DecisionFilter(until_ms=decision(3).at_ms)
    text = b"".join([row async for row in export.export_csv(store, ACME, wanted)]).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == export.CSV_COLUMNS
    assert [row["decision_id"] for row in rows] == [decision(n).entry_id for n in (2, 1, 0)]
    assert (rows[0]["model"], rows[0]["reason_codes"], rows[0]["request_key"]) == (
        'a,"b"\n',
        '["LLM_OK"]',
        "",
    )


async def test_export_walks_every_page(store: Store) -> None:
    """More decisions than one page holds are all exported, once."""
    await store.submit([decision(n) for n in range(1_100)])
    lines = [line async for line in export.export_csv(store, EVERY_TENANT)]
    assert len(lines) == len(set(lines)) == 1_101
