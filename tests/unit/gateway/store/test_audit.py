"""The checks themselves, without a database: rows in, faults out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.errors import RecordError
from gateway.records.chain import genesis
from gateway.store.anchor import Head
from gateway.store.audit import Fault, Part, Report, check_rows, check_sealed, join
from gateway.store.ledger import Ledger
from gateway.store.rows import seal
from gateway.store.segments import Cuts
from tests.kit.entries import decision

WRITERS = {1: "V", 2: "W"}
NO_CUTS = Cuts(0, {}, {}, frozenset())
COUNT = 12


def rows_of(count: int = COUNT) -> list[tuple[Any, ...]]:
    """Rows of two writers that take turns."""
    ledgers, rows = [Ledger("V", 1, 0), Ledger("W", 2, 0)], []
    for position in range(1, count + 1):
        ledger = ledgers[position % 2]
        _, [row] = ledger.bind([[seal(decision(position))]])
        ledger.advance([row], position)
        rows.append((position, *row))
    return rows


def faults_of(rows: list[tuple[Any, ...]], *, cut: int = COUNT) -> list[str]:
    """What is found in rows that are checked in two parts, cut after `cut` of them."""
    parts = []
    for some in (rows[:cut], rows[cut:]):
        part = Part()
        check_rows(part, some, WRITERS, {})
        parts.append(part)
    return [f"{fault.writer} {fault.seq} {fault.what}" for fault in join(Part(), parts, {}, {}).faults]


@given(st.integers(0, COUNT), st.integers(0, COUNT - 1), st.integers(1, 3))
def test_any_change_is_found_wherever_the_parts_meet(cut: int, at: int, change: int) -> None:
    """A whole chain has no fault; a changed, missing or doubled row has the same faults for every cut."""
    rows = rows_of()
    assert faults_of(rows, cut=cut) == []
    row = rows[at]
    if change == 1:
        rows[at] = (*row[:-1], row[-1] + b" ")
    elif change == 2:
        rows.insert(at, row)
    elif at < COUNT - 2:  # a missing last row is what anchors are for
        del rows[at]
    else:
        return
    found = faults_of(rows, cut=cut)
    assert found
    assert found == faults_of(rows)


@pytest.mark.parametrize("cut", [0, 4, 5, 6, COUNT])
def test_a_row_that_lies_under_another_number_is_found(cut: int) -> None:
    """What is stored is whole and in its order, but an index would look for it elsewhere."""
    rows = rows_of()
    rows[5] = (2, *rows[5][1:])
    assert faults_of(rows, cut=cut) == ["V 2 misplaced: its position 2 is not behind the last"]


@pytest.mark.parametrize("cut", [0, 4, 5, COUNT])
@pytest.mark.parametrize(
    ("at", "value"),
    [(2, None), (2, "x"), (3, None), (3, "x"), (-1, None), (-1, "x"), (5, None), (5, b"x"), (1, None)],
)
def test_a_column_of_another_type_is_a_fault_and_no_crash(cut: int, at: int, value: object) -> None:
    """Damage can make anything of a column: whatever it is, it is named and the rest is looked at."""
    rows = rows_of()
    for number in (4, 5):
        row = [*rows[number]]
        row[at] = value
        rows[number] = tuple(row)
    rows[5] = (2, *rows[5][1:])
    found = faults_of(rows, cut=cut)
    assert len(found) >= 2
    assert sorted(found) == sorted(faults_of(rows))
    assert check_sealed(rows, WRITERS, {}, NO_CUTS).faults


def test_an_anchor_is_reached_or_the_chain_is_cut_off() -> None:
    """A head beyond the end says where the tail is missing; one that does not fit says that it changed."""
    rows = rows_of()
    part = Part()
    check_rows(part, rows, WRITERS, {("V", 2): b"other"})
    assert [(fault.seq, fault.what) for fault in part.faults] == [(2, "not the record that was anchored")]
    report = join(Part(), [Part()], {}, {"V": Head("V", 3, b"", 0)})
    assert [(fault.seq, fault.what[:9]) for fault in report.faults] == [(0, "truncated")]
    sealed = {"V": Head("V", 3, b"", 0)}
    assert join(Part(), [Part()], sealed, sealed).faults == ()


def test_a_report_raises_its_first_fault() -> None:
    """The first fault is named with record, writer and sequence; a whole store raises nothing."""
    Report(0, {}, ()).raise_first()
    faults = (Fault(1, "W", 7, "ID", "changed"), Fault(2, "W", 8, "", "missing"))
    with pytest.raises(RecordError, match=r"record ID \(writer W, sequence 7\): changed") as caught:
        Report(2, {}, faults).raise_first()
    assert "2 faults" in str(caught.value.hint)


def test_what_was_kept_is_checked_by_the_links_that_were_noted() -> None:
    """Of a stretch with holes each kept row verifies; one too many, one too few and a changed one do not."""
    rows = rows_of()
    links = {(WRITERS[row[1]], row[2]): row[3] for row in rows}
    kept = [row for row in rows if row[2] in {0, 2, 3, 5}]
    names = frozenset((WRITERS[row[1]], row[2]) for row in kept)
    before = {(writer, seq): links[writer, seq - 1] for writer in "VW" for seq in (2, 5)}
    cuts = Cuts(COUNT, {}, before, names)
    part = check_sealed(kept, WRITERS, {}, cuts)
    assert (part.faults, part.records) == ([], len(kept))
    [extra] = check_sealed(
        rows[:2] + kept[2:], WRITERS, {}, Cuts(COUNT, {}, before, names - {("V", 0)})
    ).faults
    assert "did not keep it" in extra.what
    [missing] = check_sealed(kept[1:], WRITERS, {}, cuts).faults
    assert (missing.seq, missing.what) == (0, "missing, and retention had kept it")
    wrong = Cuts(COUNT, {}, before | {("V", 2): genesis("V")}, names)
    assert [fault.seq for fault in check_sealed(kept, WRITERS, {}, wrong).faults] == [2]


def test_a_writer_that_is_not_known_is_a_fault() -> None:
    """A row whose writer is in no table cannot be checked, and is named."""
    part = Part()
    check_rows(part, rows_of(1), {}, {})
    assert (part.records, part.faults[0].what) == (0, "its writer is not known")
    assert check_sealed(rows_of(1), {}, {}, NO_CUTS).faults[0].what == "its writer is not known"
