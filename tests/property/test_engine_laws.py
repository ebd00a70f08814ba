"""Laws of the engine, each over a hundred generated policies and requests."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from random import Random

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.decide import Decision, EngineSettings, Stamp, decide
from gateway.engine.replay import recorded_advice, replay
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.errors import RecordError
from gateway.kernel.types import PRECEDENCE, Mode
from gateway.memory.types import NO_ADVICE, MemoryAdvice, MemoryHit
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.select import PolicySet
from tests.kit.generate import KEYS, make_policy, make_request

seeds = st.integers(min_value=0, max_value=2**32).map(Random)
law = settings(max_examples=100, derandomize=True, deadline=None)
STAMP = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000)


def run(
    policy: dict | CompiledPolicy,
    request: dict,
    advice: MemoryAdvice = NO_ADVICE,
    engine_settings: EngineSettings | None = None,
) -> Decision:
    """Decide one request under one policy document."""
    compiled = policy if isinstance(policy, CompiledPolicy) else compile_policy(orjson.dumps(policy))
    chosen = engine_settings or EngineSettings()
    return decide(request, policies=PolicySet(compiled), advice=advice, settings=chosen, stamp=STAMP)


def strictness(decision: Decision) -> int:
    """Return 0 for the strictest verdict, 3 for TRUST."""
    return PRECEDENCE.index(decision.verdict)


def score(random: Random) -> MemoryAdvice:
    """Return some advice with hits."""
    hit = MemoryHit(
        "m1", random.choice(["failure", "success"]), random.choice([0.125, 0.5, 1.0]), "it was so"
    )
    return MemoryAdvice(random.choice([0.1, 0.35, 0.9, 1.0]), (hit,), "memory:1:abc")


@law
@given(seeds)
def test_order_of_rules_does_not_change_the_verdict(random: Random) -> None:
    """Shuffling the rules changes neither the verdict nor which reasons are given."""
    policy, request = make_policy(random), make_request(random)
    shuffled = {**policy, "rules": random.sample(policy["rules"], len(policy["rules"]))}
    one, other = run(policy, request), run(shuffled, request)
    assert one.verdict is other.verdict
    assert sorted(one.reason_codes) == sorted(other.reason_codes)


@law
@given(seeds)
def test_order_of_keys_does_not_change_a_byte(random: Random) -> None:
    """Records do not depend on the order of keys in the request or the policy."""
    policy, request = make_policy(random), make_request(random)
    turned = dict(reversed({**request, "action": dict(reversed(request["action"].items()))}.items()))
    assert run(policy, request).body == run(policy, turned).body
    assert run(dict(reversed(policy.items())), request).policy_hash == run(policy, request).policy_hash


@law
@given(seeds)
def test_layout_of_a_policy_does_not_change_its_hash(random: Random) -> None:
    """Block style, comments and blank lines give the policy and the decisions of the compact JSON."""
    policy, request = make_policy(random), make_request(random)
    laid_out = (
        "# a comment\n\n" + yaml.safe_dump(policy, allow_unicode=True, sort_keys=True) + "\n# the end\n"
    )
    again = compile_policy(laid_out.encode())
    assert run(again, request).body == run(policy, request).body


@law
@given(seeds)
def test_a_refusal_added_always_refuses(random: Random) -> None:
    """Adding an ABSTAIN that matches gives ABSTAIN, whatever else the policy says."""
    policy, request = make_policy(random), make_request(random)
    then = {"verdict": "ABSTAIN", "reason_codes": ["TOOL_NOT_ALLOWED"]}
    rule = {"id": "no", "stage": random.choice(["HARD_BLOCKS", "TRUST_PATHS"]), "then": then}
    assert run({**policy, "rules": [*policy["rules"], rule]}, request).verdict == "ABSTAIN"


@law
@given(seeds, st.sampled_from(["ABSTAIN", "QUERY", "ESCALATE", "TRUST"]))
def test_a_rule_added_never_loosens_what_rules_decided(random: Random, verdict: str) -> None:
    """Where a rule of the policy matched, no further rule makes the verdict looser."""
    policy, request = make_policy(random), make_request(random)
    then = {"verdict": verdict, "reason_codes": ["TOOL_CALL_OK"]}
    more = {**policy, "rules": [*policy["rules"], {"id": "more", "stage": "ESCALATIONS", "then": then}]}
    before = run(policy, request)
    if not any(row["rule_id"] == "DEFAULT" for row in before.record["matched_rules"]):
        assert strictness(run(more, request)) <= strictness(before)


@law
@given(seeds)
def test_a_rule_twice_changes_no_verdict(random: Random) -> None:
    """Writing a rule down twice under another id decides the same."""
    policy, request = make_policy(random), make_request(random)
    twin = {**random.choice(policy["rules"]), "id": "twin"}
    assert run({**policy, "rules": [*policy["rules"], twin]}, request).verdict is run(policy, request).verdict


@law
@given(seeds)
def test_memory_only_tightens(random: Random) -> None:
    """No score that memory gives makes a verdict looser than no memory at all."""
    policy, request = make_policy(random), make_request(random)
    assert strictness(run(policy, request, score(random))) <= strictness(run(policy, request))


@law
@given(seeds)
def test_what_callers_say_of_memory_is_ignored(random: Random) -> None:
    """A similarity score in the evidence changes nothing but the request that is recorded."""
    policy, request = make_policy(random), make_request(random)
    lied = {**request, "evidence": {**request.get("evidence", {}), "failure_similarity_score": 0.99}}
    one, other = run(policy, request), run(policy, lied)
    assert (one.verdict, one.reason_codes) == (other.verdict, other.reason_codes)


@law
@given(seeds)
def test_evidence_that_no_rule_reads_changes_nothing(random: Random) -> None:
    """An unknown key in the evidence, of any type, leaves verdict and reasons alone."""
    policy, request = make_policy(random), make_request(random)
    more = {
        **request,
        "evidence": {**request.get("evidence", {}), "unheard_of": random.choice([[], {}, "x", -1])},
    }
    one, other = run(policy, request), run(policy, more)
    assert (one.verdict, one.reason_codes) == (other.verdict, other.reason_codes)


@law
@given(seeds)
def test_a_wrong_type_is_never_trusted(random: Random) -> None:
    """Whoever reports EVIDENCE_TYPE_INVALID does not say TRUST, and says which field it was."""
    decision = run(make_policy(random), make_request(random))
    if "EVIDENCE_TYPE_INVALID" in decision.reason_codes:
        assert decision.verdict != "TRUST"
        assert any(
            "keeps the verdict from being TRUST" in line for line in decision.record["explanation"]["details"]
        )


@law
@given(seeds, st.sampled_from(["_is", "_in", "_gt", "_lte", "_matches", "_not_in", "_ne"]))
def test_a_missing_fact_never_allows(random: Random, suffix: str) -> None:
    """A TRUST that compares a fact does not hold while that fact is missing or null."""
    operand: object = {"_in": ["a"], "_not_in": ["a"], "_matches": "a", "_is": "a", "_ne": "a"}.get(suffix, 5)
    policy, request = make_policy(random), make_request(random)
    key = random.choice(KEYS)
    then = {"verdict": "TRUST", "reason_codes": ["TOOL_CALL_OK"]}
    rule = {"id": "T", "stage": "TRUST_PATHS", "if": {f"evidence.{key}{suffix}": operand}, "then": then}
    request.setdefault("evidence", {}).pop(key, None)
    if random.random() < 0.5:
        request["evidence"][key] = None
    rows = run({**policy, "rules": [*policy["rules"], rule]}, request).record["matched_rules"]
    assert "T" not in [row["rule_id"] for row in rows]


@law
@given(seeds)
def test_verdict_reasons_and_rows_belong_together(random: Random) -> None:
    """The verdict is the strictest effect of the rows, and the reasons are those of the rows in order."""
    decision = run(make_policy(random), make_request(random), score(random))
    rows = decision.record["matched_rules"]
    assert strictness(decision) == min(PRECEDENCE.index(row["effect"]) for row in rows)
    assert list(decision.reason_codes) == [code for row in rows for code in row["reason_codes"]]


@law
@given(seeds)
def test_only_a_query_asks(random: Random) -> None:
    """Questions stand in records whose verdict is QUERY, and nowhere else."""
    decision = run(make_policy(random), make_request(random))
    assert decision.verdict == "QUERY" or decision.record["queries"] == []


@law
@given(seeds)
def test_advisory_changes_the_label_alone(random: Random) -> None:
    """Advisory gives the record of enforce but for the mode and the line that tells of it."""
    policy, request = make_policy(random), make_request(random)
    one = run(policy, request, engine_settings=EngineSettings(mode=Mode.ENFORCE)).record
    other = run(policy, request, engine_settings=EngineSettings(mode=Mode.ADVISORY)).record
    assert other["policy"].pop("mode") == "advisory"
    assert one["policy"].pop("mode") == "enforce"
    assert other["explanation"]["details"].pop().startswith("the mode is advisory")
    assert one == other


@law
@given(seeds)
def test_deciding_changes_nothing_and_repeats_itself(random: Random) -> None:
    """The same question gives the same bytes, and neither request nor policy is changed by it."""
    document, request, advice = make_policy(random), make_request(random), score(random)
    before = deepcopy(request)
    policy = compile_policy(orjson.dumps(document))
    first = run(policy, request, advice)
    first.record["obligations"].append("a caller's own copy")
    assert run(policy, request, advice) == first
    assert request == before
    assert canonical_bytes(first.record) == first.body


@law
@given(seeds)
def test_every_record_replays(random: Random) -> None:
    """Record and policy alone give the same bytes again, with memory, extensions and modes of all kinds."""
    document, request, advice = make_policy(random), make_request(random), score(random)
    if random.random() < 0.3:
        request["hints"] = {"dry_run": random.choice([True, False])}
    if random.random() < 0.5:
        request["policy"] = {"mode": random.choice(["enforce", "advisory"])}
    policy = compile_policy(orjson.dumps(document))
    engine_settings = EngineSettings(
        mode=random.choice([None, *Mode]), advisory_allowed=random.choice([True, False])
    )
    decision = decide(
        request,
        policies=PolicySet(policy),
        advice=advice,
        settings=engine_settings,
        stamp=STAMP,
        extensions=random.choice([None, {"control": {"action": "PASSED", "n": 0.25}}]),
    )
    again = replay(decision.record, policy, recorded_advice(decision.record))
    assert again.identical, again.differences
    assert again.decision.body == decision.body


def leaves(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every scalar."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if members is None:
        yield path
        return
    for step, item in members:
        yield from leaves(item, (*path, step))


FREE = [("decision_id",), ("created_at",), ("risk_signals", "failure_similarity", "top_k")]
"""What a decision is given and does not derive (its name, its instant, memory's hits): their truth is the
ledger's to prove."""


@law
@given(seeds)
def test_replay_finds_what_was_altered(random: Random) -> None:
    """Any leaf of a record that is changed is found, or the record is called unreadable."""
    policy = compile_policy(orjson.dumps(make_policy(random)))
    record = run(policy, make_request(random), score(random)).record
    path = random.choice(
        [item for item in leaves(record) if not any(item[: len(free)] == free for free in FREE)]
    )
    holder: object = record
    for step in path[:-1]:
        holder = holder[step]
    value = holder[path[-1]]
    holder[path[-1]] = random.choice([item for item in ["altered", 12345, None] if item != value])
    try:
        again = replay(record, policy, recorded_advice(record))
    except RecordError:
        return
    assert not again.identical, path


@pytest.mark.parametrize("name", ["verdict", "reason_codes", "queries", "explanation", "trace"])
def test_replay_names_what_differs(name: str) -> None:
    """The differences of a replay are pointers into the record."""
    random = Random(5)
    policy = compile_policy(orjson.dumps(make_policy(random)))
    record = run(policy, make_request(random)).record
    del record[name]
    assert replay(record, policy, NO_ADVICE).differences == (f"/{name}",)


def test_replay_under_another_memory_differs() -> None:
    """Advice that is not what the record names cannot give the record again."""
    random = Random(6)
    policy = compile_policy(orjson.dumps(make_policy(random)))
    record = run(policy, make_request(random)).record
    other = replace(recorded_advice(record), snapshot="memory:2:other")
    assert "/determinism/memory_snapshot" in replay(record, policy, other).differences
