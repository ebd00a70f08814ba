"""Requests on action routes, read: what they ask for, what exactly would be done, and what is no request."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.auth.keys import Principal
from gateway.config import ActionConfig
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import InvalidRequestError, MalformedRequestError, UnsupportedMediaError
from gateway.kernel.types import Tenant
from gateway.pipeline.approvals import Terms
from gateway.pipeline.routes import ActionRoute, ReadAction, compile_route, read_action, where_of
from tests.kit.tools import TRUSTED, route

BOT = Principal("bot", "acme")
JSON = (b"content-type", b"application/json")
BODY = orjson.dumps(TRUSTED)


class Nowhere:
    """A backend that is never asked."""

    name = "refunds"


def compiled(**changed: Any) -> ActionRoute:
    """The refund route, changed."""
    return compile_route(ActionConfig.model_validate(route(9, **changed)), Nowhere())  # type: ignore[arg-type]


def read(
    made: ActionRoute | None = None,
    *headers: tuple[bytes, bytes],
    path: str = "/orders/O-1/refunds",
    query: str = "",
    body: bytes = BODY,
    principal: Principal = BOT,
) -> ReadAction:
    """Read a request on a route."""
    return read_action(
        made or compiled(),
        principal,
        path=path,
        query=query,
        headers=(JSON, *headers),
        body=body,
        trace={"correlation_id": "r-1"},
    )


def test_a_route_is_compiled() -> None:
    """Defaults fill what the configuration leaves out; times become milliseconds."""
    made = compiled(
        intent=None, ask_s=1.5, use_s=2, upstream="http://tool/v1/", upstream_path="/r/{order_id}"
    )
    assert made.intent == "POST /orders/{order_id}/refunds"
    assert made.target == "POST http://tool/v1/r/{order_id}"
    assert made.terms == Terms(1500, 2000)
    assert (made.system, made.writes) == ("refunds", True)


def test_a_request_is_read_as_the_contract_has_it() -> None:
    """Evidence and amount come from their places as they are; the context is a digest of the body."""
    made = read()
    assert made.request == {
        "schema_version": "decision_request.v0",
        "trace": {"correlation_id": "r-1"},
        "subject": {"type": "service", "id": "bot", "tenant_id": "acme"},
        "action": {
            "type": "support.refund",
            "intent": "refund order O-1",
            "target": {"system": "refunds", "resource_type": "order", "resource_id": "O-1"},
            "amount": {"value": 20, "currency": "USD"},
        },
        "evidence": {
            "order_id": "O-1",
            "ticket_id": "T-1",
            "customer_id": "C-1",
            "payment_instrument_risk": "low",
            "chargeback_risk": 0.05,
            "previous_refund_count_90d": 0,
            "customer_age_days": 400,
        },
        "context": {"mode": "digest_only", "digest": sha256_digest(BODY)},
    }
    assert made.target == "/orders/O-1/refunds"
    assert (made.call.principal, made.call.tenant, made.call.key) == ("bot", Tenant("acme"), None)


def test_what_is_not_there_is_missing() -> None:
    """Without a body there is no evidence and no amount: the policy asks, the gate invents nothing."""
    made = read(body=b"")
    assert made.request["evidence"] == {"order_id": "O-1"}
    assert "amount" not in made.request["action"]
    assert "tenant_id" not in read(principal=Principal("bot", None)).request["subject"]


def test_a_subject_may_come_from_a_header() -> None:
    """The mapped header names who acts; without it the request is none."""
    made = compiled(subject={"type": "agent", "id": "header:x-agent-id"}, tags=["t"])
    asked = read(made, (b"X-Agent-Id", b"a-7")).request
    assert (asked["subject"]["type"], asked["subject"]["id"]) == ("agent", "a-7")
    assert asked["action"]["tags"] == ["t"]
    with pytest.raises(InvalidRequestError):
        read(made)


def test_the_intent_is_filled_once() -> None:
    """A segment that looks like a placeholder stays what it is."""
    made = compiled(path="/a/{x}/{y}", intent="{x} and {y}", target={}, evidence={})
    assert read(made, path="/a/%7By%7D/z").request["action"]["intent"] == "{y} and z"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"body": BODY + b" "}),
        ({}, {"path": "/orders/O%2D1/refunds"}),
        ({}, {"query": "x=1"}),
        ({"query": "a=1&b=2"}, {"query": "b=2&a=1"}),
    ],
)
def test_every_byte_counts(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Requests that differ in any byte of body or target have other arguments."""
    assert read(**one).call.arguments_digest != read(**other).call.arguments_digest


