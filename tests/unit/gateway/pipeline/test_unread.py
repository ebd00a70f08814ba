"""Requests that are passed on unread, judged."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.auth.keys import LOCAL, Principal
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import ForbiddenError, InternalError
from gateway.pipeline.judge import Bench
from gateway.pipeline.unread import Unread, UnreadJudge
from gateway.records.request import validate_request
from gateway.wire.api import OPAQUE, STORED_CHAT, STORED_RESPONSE
from tests.kit.tooldesk import tool_bench

HEADERS = ((b"Authorization", b"Bearer x"), (b"Content-Type", b"multipart/form-data; boundary=secret"))


class Named:
    """A backend that is only a name."""

    name = "pool-a"


def judge(
    desk: Any, *, path: str = "/v1/audio/x", principal: Principal = LOCAL, **changed: Any
) -> UnreadJudge:
    """A judge of one request."""
    tools = changed.pop("tools", None)
    bench = Bench(desk.live, None, desk.clock, desk.ids, forward_authorization=False, tools=tools)  # type: ignore[arg-type]
    facts = {"method": "POST", "query": "", "headers": HEADERS, "request_id": "r-1", "traceparent": None}
    return UnreadJudge(bench, Named(), Unread(path=path, **(facts | changed)), principal)  # type: ignore[arg-type]


async def test_it_is_decided_by_its_line(desk) -> None:
    """Method, path, size and kind; the body is digested, and no parameter of anything is kept."""
    admitted = judge(desk, query="a=private", traceparent="00-t").decide(b"abc")
    request = orjson.loads(admitted.decision.body)["request"]
    validate_request(request)
    assert request["action"]["type"] == "llm.other"
    assert request["action"]["intent"] == "POST /v1/audio/x"
    assert request["evidence"] == {
        "method": "POST",
        "path": "/v1/audio/x",
        "has_query": True,
        "body_bytes": 3,
        "media": "multipart/form-data",
    }
    assert request["context"]["digest"] == sha256_digest(b"abc")
    assert request["trace"] == {"correlation_id": "r-1", "span_id": "00-t"}
    assert b"private" not in admitted.decision.body
    assert b"secret" not in admitted.decision.body


async def test_it_is_forwarded_as_it_came(desk) -> None:
    """Path, query, body and headers, but for credentials of ours; once, and to the configured backend."""
    admitted = judge(desk, query="a=b").decide(b"abc")
    assert (admitted.method, admitted.path, admitted.body) == ("POST", "/v1/audio/x?a=b", b"abc")
    assert admitted.headers == [HEADERS[1], (b"x-request-id", b"r-1")]
    assert admitted.onward is None
    assert admitted.api is OPAQUE
    assert judge(desk).decide(b"").path == "/v1/audio/x"


async def test_the_built_in_pack_permits_what_the_configuration_lets_through(desk) -> None:
    """Naming the path was the operator's word; a policy may be stricter."""
    decision = judge(desk).decide(b"").decision
    assert decision.reason_codes == ("LLM_PASSED_UNREAD",)
    assert decision.forwardable


async def test_a_key_must_cover_it(desk) -> None:
    """`llm.other` is an action like any other."""
    with pytest.raises(ForbiddenError):
        judge(desk, principal=Principal("bot", None, ("llm.chat_completion",))).decide(b"")
    tenant = Principal("bot", "acme", ("llm.*",))
    request = orjson.loads(judge(desk, principal=tenant).decide(b"").decision.body)["request"]
    assert request["subject"]["tenant_id"] == "acme"


async def test_nobody_governs_it(desk) -> None:
    """It is not planned, so nobody asks for it under a plan."""
    one = judge(desk)
    admitted = one.decide(b"")
    assert one.asked(admitted, arrived_s=0.0) is None
    with pytest.raises(InternalError):
        one.planned(admitted, None)  # type: ignore[arg-type]


async def test_stored_answers_are_gated(desk, tmp_path) -> None:
    """What was answered before and is read again holds the same calls."""
    (tmp_path / "x").mkdir()
    async with tool_bench(tmp_path / "x") as bench:
        for path, api in (
            ("/v1/responses/r1", STORED_RESPONSE),
            ("/v1/chat/completions/c1", STORED_CHAT),
        ):
            admitted = judge(desk, path=path, method="GET", tools=bench.desk).decide(b"")
            assert admitted.api is api
            assert admitted.gate is not None
            assert judge(desk, path=path).decide(b"").gate is None
        assert judge(desk, tools=bench.desk).decide(b"").gate is None
