"""Runs the golden cases of `vectors/` and says how what was found differs from what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import orjson

from gateway.engine.decide import Decision, EngineSettings, Stamp, decide
from gateway.engine.evaluate import evaluate
from gateway.engine.facts import derive
from gateway.kernel.canon import sha256_digest
from gateway.kernel.types import Mode
from gateway.memory.types import NO_ADVICE, MemoryAdvice, MemoryHit
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.select import PolicySet
from gateway.records.request import validate_request

ROOT = Path(__file__).parents[2]
STAMP = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000)
"""Every golden decision is made at 2023-11-14T22:13:20Z under this id."""
BUILT_IN = {
    "gate": "policies/gate.v0.yml",
    "support": "policies/lumyn-support.v0.yml",
    "account": "policies/packs/account.v0.yml",
    "billing": "policies/packs/billing.v0.yml",
    "llm": "policies/packs/llm.v0.yml",
    "mcp-tools": "policies/packs/mcp-tools.v0.yml",
}


def themes() -> list[Path]:
    """Return the files of golden decisions."""
    return sorted((ROOT / "vectors/v0").glob("*.json"))


def cases(path: Path) -> list[dict]:
    """Return the cases of one file."""
    return orjson.loads(path.read_bytes())["cases"]


@cache
def built_in(name: str) -> CompiledPolicy:
    """Return a built-in policy, compiled."""
    path = ROOT / BUILT_IN[name]
    return compile_policy(path.read_bytes(), source=path.name)


def policy_of(case: dict) -> CompiledPolicy:
    """Return the policy of a case: a built-in one by name, or the document it carries."""
    policy = case["policy"]
    return built_in(policy) if isinstance(policy, str) else compile_policy(orjson.dumps(policy))


def advice_of(case: dict) -> MemoryAdvice:
    """Return what memory says in a case."""
    memory = case.get("memory")
    if memory is None:
        return NO_ADVICE
    hits = tuple(MemoryHit(**hit) for hit in memory["hits"])
    return MemoryAdvice(memory["failure_score"], hits, memory["snapshot"])


def decide_case(case: dict, policy: CompiledPolicy) -> Decision:
    """Return the decision of a case."""
    settings = dict(case.get("settings", {}))
    if "mode" in settings:
        settings["mode"] = Mode(settings["mode"])
    return decide(
        validate_request(case["request"]),
        policies=PolicySet(policy),
        advice=advice_of(case),
        settings=EngineSettings(**settings),
        stamp=STAMP,
    )


def found(case: dict) -> dict:
    """Return what the gateway says of a case, in the shape of its `expect`."""
    policy = policy_of(case)
    decision = decide_case(case, policy)
    record = decision.record
    facts = derive(case["request"], advice_of(case).failure_score)
    faults = evaluate(policy, policy.plan(facts.action_type), facts).faults
    return {
        "verdict": record["verdict"],
        "reason_codes": record["reason_codes"],
        "matched_rules": [
            {name: row[name] for name in ("rule_id", "stage", "effect")} for row in record["matched_rules"]
        ],
        "queries": record["queries"],
        "errors": sorted({fault.field for fault in faults}),
        "mode": record["policy"]["mode"],
        "forwardable": decision.forwardable,
        "uncertainty_score": record["risk_signals"]["uncertainty_score"],
        "inputs_digest": decision.inputs_digest,
        "record_digest": sha256_digest(decision.body),
    }


def drift(case: dict) -> Iterator[str]:
    """Yield a line for each member of `expect` that is not as expected."""
    actual = found(case)
    for name, wanted in case["expect"].items():
        if actual[name] != wanted:
            yield f"{case['name']}: {name} is {actual[name]}, and {wanted} was expected"


def freeze() -> None:
    """Write the digests of today into every case: after a change that is meant to change records."""
    for path in themes():
        document = orjson.loads(path.read_bytes())
        for case in document["cases"]:
            actual = found(case)
            case["expect"] |= {name: actual[name] for name in ("inputs_digest", "record_digest")}
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    freeze()
