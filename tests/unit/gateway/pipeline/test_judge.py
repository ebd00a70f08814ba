"""Judging LLM requests: what goes into a decision, what is forwarded, and who is turned away before."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from controller.llmd.translate import CONTROL_HEADERS
from gateway.auth.keys import LOCAL, Principal
from gateway.engine.replay import recorded_advice, replay
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import ForbiddenError, InvalidRequestError, MalformedRequestError, NotFoundError
from gateway.kernel.types import Tenant, Verdict
from gateway.pipeline.judge import Bench, LlmJudge
from gateway.records.agree import disagreement
from gateway.records.request import validate_request
from gateway.wire.openai import Operation
from tests.kit.playbook import Planned

BODY = orjson.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "a private word"}], "max_tokens": 5, "x": [1]}
)


class Named:
    """A backend that is only a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Catalogue:
    """Serves `m`."""

    models_backend = Named("gateway")
    models = ["m"]  # noqa: RUF012

    def backend_of(self, model: str) -> Named | None:
        return Named("pool-a") if model == "m" else None

    def known(self) -> list[str]:
        return self.models


def judge(desk: Any, operation: Operation = Operation.CHAT, **changed: Any) -> LlmJudge:
    """A judge of one request."""
    bench = Bench(
        desk.live,
        changed.pop("catalogue", Catalogue()),
        desk.clock,
        desk.ids,
        forward_authorization=changed.pop("forward_authorization", True),
        first_rung=changed.pop("first_rung", None),
    )
    fields = {
        "path": operation.path,
        "principal": LOCAL,
        "headers": ((b"Authorization", b"Bearer x"), (b"x-request-id", b"theirs"), (b"user-agent", b"u")),
        "request_id": "r-1",
        "traceparent": None,
    }
    return LlmJudge(bench, operation, **(fields | changed))


async def test_a_request_is_decided_by_its_facts(desk) -> None:
    """Names, counts and digests go into the record; not a word of the message does."""
    admitted = judge(desk, traceparent="00-trace").decide(BODY)
    record = orjson.loads(admitted.decision.body)
    request = record["request"]
    assert record["trace"] == {"correlation_id": "r-1", "span_id": "00-trace"}
    assert request["action"] == {
        "type": "llm.chat_completion",
        "intent": "m via /v1/chat/completions",
        "target": {"system": "pool-a", "resource_type": "model", "resource_id": "m"},
    }
    assert request["evidence"] == {
        "model": "m",
        "stream": False,
        "max_tokens": 5,
        "estimated_input_tokens": 4,
        "tools_count": 0,
        "choices_count": 1,
    }
    assert request["subject"] == {"id": "local", "type": "service"}
    assert request["context"]["digest"] == sha256_digest(BODY)
    assert b"private" not in admitted.decision.body
    assert admitted.decision.verdict is Verdict.TRUST
    validate_request(
        {key: value for key, value in request.items() if key != "context"}
        | {"context": {"mode": "digest_only", "digest": sha256_digest(BODY)}}
    )


async def test_what_is_forwarded_is_what_was_judged(desk) -> None:
    """The very bytes, to the path that was asked, with our request id in place of the client's."""
    admitted = judge(desk).decide(BODY)
    assert admitted.body is BODY
    assert (admitted.method, admitted.path, admitted.model) == ("POST", "/v1/chat/completions", "m")
    assert dict(admitted.headers) == {
        b"Authorization": b"Bearer x",
        b"user-agent": b"u",
        b"x-request-id": b"r-1",
    }
    assert b"Authorization" not in dict(judge(desk, forward_authorization=False).decide(BODY).headers)


async def test_the_entry_agrees_with_the_decision(desk) -> None:
    """One entry, which awaits its outcome, under the tenant of the key."""
    principal = Principal("bot", "acme")
    admitted = judge(desk, principal=principal).decide(BODY)
    [entry] = admitted.entries
    assert entry.awaits_outcome
    assert (entry.tenant, entry.model, entry.correlation_id) == (Tenant("acme"), "m", "r-1")
    assert orjson.loads(entry.body)["request"]["subject"] == {
        "id": "bot",
        "type": "service",
        "tenant_id": "acme",
    }


