"""What the records of a run say, read back through the admin API: is everything there, and does it explain.

The generator knows what clients saw; the ledger knows what was decided. Both must tell the same story: every
decision that a client was told of is on record, whatever was refused or changed says why, and nothing reached
the backend that is not on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from controller.evaluate.arms.data import COMPLETE, Check, Told
from controller.evaluate.arms.virtual import UNTOLD
from loadtest.client import Client, trouble
from loadtest.rows import Row
from loadtest.stage import StageError

PAGE: Final = 200
READ_S: Final = 30.0
DECISIONS_MAX: Final = 200_000
"""A soak of half a day at ten requests a second; beyond it the list is read no further."""
_TURNED_AWAY: Final = frozenset({"SHED", "EXPIRED"})


@dataclass(frozen=True, slots=True)
class Record:
    """What a run needs of one decision record."""

    decision_id: str
    action_type: str
    verdict: str
    cause: str = ""
    intent: str = ""
    actions: tuple[tuple[str, str], ...] = ()
    """Control actions: what, and why."""

    @property
    def forwarded(self) -> bool:
        """Tell whether the request was let through to a backend."""
        return (
            self.action_type.startswith("llm.")
            and self.verdict == "TRUST"
            and not any(kind in _TURNED_AWAY for kind, _ in self.actions)
        )


async def read_ledger(admin: Client, *, since_s: float = 0.0) -> dict[str, Record]:
    """Return the decisions on record since an instant of the wall clock, by id. Raise StageError."""
    records: dict[str, Record] = {}
    cursor: str | None = None
    while len(records) < DECISIONS_MAX:
        page = await _page(admin, cursor, round(max(0.0, since_s) * 1000))
        for value in page["decisions"]:
            record = read_record(value)
            records[record.decision_id] = record
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return records


async def _page(admin: Client, cursor: str | None, since_ms: int) -> Mapping[str, Any]:
    after = "" if cursor is None else f"&cursor={quote(cursor, safe='')}"
    try:
        async with asyncio.timeout(READ_S):
            head, body = await admin.read("GET", f"/admin/decisions?limit={PAGE}&since={since_ms}{after}")
    except (OSError, TimeoutError) as error:
        raise StageError(f"the records cannot be read: {trouble(error)}") from None
    if head.status != 200:
        raise StageError(f"the records cannot be read: the admin API answered {head.status}")
    page: Mapping[str, Any] = orjson.loads(body)
    return page


def read_record(value: Mapping[str, Any]) -> Record:
    """Return what a run needs of a decision record."""
    control = value.get("extensions", {}).get("control", {})
    return Record(
        decision_id=value["decision_id"],
        action_type=value["request"]["action"]["type"],
        verdict=value["verdict"],
        cause=control.get("plan", {}).get("cause", ""),
        intent=control.get("intent", ""),
        actions=tuple((action["kind"], action["reason"]) for action in control.get("actions", ())),
    )


def causes(records: Mapping[str, Record]) -> dict[str, str]:
    """Return the planner's cause of each decision."""
    return {name: record.cause for name, record in records.items() if record.cause}


def decisions_in_words(rows: Iterable[Row], records: Mapping[str, Record]) -> Iterator[Told]:
    """Yield what was done to requests, in the words of their records."""
    for row in rows:
        record = records.get(row.decision_id)
        for kind, reason in () if record is None else record.actions:
            if kind not in UNTOLD:
                yield Told(row.at_s, row.service, kind, reason, row.decision_id)


def check_ledger(
    arm: str, rows: Iterable[Row], records: Mapping[str, Record], received: int | None
) -> tuple[Check, ...]:
    """Return whether client and ledger tell the same story; `received` is what reached the backend."""
    rows = tuple(rows)
    acted = [row for row in rows if row.kind == "act" and row.verdict == "TRUST"]
    seen = [row for row in rows if row.decision_id]
    changed = [row for row in rows if touched(row)]
    unexplained = [row for row in changed if not explained(row, records.get(row.decision_id))]
    lost = [row for row in seen if row.decision_id not in records]
    bare = [row for row in rows if row.kind == "ask" and row.status == COMPLETE and not row.decision_id]
    unbacked = [row for row in acted if not _trusted(records.get(row.decision_id))]
    asked = [row for row in rows if row.kind == "act" and row.status != "unfinished"]
    silent = [row for row in asked if not row.decision_id]
    admitted = sum(record.forwarded for record in records.values())
    checks = [
        _none(f"{arm}: shed or degraded without a record that explains it", len(unexplained), len(changed)),
        _none(f"{arm}: decisions lost from the ledger", len(lost), len(seen)),
        _none(f"{arm}: tool actions without a decision", len(silent), len(asked)),
        _none(f"{arm}: tool actions trusted without a record", len(unbacked), len(acted)),
    ]
    if received is None:
        checks.append(_none(f"{arm}: answered without a record", len(bare), len(seen)))
    else:
        over = max(0, received - admitted) + len(bare)
        checks.append(_none(f"{arm}: forwarded without a record", over, received))
    return tuple(checks)


def touched(row: Row) -> bool:
    """Tell whether the gateway refused or changed a request; a client's own policy leaves no record."""
    if row.kind != "ask" or row.http_status is None:
        return False
    return row.status in {"shed", "expired"} or any(kind not in UNTOLD for kind in row.actions)


def explained(row: Row, record: Record | None) -> bool:
    """Tell whether a record says of each thing that was done to a request that it was, and why."""
    if record is None:
        return False
    reasons = dict(record.actions)
    kinds = set(row.actions) - UNTOLD
    if row.status in {"shed", "expired"}:
        kinds.add(row.status.upper())
    return bool(kinds) and all(reasons.get(kind) for kind in kinds)


def _trusted(record: Record | None) -> bool:
    return record is not None and record.verdict == "TRUST"


def _none(name: str, count: int, of: int) -> Check:
    return Check(name, "0", f"{count} of {of}", count == 0)
