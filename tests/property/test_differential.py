"""The engine against a second evaluator that shares no line with it."""

from __future__ import annotations

from random import Random

import orjson
import pytest

from gateway.engine.decide import EngineSettings, Stamp, decide
from gateway.memory.types import MemoryAdvice
from gateway.policy.compile import compile_policy
from gateway.policy.select import PolicySet
from gateway.records.request import validate_request
from tests.kit import reference
from tests.kit.generate import make_policy, make_request

REQUESTS_PER_POLICY = 8


def compare(seed: int) -> int:
    """Compare both on one generated policy and its requests; return how many verdicts were TRUST."""
    random = Random(seed)
    document = make_policy(random)
    policies = PolicySet(compile_policy(orjson.dumps(document)))
    trusted = 0
    for _ in range(REQUESTS_PER_POLICY):
        request = validate_request(make_request(random))
        score = random.choice([0.0, 0.0, 0.2, 0.35, 0.9])
        advice = MemoryAdvice(score, (), "memory:1:x")
        stamp = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 0)
        record = decide(
            request, policies=policies, advice=advice, settings=EngineSettings(), stamp=stamp
        ).record
        expected = reference.decide(document, request, score)
        rows = [(row["rule_id"], row["stage"], row["effect"]) for row in record["matched_rules"]]
        found = {
            "verdict": record["verdict"],
            "reason_codes": record["reason_codes"],
            "matched_rules": rows,
            "queries": [(query["field"], query["question"]) for query in record["queries"]],
        }
        wanted = {key: expected[key] for key in found}
        assert found == wanted, f"seed {seed}: {document} {request} {score}"
        words = "\n".join(record["explanation"]["details"])
        for field in expected["faults"]:
            assert f"{field} is " in words, f"seed {seed}: {field} not in {words}"
        trusted += record["verdict"] == "TRUST"
    return trusted


def test_engine_agrees_with_reference() -> None:
    """Both give the same verdict, codes, rows and questions on 2,000 generated pairs."""
    assert sum(compare(seed) for seed in range(250)) > 50


@pytest.mark.long
@pytest.mark.timeout(900)
def test_engine_agrees_with_reference_at_length() -> None:
    """The same on 100,000 pairs."""
    assert sum(compare(seed) for seed in range(1_000_000, 1_012_500)) > 2_500