async def test_model_lists(desk) -> None:
    """They are decided too; a body has no place there."""
    admitted = judge(desk, Operation.MODELS).decide(b"")
    assert (admitted.method, admitted.backend.name, admitted.model) == ("GET", "gateway", None)
    assert orjson.loads(admitted.decision.body)["request"]["evidence"] == {}
    with pytest.raises(InvalidRequestError, match="no body"):
        judge(desk, Operation.MODELS).decide(b"{}")


async def test_a_model_that_nobody_serves(desk) -> None:
    """404, with the models there are, or that there are none yet; a long name is cut."""
    body = orjson.dumps({"model": "n" * 200, "messages": [{"role": "user"}]})
    with pytest.raises(NotFoundError) as caught:
        judge(desk).decide(body)
    assert (caught.value.code, caught.value.pointer) == ("MODEL_NOT_FOUND", "/model")
    assert "`m`" in (caught.value.hint or "")
    assert "n" * 129 not in caught.value.message
    nobody = Catalogue()
    nobody.models = []
    with pytest.raises(NotFoundError) as caught:
        judge(desk, catalogue=nobody).decide(body)
    assert "none yet" in (caught.value.hint or "")


async def test_a_key_that_does_not_cover_it(desk) -> None:
    """403 before anything is decided."""
    with pytest.raises(ForbiddenError, match="bot"):
        judge(desk, principal=Principal("bot", None, actions=("llm.embedding",))).decide(BODY)


async def test_a_body_that_is_no_request(desk) -> None:
    """What is no JSON, and what lacks a field, is refused as what it is."""
    with pytest.raises(MalformedRequestError):
        judge(desk).decide(b"{")
    with pytest.raises(InvalidRequestError):
        judge(desk).decide(b"{}")


async def test_over_the_limit_is_held(desk) -> None:
    """The pack's limit on tokens holds a request back."""
    body = orjson.dumps({"model": "m", "prompt": "x", "max_tokens": 10**6})
    admitted = judge(desk, Operation.COMPLETION).decide(body)
    assert not admitted.decision.forwardable
    assert admitted.decision.reason_codes[0] == "LLM_TOKENS_OVER_LIMIT"


async def test_what_a_governor_is_told(desk) -> None:
    """Names and counts; the fields that bound the answer as they stand; the intent that the client names."""
    headers = ((b"X-Lumyn-Intent", b"gold"),)
    one = judge(desk, headers=headers, principal=Principal("bot", "acme", intents=("g*",)))
    body = BODY[:-1] + b',"service_tier":"flex"}'
    asked = one.asked(one.decide(body), arrived_s=1.5)
    assert asked is not None
    assert (asked.intent, asked.permitted, asked.key, asked.tenant) == ("gold", ("g*",), "bot", "acme")
    assert (asked.model, asked.max_tokens, asked.fields) == ("m", 5, {"max_tokens": 5})
    assert (asked.stream, asked.input_tokens, asked.service_tier) == (False, 4, "flex")
    assert (asked.route, asked.arrived_s) == ("/v1/chat/completions", 1.5)


async def test_what_gives_an_engine_no_work_is_not_governed(desk) -> None:
    """Model lists take no place in a queue; embeddings do, with nothing to cap."""
    lists = judge(desk, Operation.MODELS)
    assert lists.asked(lists.decide(b""), arrived_s=0.0) is None
    embedding = judge(desk, Operation.EMBEDDING)
    admitted = embedding.decide(orjson.dumps({"model": "m", "input": "x"}))
    asked = embedding.asked(admitted, arrived_s=0.0)
    assert asked is not None
    assert (asked.route, asked.max_tokens, asked.choices) == ("/v1/embeddings", None, 1)


