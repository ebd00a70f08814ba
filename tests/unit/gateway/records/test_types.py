"""The envelope of what is stored: each kind has a name of its own and cannot be changed."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from gateway.records.types import Entry
from tests.kit.entries import control, decision, event, memory_item, policy

ENTRIES = (decision(1), event(1, decision(1).entry_id), memory_item(1), policy(), control(1))


def test_every_kind_has_a_name_of_its_own() -> None:
    """No two kinds share the name that the store tells them apart by, and the samples cover them all."""
    assert {type(entry) for entry in ENTRIES} == set(get_args(Entry))
    assert len({entry.kind for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.kind)
def test_an_entry_cannot_be_changed(entry: Entry) -> None:
    """Not one field of an entry can be set after it was made, its kind included."""
    for field in dataclasses.fields(entry):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(entry, field.name, None)
    assert "kind" not in {field.name for field in dataclasses.fields(entry)}
    assert not hasattr(entry, "__dict__")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.kind)
def test_every_entry_has_the_columns_of_all(entry: Entry) -> None:
    """Id, time and body are there whatever the kind: the ledger needs no more."""
    assert isinstance(entry.entry_id, str)
    assert isinstance(entry.at_ms, int)
    assert isinstance(entry.body, bytes)
