"""Rules ready to run, and what an action's plan asks of its facts."""

from __future__ import annotations

import orjson

from gateway.kernel.types import Stage, Verdict
from gateway.policy.conditions import compile_condition
from gateway.policy.plan import IMPLIED_REQUIREMENT, build_plan, make_rule


def trusting(rule_id: str, **conditions: object) -> object:
    """Return a rule that trusts under these conditions, given with `__` for a dot."""
    keys = {key.replace("__", "."): value for key, value in conditions.items()}
    return make_rule(
        rule_id=rule_id,
        stage=Stage.TRUST_PATHS,
        effect=Verdict.TRUST,
        reason_codes=["CREDIT_SMALL"],
        all_of=[compile_condition(key, value, {}) for key, value in keys.items()],
    )


def test_rows_are_canonical() -> None:
    """The row of a rule is the canonical JSON of its four members."""
    row = trusting("A").row
    assert row == b'{"effect":"TRUST","reason_codes":["CREDIT_SMALL"],"rule_id":"A","stage":"TRUST_PATHS"}'


def test_obligations_get_a_source_and_keep_their_own() -> None:
    """`source` is filled in, completed or replaced, and the policy's object is not changed (contract 1.6)."""
    given = [{"t": 1}, {"source": {"rule_id": "mine", "x": 1}}, {"source": "text"}]
    rule = make_rule(
        rule_id="A", stage=Stage.ESCALATIONS, effect=Verdict.ESCALATE, reason_codes=["X"], obligations=given
    )
    assert [item["source"] for item in rule.obligations] == [
        {"rule_id": "A", "stage": "ESCALATIONS"},
        {"rule_id": "mine", "stage": "ESCALATIONS", "x": 1},
        {"rule_id": "A", "stage": "ESCALATIONS"},
    ]
    assert orjson.loads(b"[" + rule.obligation_rows + b"]") == list(rule.obligations)
    assert given == [{"t": 1}, {"source": {"rule_id": "mine", "x": 1}}, {"source": "text"}]


def test_required_evidence_implies_a_rule() -> None:
    """Without a plain REQUIREMENTS rule a plan has one of its own, last of its stage."""
    conditional = make_rule(
        rule_id="R", stage=Stage.REQUIREMENTS, effect=Verdict.QUERY, reason_codes=["X"], requirement=False
    )
    plain = make_rule(
        rule_id="P", stage=Stage.REQUIREMENTS, effect=Verdict.QUERY, reason_codes=["X"], requirement=True
    )
    ids = [
        [rule.rule_id for rule in build_plan(rules, ("k",)).before_trust]
        for rules in ([conditional], [plain])
    ]
    assert ids == [["R", IMPLIED_REQUIREMENT], ["P"]]
    assert [rule.rule_id for rule in build_plan([conditional], ()).before_trust] == ["R"]


def test_needs_are_one_per_field_and_type() -> None:
    """A field compared twice as a number is needed once, for the first rule; as text once more."""
    plan = build_plan(
        [
            trusting("A", evidence__k_gt=1, evidence__k_lt=5),
            trusting("B", evidence__k_gte=1, evidence__l_in=["x", 1]),
            trusting("C", evidence__k_is="x", evidence__m_present=True, evidence__n_is=None),
        ],
        (),
    )
    assert [(need.key, need.wanted, need.rule_id) for need in plan.needs] == [
        ("k", "a number", "A"),
        ("l", "a number or text", "B"),
        ("k", "text", "C"),
    ]


def test_a_plan_knows_of_amounts_and_memory() -> None:
    """What is dear to derive is derived only for plans that ask for it."""
    plain = build_plan([trusting("A", evidence__k_gt=1)], ())
    assert (plain.amount_rule, plain.uses_memory) == (None, False)
    asking = build_plan(
        [trusting("A", amount_usd_gt=1), trusting("B", evidence__failure_similarity_score_gte=1)], ()
    )
    assert (asking.amount_rule, asking.uses_memory) == ("A", True)
    assert asking.needs == ()
