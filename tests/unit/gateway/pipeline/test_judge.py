"""Judging LLM requests: what goes into a decision, what is forwarded, and who is turned away before."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.auth.keys import LOCAL, Principal
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import ForbiddenError, InvalidRequestError, MalformedRequestError, NotFoundError
from gateway.kernel.types import Tenant, Verdict
from gateway.pipeline.judge import Bench, LlmJudge
from gateway.records.request import validate_request
from gateway.wire.openai import Operation

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
