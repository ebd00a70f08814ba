"""What changed between two policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy.builtin import SUPPORT
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.difference import changes

TEXT = Path(SUPPORT).read_text()


def _policy(old: str = "", new: str = "") -> CompiledPolicy:
    assert old in TEXT
    return compile_policy(TEXT.replace(old, new, 1).encode() if old else TEXT.encode())


def test_a_policy_does_not_differ_from_itself() -> None:
    """Comments and layout are no change."""
    assert changes(_policy(), compile_policy(b"# a comment\n" + TEXT.encode())) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "refund_trust_usd: 25",
            "refund_trust_usd: 10",
            ("changed", "thresholds.refund_trust_usd", "25", "10"),
        ),
        (
            "  support.close_ticket: [ticket_id, resolution_code]\n",
            "",
            ("removed", "required_evidence.support.close_ticket"),
        ),
        (
            'policy_version: "0.2.0"',
            'policy_version: "0.3.0"',
            ("changed", "policy_version", '"0.2.0"', '"0.3.0"'),
        ),
        (
            "verdict: TRUST, reason_codes: [REOPEN",
            "verdict: ESCALATE, reason_codes: [REOPEN",
            ("changed", "rules.R054.then"),
        ),
        ("  - id: R054", "  - id: R954", ("removed", "rules.R054")),
    ],
)
def test_a_change_is_named(old: str, new: str, expected: tuple[str, ...]) -> None:
    """A changed value, a removed key, a changed rule and a renamed rule each show up by their name."""
    found = changes(_policy(), _policy(old, new))
    first = found[0]
    assert (first.what, first.where, first.before, first.after)[: len(expected)] == expected


def test_rules_that_change_places_are_told() -> None:
    """The order of rules decides the order of reasons, so a swap is a change."""
    old = compile_policy(_two("A", "B"))
    new = compile_policy(_two("B", "A"))
    assert [(change.what, change.where) for change in changes(old, new)] == [("moved", "rules")]


def _two(*names: str) -> bytes:
    rules = "".join(
        f"  - {{id: {name}, stage: TRUST_PATHS, then: {{verdict: TRUST, reason_codes: [CREDIT_SMALL]}}}}\n"
        for name in names
    )
    return (
        "schema_version: policy.v0\npolicy_id: p\npolicy_version: '1'\n"
        "defaults:\n  mode: enforce\n  default_verdict: ESCALATE\n"
        "  default_reason_code: NO_MATCH_DEFAULT_ESCALATE\n"
        f"rules:\n{rules}"
    ).encode()
