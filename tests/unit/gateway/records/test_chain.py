"""The hash chain: a golden vector, and that no bit of an entry escapes it."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.types import Tenant
from gateway.records.chain import LINK_BYTES, genesis, header, link
from gateway.records.types import Entry
from tests.kit.entries import control, decision, event, memory_item, policy

WRITER = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
EVERY_KIND: tuple[Entry, ...] = (decision(1), event(1, "D"), memory_item(1), policy(), control(1))


def test_golden_vector() -> None:
    """Whoever implements the scheme elsewhere gets these bytes: they never change."""
    before = genesis(WRITER)
    assert before == hashlib.sha256(b"lumyn.ledger.v0\x00" + WRITER.encode()).digest()
    assert (
        header(event(1, "D"))
        == b'["event","%s",null,1760000000001,"D","outcome"]' % event(1, "D").entry_id.encode()
    )
    after = link(before, header(control(1)), control(1).body)
    assert after == hashlib.sha256(before + header(control(1)) + control(1).body).digest()
    assert len(after) == LINK_BYTES


@pytest.mark.parametrize("entry", EVERY_KIND, ids=lambda entry: str(entry.kind))
def test_every_field_is_bound(entry: Entry) -> None:
    """Changing any field of any kind of entry changes its link."""
    before = link(genesis(WRITER), header(entry), entry.body)
    for field in dataclasses.fields(entry):
        value = getattr(entry, field.name)
        other: object = (
            (*value, "X") if isinstance(value, tuple)
            else not value if isinstance(value, bool)
            else value + 1 if isinstance(value, int)
            else value + b"x" if isinstance(value, bytes)
            else Tenant("x") if isinstance(value, Tenant)
            else "x"
        )  # fmt: skip
        changed = dataclasses.replace(entry, **{field.name: other})
        assert link(genesis(WRITER), header(changed), changed.body) != before, field.name


@settings(max_examples=100, derandomize=True)
@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.binary(max_size=40), st.binary(max_size=40)
)
def test_header_and_body_cannot_be_shifted(text: str, one: bytes, two: bytes) -> None:
    """Two entries have one link only if they are equal: no byte can move between column and body."""
    first = decision(1, tenant=Tenant(text), body=one)
    second = decision(1, tenant=Tenant(text + "x"), body=two)
    assert link(b"", header(first), one) != link(b"", header(second), two)


def test_writers_begin_differently() -> None:
    """The first link binds the writer."""
    assert genesis(WRITER) != genesis(WRITER[:-1] + "W")
