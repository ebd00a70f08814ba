"""From matched rules to one verdict."""

from __future__ import annotations

import orjson
import pytest

from gateway.engine.combine import NAMED_MAX, combine, open_queries, uncertainty
from gateway.engine.evaluate import Evaluation
from gateway.engine.facts import Fault, derive
from gateway.kernel.types import Stage, Verdict
from gateway.policy.plan import CompiledRule, make_rule


def rule(rule_id: str, effect: Verdict, **more: object) -> CompiledRule:
    """Return a rule of this effect."""
    return make_rule(
        rule_id=rule_id, stage=Stage.ESCALATIONS, effect=effect, reason_codes=[f"C_{rule_id}"], **more
    )


TRUST = rule("T", Verdict.TRUST, obligations=[{"type": "check"}], queries=[("evidence.t", "T?")])
QUERY = rule("Q", Verdict.QUERY, queries=[("evidence.q", "Q?"), ("action.target.system", "Where?")])
REQUEST = {
    "action": {"type": "demo.act", "intent": "x", "target": {"system": "crm"}},
    "subject": {"type": "agent", "id": "s"},
    "evidence": {"q": "here"},
}
FACTS = derive(REQUEST, 0.0)


def test_losers_keep_their_reasons_and_obligations() -> None:
    """Precedence decides the verdict and drops nothing else."""
    combined = combine((QUERY, TRUST))
    assert combined.verdict is Verdict.QUERY
    assert combined.reason_codes == ("C_Q", "C_T")
    assert [row["rule_id"] for row in orjson.loads(combined.rows)] == ["Q", "T"]
    assert orjson.loads(combined.obligations)[0]["source"]["rule_id"] == "T"
    assert combined.outcome == "is held until what is missing is known: Q (C_Q)."


def test_a_sentence_names_a_few_rules() -> None:
    """The summary stays one sentence however many rules decide."""
    many = tuple(rule(f"E{number}", Verdict.ESCALATE) for number in range(NAMED_MAX + 3))
    assert combine(many).outcome.endswith("E4 (C_E4) and 3 more.")


@pytest.mark.parametrize(
    ("verdict", "score", "wanted"),
    [
        (Verdict.TRUST, 0.0, 0.2),
        (Verdict.QUERY, 0.0, 0.4),
        (Verdict.ESCALATE, 0.35, 0.5),
        (Verdict.QUERY, 1.0, 0.7),
        (Verdict.ABSTAIN, 0.349, 0.2),
    ],
)
def test_uncertainty_is_that_of_the_contract(verdict: Verdict, score: float, wanted: float) -> None:
    """0.2, plus 0.2 for a QUERY, plus 0.3 for a similar failure."""
    assert uncertainty(verdict, score) == wanted


def fields(evaluation: Evaluation, verdict: Verdict = Verdict.QUERY) -> list[str]:
    """Return the fields that are asked for."""
    return [query["field"] for query in open_queries(verdict, evaluation, FACTS, REQUEST)]


def test_only_what_is_missing_is_asked() -> None:
    """Questions of any matched rule are asked, unless the answer is there."""
    assert fields(Evaluation((QUERY, TRUST), (), ())) == ["evidence.t"]
    assert fields(Evaluation((QUERY, TRUST), (), ()), Verdict.ABSTAIN) == []


def test_what_is_unusable_is_asked_again() -> None:
    """Evidence of the wrong type is there and still asked for."""
    fault = Fault("evidence.q", "evidence.q is wrong")
    assert fields(Evaluation((QUERY,), (), (fault,))) == ["evidence.q"]


def test_missing_evidence_is_asked_for_plainly() -> None:
    """Required evidence that no question names gets one, after the policy's own."""
    plain = rule("P", Verdict.QUERY, requirement=True, queries=[("evidence.b", "B?")])
    asked = open_queries(Verdict.QUERY, Evaluation((plain,), ("order_id", "b"), ()), FACTS, REQUEST)
    assert asked == [
        {"field": "evidence.b", "question": "B?"},
        {"field": "evidence.order_id", "question": "What is the order id?"},
    ]
