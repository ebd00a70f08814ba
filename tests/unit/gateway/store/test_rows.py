"""An entry becomes a row and comes back; the row's header is what the ledger hashed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.bounds import STORE_COLUMN_BYTES_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.types import Tenant
from gateway.records.chain import header
from gateway.records.types import DecisionEntry, Entry
from gateway.store.rows import ENTRY_COLUMNS, TIME_MAX_MS, entry_of, header_of, row_of, seal
from tests.kit.entries import control, decision, event, memory_item, policy

ENTRIES = (
    decision(1, request_key="k", tenant=Tenant("t")),
    event(1, "D"),
    memory_item(1),
    policy(),
    control(1),
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
DECISIONS = st.builds(
    DecisionEntry, entry_id=TEXT, tenant=st.builds(Tenant, st.none() | TEXT),
    at_ms=st.integers(1 - TIME_MAX_MS, TIME_MAX_MS - 1), action_type=TEXT, verdict=TEXT,
    reason_codes=st.lists(TEXT, max_size=3).map(tuple), policy_hash=TEXT, model=st.none() | TEXT,
    correlation_id=st.none() | TEXT, request_key=st.none() | TEXT, request_digest=st.none() | TEXT,
    awaits_outcome=st.booleans(), body=st.binary(max_size=8),
)  # fmt: skip


@given(st.one_of(DECISIONS, st.sampled_from(ENTRIES)))
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    """Row and entry are one to one, and both have the same header."""
    row = row_of(entry)
    assert len(row) == len(ENTRY_COLUMNS)
    assert entry_of(row) == entry
    assert header_of(row) == header(entry) == seal(entry).header


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.kind)
def test_every_column_is_bound_by_the_header(entry: Entry) -> None:
    """Whichever column of a row is changed, its header changes or cannot be made: none escapes the ledger."""
    row = row_of(entry)
    for at in range(len(row) - 1):
        value = 7 if isinstance(row[at], int) else "x"
        changed = (*row[:at], value if row[at] != value else None, *row[at + 1 :])
        if ENTRY_COLUMNS[at] == "awaits_outcome":
            changed = (*row[:at], 0 if row[at] else 1, *row[at + 1 :])
        try:
            assert header_of(changed) != header_of(row), ENTRY_COLUMNS[at]
        except ValueError as error:
            assert "no such kind" in str(error) or "column is set" in str(error)  # noqa: PT017 - either is right


def test_a_kind_that_is_none_is_refused() -> None:
    """Neither an entry nor a header is made of a row of another kind."""
    row = ("other", *row_of(decision(1))[1:])
    for make in (entry_of, header_of):
        with pytest.raises(ValueError, match="no such kind"):
            make(row)


@pytest.mark.parametrize("at_ms", [TIME_MAX_MS, -TIME_MAX_MS])
def test_an_impossible_time_is_refused(at_ms: int) -> None:
    """A time that no JSON number can hold is the caller's mistake."""
    with pytest.raises(InvalidRequestError, match="impossible time"):
        seal(decision(1, at_ms=at_ms))


@pytest.mark.parametrize("text", ["\ud800", "a\x00"])
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.kind)
def test_text_that_no_database_can_store_is_refused(entry: Entry, text: str) -> None:
    """A lone surrogate or a NUL in an id is refused before it can fail a batch."""
    with pytest.raises(InvalidRequestError):
        seal(dataclasses.replace(entry, entry_id=text))


def test_a_sealed_entry_tells_what_the_queue_asks() -> None:
    """Kind, id, tenant, key and body are read from the row."""
    one, other = seal(ENTRIES[0]), seal(policy())
    assert (one.kind, one.entry_id, one.tenant_id, one.request_key) == (
        "decision",
        decision(1).entry_id,
        "t",
        "k",
    )
    assert (other.kind, other.tenant_id, other.request_key, other.body) == (
        "policy",
        None,
        None,
        policy().body,
    )


LONG = "k" * STORE_COLUMN_BYTES_MAX


@pytest.mark.parametrize("name", ["entry_id", "action_type", "model", "correlation_id", "request_key"])
def test_a_column_too_long_to_be_indexed_is_refused(name: str) -> None:
    """At the bound it is taken, one byte more is refused by its name; bytes count, not letters."""
    assert seal(decision(1, **{name: LONG})).row
    for value in (LONG + "k", "é" * (STORE_COLUMN_BYTES_MAX // 2) + "k"):
        with pytest.raises(InvalidRequestError, match=f"{name} of this decision"):
            seal(decision(1, **{name: value}))


def test_many_reason_codes_are_no_long_column() -> None:
    """A list may be long: it is not searched by as one text."""
    codes = tuple(f"REASON_{number:04}" for number in range(200))
    assert seal(decision(1, reason_codes=codes)).row[6].count("REASON") == 200
