"""How long a decision takes: evaluation alone, decide() to bytes and digest, and the whole pure path.

Run `python -m benchmarks.decide`. Prints p50 and p99 in microseconds, with the garbage collector on, of
one process on one core. The whole path is: parse the request's bytes, check it, digest it, decide.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from time import perf_counter_ns

import orjson

from gateway.engine.combine import combine
from gateway.engine.decide import EngineSettings, Stamp, decide
from gateway.engine.evaluate import evaluate
from gateway.engine.facts import derive
from gateway.kernel.canon import digest
from gateway.memory.types import NO_ADVICE
from gateway.policy.compile import compile_policy
from gateway.policy.select import PolicySet
from gateway.records.request import read_request

ROUNDS = 20_000
FOLDER = Path(__file__).parents[1] / "policies"
SETTINGS = EngineSettings()
STAMP = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000)

_REFUND = {
    "schema_version": "decision_request.v0",
    "request_id": "bench-1",
    "subject": {"type": "agent", "id": "support-bot", "tenant_id": "acme"},
    "action": {
        "type": "support.refund",
        "intent": "refund a duplicate charge",
        "target": {"system": "billing", "resource_type": "order", "resource_id": "o-1"},
        "amount": {"value": 20.5, "currency": "USD"},
        "tags": ["duplicate_charge"],
    },
    "evidence": {
        "ticket_id": "t-1",
        "order_id": "o-1",
        "customer_id": "c-1",
        "payment_instrument_risk": "low",
        "chargeback_risk": 0.1,
        "previous_refund_count_90d": 0,
        "customer_age_days": 400,
    },
    "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
}
_CHAT = {
    "schema_version": "decision_request.v0",
    "trace": {"correlation_id": "req-0123456789"},
    "subject": {"type": "service", "id": "chat-service", "tenant_id": "acme"},
    "action": {
        "type": "llm.chat_completion",
        "intent": "llama-70b via /v1/chat/completions",
        "target": {"system": "pool-a", "resource_type": "model", "resource_id": "llama-70b"},
    },
    "evidence": {
        "model": "llama-70b",
        "stream": True,
        "max_tokens": 256,
        "estimated_input_tokens": 900,
        "tools_count": 0,
        "route": "/v1/chat/completions",
    },
    "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
}


def measure(name: str, run: Callable[[], object]) -> None:
    """Print the median and the 99th percentile of `run`."""
    for _ in range(ROUNDS // 10):
        run()
    times_ns = []
    for _ in range(ROUNDS):
        start = perf_counter_ns()
        run()
        times_ns.append(perf_counter_ns() - start)
    cuts = quantiles(times_ns, n=100)
    print(f"{name:<44} p50 {cuts[49] / 1000:7.1f} us   p99 {cuts[98] / 1000:7.1f} us")


def main() -> None:
    """Measure a refund under the support policy and a chat completion under the LLM pack."""
    main_policy = compile_policy((FOLDER / "lumyn-support.v0.yml").read_bytes())
    packs = [compile_policy(path.read_bytes()) for path in sorted((FOLDER / "packs").glob("*.yml"))]
    policies = PolicySet(main_policy, tuple(packs))
    for name, request in (("refund", _REFUND), ("chat completion", _CHAT)):
        body = orjson.dumps(request)
        policy = policies.for_action(request["action"]["type"])

        def evaluation(request: dict = request, policy: object = policy) -> object:
            facts = derive(request, 0.0)
            return combine(evaluate(policy, policy.plan(facts.action_type), facts).matched)

        def decision(request: dict = request) -> object:
            return decide(request, policies=policies, advice=NO_ADVICE, settings=SETTINGS, stamp=STAMP)

        def whole_path(body: bytes = body) -> object:
            parsed = read_request(body)
            digest(parsed)
            return decision(parsed)

        print(f"{name}: record of {len(decision().body)} bytes")
        measure("  evaluation of a parsed request", evaluation)
        measure("  decide(): bytes and digest", decision)
        measure("  parse, check, digest, decide()", whole_path)


if __name__ == "__main__":
    main()
