"""What a model is told."""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from gateway.kernel.errors import ApprovalError, GatewayError, PendingError
from gateway.kernel.types import Verdict
from gateway.pipeline.toolwords import FAULTS, mendable, refusal_text
from gateway.wire.toolcall.call import Fault
from tests.kit.playbook import verdict

QUERIES = [{"field": "evidence.order_id", "question": "Which order?"}, {"field": "evidence.x"}]
DECISION = dataclasses.replace(
    verdict(Verdict.ABSTAIN).decision, body=orjson.dumps({"queries": QUERIES}), reason_codes=("NO", "NEVER")
)


def told(
    kind: Verdict = Verdict.ABSTAIN,
    *,
    name: str = "pay",
    why: str | None = None,
    approval: GatewayError | None = None,
    better: bool = False,
    brief: bool = False,
) -> str:
    """The text of a refusal."""
    decision = dataclasses.replace(DECISION, verdict=kind)
    return refusal_text(name, decision, why=why, told=approval, mendable=better, brief=brief)


def test_every_text_names_the_call_and_its_record() -> None:
    """Whatever the reason."""
    texts = [
        told(),
        told(brief=True),
        told(why="it has no name"),
        told(Verdict.QUERY),
        told(Verdict.ESCALATE, approval=PendingError("01A")),
        told(Verdict.ESCALATE, approval=ApprovalError("used", code="APPROVAL_USED")),
    ]
    for text in texts:
        assert text.startswith("[Tool call `pay` was not permitted")
        assert text.endswith(f"Reference: decision {DECISION.decision_id}.]")
    assert len(set(texts)) == len(texts)


def test_the_reason_and_what_to_do() -> None:
    """Codes, questions, handles: enough to do better, or to stop."""
    assert "(NO, NEVER). Do not repeat it." in told()
    assert "order_id (Which order?); x." in told(Verdict.QUERY)
    assert "approval 01A" in told(Verdict.ESCALATE, approval=PendingError("01A"))
    assert "used (APPROVAL_USED)" in told(
        Verdict.ESCALATE, approval=ApprovalError("used", code="APPROVAL_USED")
    )
    assert "bad (NO, NEVER). Mend it and call again." in told(why="bad", better=True)
    assert "bad (NO, NEVER). Do not repeat it." in told(why="bad")


def test_brief_is_no_oracle() -> None:
    """Nothing of the reason is said."""
    assert "NO" not in told(brief=True, why="bad").replace("Tool call `pay` was not", "")


@pytest.mark.parametrize("name", ["a`b", "a\nb", "x" * 500, "\x1b[0m"])
def test_a_name_cannot_break_the_text(name: str) -> None:
    """The model chose it: it is cut, and what does not print is a question mark."""
    text = told(name=name)
    assert text.count("`") == 2
    assert text.isprintable()
    assert len(text) < 300


def test_every_fault_has_its_words() -> None:
    """And only those that the next try can avoid are said to be mendable."""
    assert set(FAULTS) == set(Fault)
    assert mendable(Fault.NOT_JSON)
    assert not mendable(Fault.UNREADABLE)
