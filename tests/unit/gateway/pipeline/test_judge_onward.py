"""Judging further attempts: other backends and models under the policy that is on record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest

from gateway.auth.keys import LOCAL
from gateway.engine.decide import Stamp, decide
from gateway.kernel.canon import sha256_digest
from gateway.pipeline.judge import Bench, LlmJudge
from gateway.pipeline.retry import Repeats
from gateway.policy.compile import compile_policy
from gateway.policy.select import PolicySet
from gateway.wire.openai import Operation
from tests.kit.playbook import Planned

BODY = b'{"model":"m", "max_tokens":50, "messages":[{"role":"user","content":"hi"}]}'
SERVES = {"m": ["a", "b", "c"], "small": ["c", "d"]}
POLICY = b"""
schema_version: policy.v0
policy_id: at-home
policy_version: "1"
defaults: {mode: enforce, default_verdict: TRUST, default_reason_code: LLM_REQUEST_OK}
rules:
  - id: H1
    stage: HARD_BLOCKS
    when: {action_type: llm.chat_completion}
    if: {action.target.system_in: [b, d]}
    then: {verdict: ABSTAIN, reason_codes: [LLM_TOKENS_OVER_LIMIT]}
"""


@dataclass
class Named:
    """A backend that is only a name."""

    name: str


class Catalogue:
    """The first that is not left out."""

    models_backend = Named("gateway")

    def backend_of(self, model: str, excluding: Collection[str] = ()) -> Named | None:
        left = [name for name in SERVES.get(model, ()) if name not in excluding]
        return Named(left[0]) if left else None

    def known(self) -> list[str]:
        return list(SERVES)


@pytest.fixture
def judge(desk: Any) -> LlmJudge:
    """A judge under the built-in policies."""
    bench = Bench(desk.live, Catalogue(), desk.clock, desk.ids, forward_authorization=False)  # type: ignore[arg-type]
    return LlmJudge(
        bench,
        Operation.CHAT,
        path=Operation.CHAT.path,
        principal=LOCAL,
        headers=((b"user-agent", b"u"),),
        request_id="r-1",
        traceparent=None,
    )


@pytest.fixture
def strict(desk: Any) -> PolicySet:
    """Policies under which two of the backends are out of bounds."""
    policies = PolicySet(compile_policy(POLICY))
    desk.live.publish(replace(desk.live.snapshot, policies=policies))
    return policies


async def test_a_generation_repeats_freely(judge: LlmJudge) -> None:
    """It is its judge who knows where else it may go; a list of models has one place."""
    admitted = judge.decide(BODY)
    assert admitted.onward is judge
    assert judge.repeats is Repeats.FREELY
    lists = LlmJudge(
        judge._bench,
        Operation.MODELS,
        path="/v1/models",
        principal=LOCAL,
        headers=(),
        request_id="r",
        traceparent=None,
    )
    assert lists.decide(b"").onward is None


async def test_elsewhere_is_the_same_request_for_another_backend(desk: Any, judge: LlmJudge) -> None:
    """Bytes, model and decision stay; what was judged can be derived again from the record and the event."""
    admitted = judge.decide(BODY)
    further = judge.elsewhere(admitted, {"a"}, None)
    assert further is not None
    other = further.admitted
    assert other.backend.name == "b"
    assert replace(other, backend=admitted.backend) == admitted
    request = orjson.loads(admitted.decision.body)["request"]
    request["action"]["target"]["system"] = "b"
    again = decide(
        request,
        policies=desk.live.snapshot.policies,
        advice=desk.live.snapshot.advise(request),
        settings=desk.live.snapshot.engine,
        stamp=Stamp(admitted.decision.decision_id, admitted.at_ms),
    )
    assert further.judged == {
        "verdict": "TRUST",
        "reason_codes": ["LLM_REQUEST_OK"],
        "policy_hash": admitted.decision.policy_hash,
        "inputs_digest": again.inputs_digest,
    }
    assert again.inputs_digest != admitted.decision.inputs_digest
    assert judge.elsewhere(admitted, {"a", "b", "c"}, None) is None


async def test_a_policy_holds_for_further_attempts_too(strict: PolicySet, judge: LlmJudge) -> None:
    """A backend to which the policy does not let it go is passed over; where none is left there is none."""
    admitted = judge.decide(BODY)
    further = judge.elsewhere(admitted, {"a"}, None)
    assert further is not None
    assert further.admitted.backend.name == "c"
    assert further.judged is not None
    assert further.judged["policy_hash"] == strict.main.policy_hash
    assert judge.elsewhere(admitted, {"a", "c"}, None) is None
    assert judge.instead(admitted, Planned(), {"c"}) is None


async def test_the_snapshot_on_record_judges(desk: Any, judge: LlmJudge) -> None:
    """A policy that was loaded meanwhile judges the next request, not a further attempt of this one."""
    admitted = judge.decide(BODY)
    desk.live.publish(replace(desk.live.snapshot, policies=PolicySet(compile_policy(POLICY))))
    further = judge.elsewhere(admitted, {"a"}, None)
    assert further is not None
    assert further.admitted.backend.name == "b"


async def test_instead_is_made_from_the_bytes_as_they_came(judge: LlmJudge) -> None:
    """A second plan does not build on the first: its fields, headers, evidence and words are its own."""
    first = judge.planned(
        judge.decide(BODY),
        Planned(model="m", max_tokens=9, fields={"max_tokens": 9}, headers=(("x-a", "1"),)),
    )
    assert first.body == BODY.replace(b"50", b"9")
    terms = Planned(max_tokens=None, fields={"model": "small"}, actions=("MODEL_SWITCHED",), reason="why")
    further = judge.instead(first, terms, set())
    assert further is not None
    changed = further.admitted
    assert (changed.body, changed.backend.name) == (BODY.replace(b'"m"', b'"small"'), "c")
    assert (changed.model, changed.actions, changed.reason) == ("small", ("MODEL_SWITCHED",), "why")
    assert dict(changed.headers) == {
        b"user-agent": b"u",
        b"x-request-id": b"r-1",
        b"x-llm-d-inference-objective": b"standard",
    }
    assert changed.decision is first.decision
    same = judge.instead(first, replace(terms, fields={}), set())
    assert same is not None
    assert same.admitted.body is BODY


async def test_elsewhere_keeps_what_was_planned(judge: LlmJudge) -> None:
    """The planned bytes go to the other backend, with fresh headers of the governor, judged as planned."""
    admitted = judge.planned(judge.decide(BODY), Planned(model="m", max_tokens=9, fields={"max_tokens": 9}))
    further = judge.elsewhere(admitted, {"a"}, (("x-llm-d-slo-ttft-ms", "3"),))
    assert further is not None
    assert further.admitted.body is admitted.body
    assert dict(further.admitted.headers)[b"x-llm-d-slo-ttft-ms"] == b"3"
    assert b"x-llm-d-inference-objective" not in dict(further.admitted.headers)
    unplanned = judge._case
    assert unplanned is not None
    bare = judge._permitted(admitted, unplanned[1], "m", {"a"})
    assert bare is not None
    assert bare.judged != further.judged, "the plan is part of what is judged"


async def test_again_is_the_very_same(judge: LlmJudge) -> None:
    """To the same backend goes the same object, but for the headers of a governor."""
    admitted = judge.decide(BODY)
    assert judge.again(admitted, None) is admitted
    renewed = judge.again(admitted, (("x-a", "1"),))
    assert replace(renewed, headers=admitted.headers) == admitted
    assert (b"x-a", b"1") in renewed.headers


async def test_the_record_names_the_backend_that_is_asked_first(judge: LlmJudge) -> None:
    """A switched model goes to its own backend, and the record says so; the digest is that of the bytes."""
    admitted = judge.planned(judge.decide(BODY), Planned())
    record = orjson.loads(admitted.decision.body)
    assert admitted.backend.name == "c"
    assert record["request"]["action"]["target"] == {
        "system": "c",
        "resource_type": "model",
        "resource_id": "m",
    }
    assert record["extensions"]["control"]["sent_digest"] == sha256_digest(admitted.body)
    kept = judge.planned(judge.decide(BODY), Planned(model="m"))
    assert kept.backend.name == "a"
