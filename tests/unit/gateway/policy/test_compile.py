"""Policy text to a compiled policy."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import orjson
import pytest

from gateway.kernel.errors import InvalidPolicyError
from gateway.kernel.types import Mode, Stage, Verdict
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.lint import lint_policy
from gateway.policy.plan import PLAN_ENTRIES_MAX

THEN = {"verdict": "TRUST", "reason_codes": ["CREDIT_SMALL"]}
HEAD = {
    "schema_version": "policy.v0",
    "policy_id": "p",
    "policy_version": "1",
    "defaults": {
        "mode": "enforce",
        "default_verdict": "ESCALATE",
        "default_reason_code": "NO_MATCH_DEFAULT_ESCALATE",
    },
}
CHECK = {**HEAD, "rules": [{"id": "A", "stage": "TRUST_PATHS", "then": THEN}]}


def compiled(*rules: dict, **more: object) -> CompiledPolicy:
    """Compile a policy of these rules."""
    return compile_policy(orjson.dumps({**HEAD, **more, "rules": list(rules)}))


def rule(rule_id: str, stage: str = "TRUST_PATHS", **more: object) -> dict:
    """Return a rule that trusts."""
    return {"id": rule_id, "stage": stage, "then": THEN, **more}


def test_the_check_value_of_the_contract() -> None:
    """The policy of contract 2.2 has the hash that the reference gives it, as JSON and as YAML."""
    wanted = "sha256:2bf70e735d4d01fb6598d490fa83d497ff3fef4bc99d4df453d7d9290d866166"
    as_yaml = b"""
# the check value of the contract
rules:
  - {stage: TRUST_PATHS, id: A, then: {reason_codes: [CREDIT_SMALL], verdict: TRUST}}
defaults:
    default_reason_code: NO_MATCH_DEFAULT_ESCALATE
    default_verdict: 'ESCALATE'
    mode: enforce
policy_version: "1"
policy_id: p
schema_version: policy.v0
"""
    assert compile_policy(orjson.dumps(CHECK)).policy_hash == wanted
    assert compile_policy(as_yaml).policy_hash == wanted


def test_a_compiled_policy_says_what_it_is() -> None:
    """Identity, defaults, text and the action types that it names are there."""
    text = orjson.dumps(
        {
            **HEAD,
            "required_evidence": {"demo.b": ["k"]},
            "rules": [
                rule("A", when={"action_type": "demo.a"}),
                rule("B", when={"action_type_prefix": "mcp."}),
                rule("C"),
            ],
        }
    )
    policy = compile_policy(text, source="p.yml")
    assert (policy.policy_id, policy.policy_version, policy.text, policy.source) == ("p", "1", text, "p.yml")
    assert (policy.default_mode, policy.default_verdict) == (Mode.ENFORCE, Verdict.ESCALATE)
    assert policy.action_types == {"demo.a", "demo.b"}
    assert policy.action_prefixes == {"mcp."}


@pytest.mark.parametrize(
    ("action_type", "ids"),
    [
        ("demo.a", ["E", "A", "C"]),
        ("demo.other", ["E", "C"]),
        ("mcp.x", ["E", "B", "C"]),
        ("mcp.files_read", ["E", "B", "C", "D"]),
        ("mcp.files_x", ["E", "B", "C", "D", "F"]),
    ],
)
def test_plans_hold_what_can_match_in_order(action_type: str, ids: list[str]) -> None:
    """A plan has the rules of its action by name, by every fitting prefix and for all, stage by stage."""
    policy = compiled(
        rule("A", when={"action_type_in": ["demo.a", "demo.z"]}),
        rule("B", when={"action_type_prefix": "mcp."}),
        rule("C"),
        rule("D", when={"action_type_prefix": "mcp.files"}),
        rule("E", "HARD_BLOCKS"),
        rule("F", when={"action_type": "mcp.files_x"}),
    )
    plan = policy.plan(action_type)
    assert [item.rule_id for item in (*plan.before_trust, *plan.trust_paths)] == ids


def test_stages_go_before_file_order() -> None:
    """The plan is in the fixed order of the stages, whatever the order of the file."""
    stages = ["TRUST_PATHS", "ESCALATIONS", "HARD_BLOCKS", "REQUIREMENTS"]
    plan = compiled(*[rule(stage, stage, **{"if": {}}) for stage in stages]).plan("demo.a")
    assert [item.stage for item in (*plan.before_trust, *plan.trust_paths)] == [
        Stage.REQUIREMENTS,
        Stage.HARD_BLOCKS,
        Stage.ESCALATIONS,
        Stage.TRUST_PATHS,
    ]


def test_declared_codes_may_be_used() -> None:
    """A policy's own reason codes are codes to its rules and to its default."""
    own = {"reason_codes": [{"code": "MINE", "description": "mine"}]}
    defaults = {**HEAD["defaults"], "default_reason_code": "MINE"}
    policy = compiled(
        {**rule("A"), "then": {"verdict": "TRUST", "reason_codes": ["MINE"]}},
        extensions=own,
        defaults=defaults,
    )
    assert policy.default_reason_code == "MINE"