def test_mapped_headers_count_and_others_do_not() -> None:
    """A header that the policy reads is part of what is done; a trace id is not."""
    made = compiled(evidence={"region": "header:x-region"})
    digest = read(made, (b"x-region", b"eu")).call.arguments_digest
    assert read(made, (b"x-region", b"us")).call.arguments_digest != digest
    assert read(made, (b"x-region", b"eu"), (b"traceparent", b"00-1")).call.arguments_digest == digest


def test_the_forwarded_target_is_the_raw_one() -> None:
    """Path segments and query go on as they came, on the tool's own path."""
    made = compiled(upstream_path="/refund/{order_id}")
    assert read(made, path="/orders/a%20b/refunds", query="x=%41&y").target == "/refund/a%20b?x=%41&y"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"amount":1,"amount":2}', InvalidRequestError),
        (b'{"amount":1,"deep":{"a":1,"a":2}}', InvalidRequestError),
        (b'{"amount":1,"Amount":2}', InvalidRequestError),
        (b'{"amount":"20"}', InvalidRequestError),
        (b'{"amount":-1}', InvalidRequestError),
        (b'{"amount":true}', InvalidRequestError),
        (b'{"amount":25.000000000000000001}', InvalidRequestError),
        (b'{"amount":1,"currency":"DOLLAR"}', InvalidRequestError),
        (b'{"amount":NaN}', InvalidRequestError),
        (b'{"amount":1', MalformedRequestError),
        (b"\xef\xbb\xbf{}", MalformedRequestError),
        (b"\xff", MalformedRequestError),
        (b"[" * 200 + b"]" * 200, InvalidRequestError),
    ],
)
def test_a_body_that_two_readers_could_read_differently(body: bytes, kind: type[Exception]) -> None:
    """Duplicate keys, odd numbers, other spellings, wrong types: the client's error, never a decision."""
    with pytest.raises(kind):
        read(body=body)


def test_a_wrong_value_is_told_by_its_place() -> None:
    """The error names where in the client's own request the value stands."""
    with pytest.raises(InvalidRequestError) as caught:
        read(body=b'{"amount":"20","currency":"USD"}')
    assert caught.value.hint == "it is read from `body:/amount`"


@pytest.mark.parametrize(
    "media",
    [
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/json; charset=utf-16",
        b"text/json",
    ],
)
def test_another_medium_is_refused(media: bytes) -> None:
    """A body is JSON in UTF-8, and says so at most once."""
    for headers in ([(b"content-type", media)], [JSON, (b"Content-Type", media)]):
        with pytest.raises(UnsupportedMediaError):
            read_action(
                compiled(), BOT, path="/orders/O-1/refunds", query="", headers=headers, body=BODY, trace={}
            )
    read_action(
        compiled(),
        BOT,
        path="/orders/O-1/refunds",
        query="",
        headers=[(b"content-type", b"application/problem+json;charset=UTF-8")],
        body=BODY,
        trace={"correlation_id": "x"},
    )


@pytest.mark.parametrize(
    "query",
    ["a=1;b=2", "a=%ff", "&".join("a=1" for _ in range(101)), "_method=DELETE", "x=1&%5FMethod=put"],
)
def test_a_query_that_could_be_read_in_two_ways(query: str) -> None:
    """Separators of other servers, broken text, endless parameters, and another method by a back door."""
    with pytest.raises(MalformedRequestError):
        read(query=query)


@pytest.mark.parametrize("query", ["a#b", "a b", "a\u00e9", "a\x7f"])
def test_a_query_holds_only_what_may_stand_in_one(query: str) -> None:
    """A fragment or a control character is refused on every route."""
    with pytest.raises(MalformedRequestError):
        read(query=query)


def test_the_client_s_key() -> None:
    """One text, of which a digest is kept; a reading route has none."""
    key = (b"Idempotency-Key", b"op-1")
    assert read(None, key).call.key == sha256_digest(b"op-1")
    assert read(compiled(effect="read"), key).call.key is None
    for bad in ([(b"idempotency-key", b"")], [key, key], [(b"idempotency-key", b"x" * 256)]):
        with pytest.raises(InvalidRequestError):
            read(None, *bad)


@pytest.mark.parametrize(
    ("field", "source"),
    [
        ("evidence.ticket_id", "body:/ticket"),
        ("order_id", "path:order_id"),
        ("action.amount.value", "body:/amount"),
        ("action.amount.currency", "body:/currency"),
        ("evidence.nobody_maps_it", None),
        ("subject.roles", None),
    ],
)
def test_a_question_s_field_has_a_place(field: str, source: str | None) -> None:
    """Whoever must answer is told where; a field that no source fills has no place."""
    assert where_of(compiled(), field) == source
    assert where_of(compiled(amount=None), "action.amount.value") is None
