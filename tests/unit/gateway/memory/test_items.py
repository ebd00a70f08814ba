"""Entries of the memory log and their bytes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.errors import RecordError
from gateway.memory.features import Features
from gateway.memory.items import LABELS, MemoryItem, MemoryWithdrawal, decode, encode, remember

words = st.text(max_size=6)
items = st.builds(
    MemoryItem,
    memory_id=words,
    tenant_id=st.none() | words,
    created_at=words,
    label=st.sampled_from(LABELS),
    features=st.builds(
        Features, words, st.none() | words, st.none() | words, st.lists(words, max_size=3).map(tuple)
    ),
    summary=words,
    source_decision_id=st.none() | words,
)
withdrawals = st.builds(MemoryWithdrawal, words, st.none() | words, words, words, words, words)
ITEM = MemoryItem(
    "m1", "acme", "2026-01-01T00:00:00Z", "failure", Features("a.b", "USD", "small", ("t",)), "s", "d1"
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(items | withdrawals)
def test_round_trip(entry):
    """Any entry reads back from its bytes as it was, and has the same bytes again."""
    body = encode(entry)
    assert decode(body) == entry
    assert encode(decode(body)) == body


def test_golden_body():
    """The bytes of an item are canonical JSON with the fields of the contract."""
    assert encode(ITEM) == (
        b'{"action_type":"a.b","created_at":"2026-01-01T00:00:00Z",'
        b'"feature":{"action_type":"a.b","amount_currency":"USD","amount_usd_bucket":"small","tags":["t"]},'
        b'"label":"failure","memory_id":"m1","source_decision_id":"d1","summary":"s","tenant_id":"acme"}'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"label": "bad"},
        {"label": None},
        {"memory_id": 1},
        {"created_at": None},
        {"tenant_id": 5},
        {"summary": None},
        {"feature": None},
        {"feature": []},
        {"feature": {"action_type": "other.type"}},
        {"feature": {"action_type": "a.b", "tags": "t"}},
        {"feature": {"action_type": "a.b", "tags": [1]}},
        {"feature": {"action_type": "a.b", "amount_currency": 1}},
        {"label": "withdrawn"},
        {"label": "withdrawn", "withdraws": 1},
    ],
    ids=repr,
)
def test_what_is_no_entry(change):
    """A body with a wrong field is refused as a record error, whatever is wrong."""
    value = json.JSONDecoder().decode(encode(ITEM).decode()) | change
    with pytest.raises(RecordError, match="memory entry cannot be read"):
        decode(json.dumps(value).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":NaN}', b"\xff", b"[" * 1000])
def test_broken_bytes(body):
    """Bytes that are no entry at all are refused in the same way."""
    with pytest.raises(RecordError, match="memory entry cannot be read"):
        decode(body)


def test_later_fields_are_ignored():
    """An entry with a field of a later version still reads."""
    value = json.JSONDecoder().decode(encode(ITEM).decode()) | {"later": 1}
    assert decode(json.dumps(value).encode()) == ITEM


def test_remember():
    """Labelling a record takes tenant, features and source from it, and says in words what happened."""
    record = {
        "decision_id": "d9",
        "verdict": "TRUST",
        "request": {
            "subject": {"type": "agent", "id": "b", "tenant_id": "acme"},
            "action": {
                "type": "support.refund",
                "intent": "Refund",
                "amount": {"value": 20, "currency": "USD"},
            },
        },
    }
    item = remember(record, memory_id="m", at_ms=0, label="failure")
    assert item.summary == "support.refund: Refund -> TRUST (failure)"
    assert (item.tenant_id, item.source_decision_id, item.created_at) == (
        "acme",
        "d9",
        "1970-01-01T00:00:00Z",
    )
    assert item.features == Features("support.refund", "USD", "small")
    assert remember(record, memory_id="m", at_ms=0, label="success", summary="mine").summary == "mine"