async def test_a_client_may_leave_the_model_to_its_intent(desk) -> None:
    """`auto` is decided as asked, and goes to the ladder's first with a digest of the bytes that go."""
    told: list[Any] = []

    def first_rung(asked: Any) -> str | None:
        told.append(asked)
        return "m"

    body = BODY.replace(b'"model":"m"', b'"model":"auto"')
    one = judge(desk, first_rung=first_rung, headers=((b"x-lumyn-intent", b"gold"),))
    admitted = one.decide(body)
    assert (told[0].model, told[0].intent) == ("auto", "gold")
    assert (admitted.model, admitted.backend.name, admitted.body) == ("m", "pool-a", BODY)
    record = orjson.loads(admitted.decision.body)
    assert record["request"]["evidence"]["model"] == "auto"
    assert record["request"]["context"]["digest"] == sha256_digest(body)
    assert record["extensions"]["auto"] == {"model": "m", "sent_digest": sha256_digest(BODY)}
    asked = one.asked(admitted, arrived_s=1.0)
    assert asked is not None
    assert (asked.ticket, asked.model) == (admitted.decision.decision_id, "auto")


@pytest.mark.parametrize(
    "first",
    [None, lambda asked: None, lambda asked: "nobody-serves-it"],
    ids=["nobody-governs", "no-ladder", "no-backend"],
)
async def test_auto_needs_a_ladder(desk, first: Any) -> None:
    """Without a controller, a ladder or a backend for its first rung there is no such model."""
    body = BODY.replace(b'"model":"m"', b'"model":"auto"')
    with pytest.raises(NotFoundError, match="`auto` does not exist"):
        judge(desk, first_rung=first).decide(body)


async def test_a_planned_request_is_decided_again_with_its_plan(desk) -> None:
    """Same id, the plan in the evidence, the digest of the body as received, and that of the bytes sent."""
    one = judge(desk)
    first = one.decide(BODY)
    admitted = one.planned(first, Planned())
    record = orjson.loads(admitted.decision.body)
    assert record["decision_id"] == first.decision.decision_id
    evidence = record["request"]["evidence"]
    assert (evidence["planned_model"], evidence["planned_max_tokens"]) == ("small", 9)
    assert (evidence["intent"], evidence["service_class"], evidence["model"]) == ("chat", "standard", "m")
    assert record["request"]["context"]["digest"] == sha256_digest(BODY)
    assert admitted.body == BODY.replace(b'"model":"m"', b'"model":"small"').replace(b":5,", b":9,")
    assert record["extensions"]["control"] == {"intent": "chat", "sent_digest": sha256_digest(admitted.body)}
    assert (b"x-llm-d-inference-objective", b"standard") in admitted.headers
    [entry] = admitted.entries
    assert (entry.model, admitted.model) == ("m", "small"), "the column holds what was asked for"
    assert entry.body == admitted.decision.body
    assert disagreement(entry) is None


async def test_a_planned_request_replays(desk) -> None:
    """The record with its control part follows from its request, policy and memory like any other."""
    one = judge(desk)
    admitted = one.planned(one.decide(BODY), Planned())
    record = orjson.loads(admitted.decision.body)
    policy = desk.live.snapshot.policies.for_action("llm.chat_completion")
    assert replay(record, policy, recorded_advice(record)).identical


async def test_a_plan_that_changes_nothing_forwards_the_very_bytes(desk) -> None:
    """Identity: the same object, and no second digest."""
    one = judge(desk)
    admitted = one.planned(one.decide(BODY), Planned(model="m", max_tokens=None, fields={}, headers=()))
    assert admitted.body is BODY
    record = orjson.loads(admitted.decision.body)
    assert "sent_digest" not in record["extensions"]["control"]
    assert "planned_max_tokens" not in record["request"]["evidence"]


async def test_who_is_turned_away_has_no_plan_in_its_evidence(desk) -> None:
    """Nothing is forwarded, so nothing is planned; the intent stands there all the same."""
    one = judge(desk)
    record = orjson.loads(one.planned(one.decide(BODY), Planned(turn="shed")).decision.body)
    assert record["request"]["evidence"]["intent"] == "chat"
    assert "planned_model" not in record["request"]["evidence"]


async def test_every_control_header_of_a_client_is_stripped(desk) -> None:
    """Whatever spelling the translation knows: they steer the endpoint picker, which believes them."""
    headers = tuple((name.title().encode(), b"x") for name in CONTROL_HEADERS)
    forwarded = judge(desk, headers=headers).decide(BODY).headers
    assert dict(forwarded) == {b"x-request-id": b"r-1"}
