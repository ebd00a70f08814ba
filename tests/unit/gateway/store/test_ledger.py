"""A writer's chain has no gap whatever fails, and knows how far everything is settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.records.chain import genesis, link
from gateway.store import ledger as module
from gateway.store.ledger import SETTLED_WHOLLY, Ledger
from gateway.store.rows import seal
from tests.kit.entries import decision, event


def groups_of(sizes: list[int], start: int = 0) -> list[list[object]]:
    """Groups of sealed decisions, so many in each."""
    found, number = [], start
    for size in sizes:
        found.append([seal(decision(number + n)) for n in range(size)])
        number += size
    return found


def test_a_new_ledger_has_a_head_before_the_first() -> None:
    """Sequence -1 and the writer's genesis."""
    head = Ledger("W", 1, 0).head(5)
    assert (head.writer, head.seq, head.link, head.at_ms) == ("W", -1, genesis("W"), 5)


@given(st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.booleans()), max_size=6))
def test_a_failed_batch_leaves_no_gap(batches: list[tuple[list[int], bool]]) -> None:
    """Only batches that became durable move the chain: it is the one that they alone would make."""
    ledger, before, seq = Ledger("W", 3, 0), genesis("W"), 0
    for sizes, durable in batches:
        groups = groups_of(sizes)
        spans, rows = ledger.bind(groups)
        assert [last - first + 1 for first, last in spans] == sizes
        if not durable:
            continue
        ledger.advance(rows, seq + len(rows))
        for row, sealed in zip(rows, (entry for group in groups for entry in group), strict=True):
            before = link(before, sealed.header, sealed.body)
            assert row[:3] == (3, seq, before)
            assert row[3:] == sealed.row
            seq += 1
    assert (ledger.head(0).seq, ledger.head(0).link) == (seq - 1, before)


def test_what_is_open_holds_the_watermark() -> None:
    """Settled is all before the oldest decision without its outcome; a note settles nothing."""
    ledger = Ledger("W", 1, 10)
    entries = [decision(1), decision(2), decision(3, awaits_outcome=False)]
    entries += [event(1, decision(1).entry_id), event(2, decision(2).entry_id, "note")]
    _, rows = ledger.bind([[seal(entry)] for entry in entries])
    ledger.advance(rows[:3], 13)
    assert ledger.open_decisions.settled_up_to(last=False) == 10
    ledger.advance(rows[3:], 15)
    assert ledger.open_decisions.settled_up_to(last=True) == 11
    _, rows = ledger.bind([[seal(event(3, decision(2).entry_id))]])
    ledger.advance(rows, 16)
    assert ledger.open_decisions.settled_up_to(last=False) == 16
    assert ledger.open_decisions.settled_up_to(last=True) == SETTLED_WHOLLY


def test_memory_of_open_decisions_is_bounded(monkeypatch) -> None:
    """Beyond the bound the watermark stays where it is for good, which is safe."""
    monkeypatch.setattr(module, "OPEN_MAX", 2)
    ledger = Ledger("W", 1, 0)
    _, rows = ledger.bind(groups_of([4]))
    ledger.advance(rows, 4)
    assert ledger.open_decisions.settled_up_to(last=True) == 0
    _, rows = ledger.bind([[seal(event(n, decision(n).entry_id)) for n in range(4)]])
    ledger.advance(rows, 8)
    assert ledger.open_decisions.settled_up_to(last=True) == 0
