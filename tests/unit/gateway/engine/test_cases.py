"""Policy tests: what holds passes in silence, everything else is a line."""

from __future__ import annotations

from gateway.engine.cases import case_faults
from gateway.pipeline.policies import load_policy
from gateway.policy.builtin import SUPPORT
from tests.kit.refunds import refund

POLICY = load_policy(SUPPORT)


def _case(**expect: object) -> dict:
    return {"name": "a refund", "request": refund(), "expect": expect}


def test_a_case_that_holds_says_nothing() -> None:
    """Verdict, reasons and mode as they are give no line."""
    case = _case(verdict="TRUST", reason_codes=["REFUND_SMALL_LOW_RISK"], mode="enforce", forwardable=True)
    assert list(case_faults(case, POLICY)) == []


def test_a_difference_says_what_was_found() -> None:
    """A wrong expectation names the case, the member, what was found and what was wanted."""
    (line,) = case_faults(_case(verdict="QUERY"), POLICY)
    assert line == "a refund: verdict is 'TRUST', and 'QUERY' was expected"


def test_an_unknown_expectation_is_no_success() -> None:
    """A misspelt member is told, because skipping it would look like passing."""
    (line,) = case_faults(_case(verdikt="TRUST"), POLICY)
    assert "nothing is known of `verdikt`" in line


def test_a_case_that_expects_nothing_is_told() -> None:
    """A case without expectations proves nothing."""
    assert list(case_faults(_case(), POLICY)) == ["a refund: expects nothing"]


def test_a_case_that_cannot_be_run_is_a_difference() -> None:
    """A request that is none, and a policy that nobody knows, are lines and no exceptions."""
    bad_request = _case(verdict="TRUST") | {"request": {"schema_version": "nonsense"}}
    bad_policy = _case(verdict="TRUST") | {"policy": "nobody"}
    for case in (bad_request, bad_policy, {"name": "empty"}):
        (line,) = case_faults(case, POLICY)
        assert "cannot be run" in line


def test_memory_and_settings_are_part_of_a_case() -> None:
    """A case can say what memory knew and what was configured."""
    case = _case(verdict="ESCALATE", mode="advisory") | {
        "memory": {"failure_score": 1, "hits": [], "snapshot": "memory:1:" + "0" * 64},
        "settings": {"mode": "advisory"},
    }
    assert list(case_faults(case, POLICY)) == []