def test_problems_come_in_the_order_of_the_contract() -> None:
    """Shape first, then the default's code, then rule by rule."""
    with pytest.raises(InvalidPolicyError) as caught:
        compiled(
            rule("A", when={"who": "me"}),
            rule("B", **{"if": {"evidence.k_like": "x"}}),
            {**rule("C"), "then": {"verdict": "TRUST", "reason_codes": ["NOPE"]}},
            policy_id="",
            defaults={**HEAD["defaults"], "default_reason_code": "NEITHER"},
        )
    assert [problem.message for problem in caught.value.problems] == [
        "must not be empty",
        "unknown default_reason_code: NEITHER",
        "rule A: unsupported when key: who",
        "rule B: unsupported condition key: evidence.k_like",
        "rule C: unknown reason code: NOPE",
    ]
    assert str(caught.value).startswith("invalid policy:\n- line 1, column ")


def test_rules_times_actions_are_bounded() -> None:
    """A document that is small and would index to millions of entries is refused."""
    count = 700
    rules = [rule(f"A{number}") for number in range(count)]
    names = [f"a.b{number}" for number in range(PLAN_ENTRIES_MAX // count + 1)]
    with pytest.raises(InvalidPolicyError, match="split it into packs"):
        compiled(*rules, rule("N", when={"action_type_in": names}))


@pytest.mark.parametrize("path", sorted(Path("policies").rglob("*.yml")), ids=lambda path: path.stem)
def test_built_in_policies_compile(path: Path) -> None:
    """Each policy that the wheel carries compiles."""
    assert compile_policy(path.read_bytes()).rules


WORDS = [
    "null",
    "[]",
    "{}",
    "5",
    "-1.5",
    "true",
    "x",
    "[a, 1]",
    "{a: b}",
    "thresholds.nope",
    "TRUST",
    '""',
    "- a",
]


def test_mutated_policies_compile_or_say_why() -> None:
    """Scalars swapped at random give a policy that lints, or problems with places; nothing else escapes."""
    random = Random(11)
    text = Path("policies/lumyn-support.v0.yml").read_text()
    parts = re.split(r"(?<=[:\[,{ ])([A-Za-z0-9_.]+)", text)
    outcomes = set()
    for _ in range(120):
        changed = list(parts)
        for _ in range(random.choice([1, 1, 2, 5])):
            changed[random.randrange(1, len(parts), 2)] = random.choice(WORDS)
        try:
            lint_policy(compile_policy("".join(changed).encode()))
            outcomes.add("compiled")
        except InvalidPolicyError as error:
            places = [problem.line for problem in error.problems]
            outcomes.add("placed" if places and min(places) > 0 else "lost")
    assert outcomes == {"compiled", "placed"}
