"""Makes `vectors/chain`: one file a fault of a ledger. `python -m tests.kit.chains` writes those not there.

A file holds what is stored (`entries`, each as a line of an export without `before` and `kept`), the heads
that were anchored outside (`anchors`), and the first fault that a verifier must find (`finds`, null where
all is whole). Two writers take turns, four entries each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.kernel.types import JSONObject, Tenant
from gateway.records.chain import genesis, link
from gateway.records.types import Entry
from gateway.store.ledger import Ledger
from gateway.store.rows import COLUMNS, ENTRY_COLUMNS, header_of, seal
from tests.kit.entries import control, decision, event, memory_item, policy

PLACE: Final = Path("vectors/chain")
FIRST, SECOND = "01K742SG000000000000000001", "01K742SG000000000000000002"
NUMBERS: Final = {FIRST: 1, SECOND: 2}
OTHERS: Final = b'"verdict":"QUERY"'
TRUST: Final = b'"verdict":"TRUST"'


def chains() -> list[JSONObject]:
    """Return the entries of a whole ledger."""
    ledgers = {writer: Ledger(writer, number, 0) for writer, number in NUMBERS.items()}
    first: list[Entry] = [policy(), decision(1, tenant=Tenant("acme")), event(1, decision(1).entry_id)]
    first.append(memory_item(1))
    second: list[Entry] = [decision(2), decision(3, request_key="key"), control(1), decision(4)]
    entries = []
    for pair in zip(first, second, strict=True):
        for writer, entry in zip(NUMBERS, pair, strict=True):
            _, [row] = ledgers[writer].bind([[seal(entry)]])
            ledgers[writer].advance([row], 0)
            entries.append(written(len(entries) + 1, writer, row[1:]))
    return entries


def written(position: int, writer: str, row: Any) -> JSONObject:
    """Return an entry as a vector holds it; `row` begins with the sequence."""
    seq, stored, *columns, body = row
    named = zip(ENTRY_COLUMNS, columns, strict=False)
    kept = {name: value for name, value in named if value is not None}
    place = {"position": position, "writer": writer, "seq": seq, "link": stored.hex()}
    return {**place, **kept, "body": body.decode()}


def row_of(entry: JSONObject) -> tuple[Any, ...]:
    """Return an entry as `audit` takes it: `position`, then `COLUMNS`."""
    values = entry | {
        "writer": NUMBERS.get(entry["writer"], 9),
        "link": bytes.fromhex(entry["link"]),
        "body": entry["body"].encode(),
    }
    return (entry["position"], *(values.get(name) for name in COLUMNS))


def anchors(entries: list[JSONObject]) -> list[JSONObject]:
    """Return the head of each writer."""
    heads = {entry["writer"]: entry for entry in entries}
    return [{name: head[name] for name in ("writer", "seq", "link")} for head in heads.values()]


def forge(entries: list[JSONObject], writer: str) -> None:
    """Compute every link of one writer anew, as a careful forger would."""
    before = genesis(writer)
    for entry in entries:
        if entry["writer"] == writer:
            row = row_of(entry)
            before = link(before, header_of(row[4:]), row[-1])
            entry["link"] = before.hex()


def _exchange(entries: list[JSONObject], one: int, other: int, *names: str) -> None:
    for name in names:
        entries[one][name], entries[other][name] = entries[other][name], entries[one][name]


def _edit(at: int, **changes: Any) -> Callable[[list[JSONObject]], None]:
    return lambda entries: entries[at].update(changes)


def _flip(entries: list[JSONObject]) -> None:
    entries[3]["body"] = entries[3]["body"].replace(TRUST.decode(), OTHERS.decode())


def _forge_body(entries: list[JSONObject]) -> None:
    _flip(entries)
    forge(entries, SECOND)


def _forge_column(entries: list[JSONObject]) -> None:
    entries[3]["verdict"] = "QUERY"
    forge(entries, SECOND)


def _swap(entries: list[JSONObject]) -> None:
    entries[3], entries[7] = entries[7], entries[3]
    _exchange(entries, 3, 7, "position")


def _repeat(entries: list[JSONObject]) -> None:
    entries.append({**entries[5], "position": 9})


def _shift(entries: list[JSONObject]) -> None:
    _exchange(entries, 3, 7, "body")


FAULTS: Final[dict[str, tuple[str, Callable[[list[JSONObject]], Any], JSONObject | None]]] = {
    "whole": ("nothing is wrong", lambda _: None, None),
    "body_changed": ("one word of a body is another", _flip, {"writer": SECOND, "seq": 1, "what": "changed"}),
    "column_changed": (
        "a search column is another, the body is as it was",
        _edit(3, request_key="other"),
        {"writer": SECOND, "seq": 1, "what": "changed"},
    ),
    "column_added": (
        "a column is set that entries of this kind do not have",
        _edit(3, label="outcome"),
        {"writer": SECOND, "seq": 1, "what": "column is set"},
    ),
    "kind_unknown": (
        "an entry is of a kind that there is not",
        _edit(3, kind="wish"),
        {"writer": SECOND, "seq": 1, "what": "no such kind"},
    ),
    "link_changed": (
        "the link of an entry is another",
        _edit(3, link="00" * 32),
        {"writer": SECOND, "seq": 1, "what": "changed"},
    ),
    "removed": (
        "an entry in the middle is missing",
        lambda entries: entries.pop(3),
        {"writer": SECOND, "seq": 2, "what": "sequence 1 is missing"},
    ),
    "first_removed": (
        "the first entry of a writer is missing",
        lambda entries: entries.pop(1),
        {"writer": SECOND, "seq": 1, "what": "sequence 0 is missing"},
    ),
    "truncated": (
        "the last entry of a writer is missing; its anchor names it",
        lambda entries: entries.pop(7),
        {"writer": SECOND, "seq": 3, "what": "truncated"},
    ),
    "writer_removed": (
        "every entry of a writer is missing; its anchor names the last",
        lambda entries: [entries.pop(at) for at in (7, 5, 3, 1)],
        {"writer": SECOND, "seq": 0, "what": "truncated"},
    ),
    "reordered": (
        "two entries of one writer have changed places",
        _swap,
        {"writer": SECOND, "seq": 3, "what": "sequence 1 is missing"},
    ),
    "bodies_exchanged": (
        "two entries of one writer have each other's body",
        _shift,
        {"writer": SECOND, "seq": 1, "what": "changed"},
    ),
    "repeated": (
        "an entry stands there twice",
        _repeat,
        {"writer": SECOND, "seq": 2, "what": "out of order"},
    ),
    "writer_unknown": (
        "an entry is of a writer that nobody knows",
        _edit(3, writer="number 9"),
        {"writer": "number 9", "seq": 1, "what": "writer is not known"},
    ),
    "forged_body": (
        "a body is another and every link after it is computed anew; the anchor shows it",
        _forge_body,
        {"writer": SECOND, "seq": 1, "what": "column and body disagree"},
    ),
    "forged_column": (
        "a column is another than its body and every link is computed anew",
        _forge_column,
        {"writer": SECOND, "seq": 1, "what": "column and body disagree"},
    ),
    "forged_tail": (
        "the last entry is another, with a link that fits; only the anchor shows it",
        lambda entries: (entries[7].update(model="other"), forge(entries, SECOND)),
        {"writer": SECOND, "seq": 3, "what": "anchored"},
    ),
}


def main() -> None:
    """Write what is not there yet."""
    PLACE.mkdir(exist_ok=True)
    for name, (about, change, finds) in FAULTS.items():
        entries = chains()
        heads = anchors(entries)
        change(entries)
        value = {"about": about, "anchors": heads, "entries": entries, "finds": finds}
        path = PLACE / f"{name}.json"
        if not path.exists():
            path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main()
