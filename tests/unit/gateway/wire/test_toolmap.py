"""Tool calls as actions: by name, by pattern, by a name made to fit; evidence and amounts by pointer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import MAPPED_EVIDENCE_BYTES_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import parse_tool_json
from gateway.wire.toolmap import AmountRule, MappedCall, ToolMap, ToolRule, fitted

REFUND = ToolRule(
    "refund",
    "support.refund",
    {"ticket_id": "/ticket/id", "tags": "/tags"},
    AmountRule("/amount", "/currency"),
)
RULES = ToolMap(
    [REFUND, ToolRule("read_*", "files.read", {"path": "/path"}), ToolRule("*_x", "odd.x")],
    prefix="mcp.files_",
)


def call(tool: str, arguments: bytes) -> MappedCall:
    """Map a call whose arguments are JSON text."""
    return RULES.call(tool, parse_tool_json(arguments))


def test_a_mapped_call_has_its_type_evidence_and_amount() -> None:
    """What is mapped is taken, what is not mapped is not."""
    mapped = call("refund", b'{"ticket":{"id":"T1"},"amount":12.5,"currency":"EUR","note":"secret"}')
    assert mapped == MappedCall("support.refund", {"ticket_id": "T1"}, {"value": 12.5, "currency": "EUR"})


def test_a_name_goes_before_patterns_and_patterns_go_in_order() -> None:
    """`read_x` fits two patterns: the first one counts."""
    assert RULES.action_type("refund") == "support.refund"
    assert RULES.action_type("read_x") == "files.read"
    assert RULES.action_type("write_x") == "odd.x"
    assert call("read_file", b'{"path":"/a"}').evidence == {"path": "/a"}


def test_names_are_told_apart_by_case() -> None:
    """A pattern is not looser on one machine than on another."""
    assert RULES.rule_of("READ_FILE") is None
    assert RULES.rule_of("Refund") is None


def test_an_unmapped_tool_gets_a_type_that_fits_and_no_evidence() -> None:
    """Its arguments stay out of the record."""
    assert call("List-Users v2", b'{"a":1}') == MappedCall("mcp.files_list_users_v2", {}, None)


@given(st.text(max_size=300))
@settings(derandomize=True, deadline=None)
def test_every_name_fits(name: str) -> None:
    """Whatever the name, the type follows the pattern of the contract and is short."""
    made = fitted("tool.", name)
    assert re.fullmatch(r"[a-z0-9]+(\.[a-z0-9_]+)+", made)
    assert len(made) <= 5 + 128


@pytest.mark.parametrize(
    ("arguments", "amount"),
    [
        (b"{}", None),
        (b'{"amount":null}', None),
        (b'{"amount":5}', {"value": 5}),
        (b'{"amount":5,"currency":null}', {"value": 5}),
    ],
)
def test_an_amount_that_is_not_whole(arguments: bytes, amount: object) -> None:
    """No amount is no amount; an amount without a currency is one whose dollars are not known."""
    assert call("refund", arguments).amount == amount


def test_a_currency_may_be_fixed() -> None:
    """A code instead of a pointer holds for every call."""
    fixed = ToolMap([ToolRule("pay", "billing.pay", amount=AmountRule("/sum"))], prefix="tool.")
    assert fixed.call("pay", {"sum": 3}).amount == {"value": 3, "currency": "USD"}


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        (b'{"amount":"5"}', "/amount"),
        (b'{"amount":true}', "/amount"),
        (b'{"amount":-1}', "/amount"),
        (b'{"amount":25.000000000000000001}', "/amount"),
        (b'{"amount":5,"currency":"EURO"}', "/currency"),
        (b'{"amount":5,"currency":978}', "/currency"),
        (b'{"ticket":{"id":12345678901234567890}}', "/ticket/id"),
        (b'{"tags":["a",{"b":[12345678901234567890]}]}', "/tags"),
    ],
)
def test_what_no_record_can_hold_is_refused_where_it_is_mapped(arguments: bytes, pointer: str) -> None:
    """The pointer says which argument it is."""
    with pytest.raises(InvalidRequestError) as caught:
        call("refund", arguments)
    assert caught.value.pointer == pointer


def test_an_odd_number_that_nobody_maps_passes() -> None:
    """A 64-bit id is the tool's business."""
    assert call("refund", b'{"user":12345678901234567890,"ticket":{"id":1}}').evidence == {"ticket_id": 1}


def test_a_step_into_what_is_no_container_gives_nothing() -> None:
    """A ticket that is text has no id."""
    assert call("refund", b'{"ticket":"T1"}').evidence == {}


def test_mapped_evidence_is_bounded() -> None:
    """A document in an argument is no fact."""
    text = b'{"path":"%b"}' % (b"x" * MAPPED_EVIDENCE_BYTES_MAX)
    with pytest.raises(InvalidRequestError, match="over 16384 bytes"):
        call("read_file", text)
    assert call("refund", text).evidence == {}
