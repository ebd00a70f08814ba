"""`/v0` over real sockets: decisions, events, idempotency, signatures, keys and tenants."""

from __future__ import annotations

import asyncio
import io
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from gateway.auth.signature import sign
from gateway.kernel.types import JSONObject
from gateway.telemetry.log import LOG
from tests.kit.gateways import RunningGateway, running_gateway

SECRET = "a secret of the service"
DIGEST = "sha256:" + "0" * 64


def request(tenant: str | None = None, **changed: Any) -> JSONObject:
    """A small refund that the built-in support policy trusts."""
    subject = {"type": "agent", "id": "bot"} | ({} if tenant is None else {"tenant_id": tenant})
    value: JSONObject = {
        "schema_version": "decision_request.v0",
        "subject": subject,
        "action": {
            "type": "support.update_ticket",
            "intent": "close it",
            "target": {"system": "desk", "resource_type": "ticket", "resource_id": "T-1"},
        },
        "evidence": {"ticket_id": "T-1"},
        "context": {"mode": "digest_only", "digest": DIGEST},
    } | changed
    return value


def key(name: str, tenant: str | None, **changed: Any) -> JSONObject:
    """A configured key whose secret is its name."""
    digest = "sha256:" + sha256(name.encode()).hexdigest()
    return {"name": name, "hash": digest, "tenant": tenant, **changed}


class Caller:
    """Calls `/v0` of one gateway."""

    def __init__(self, gateway: RunningGateway, **headers: str) -> None:
        self.origin = f"http://127.0.0.1:{gateway.port}"
        self.headers = headers

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Return status and JSON."""
        text = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        data = None if text is None else io.BytesIO(text)
        async with (
            aiohttp.ClientSession(self.origin) as session,
            session.request(
                method,
                path,
                data=data,
                headers={"content-type": "application/json", **self.headers, **headers},
            ) as answer,
        ):
            return answer.status, orjson.loads(await answer.read())

    async def decide(self, body: Any) -> JSONObject:
        """Return the record of a request."""
        status, record = await self("POST", "/v0/decide", body)
        assert status == 200, record
        return record  # type: ignore[no-any-return]


async def test_a_decision_is_durable_and_read_back_alike(tmp_path: Path) -> None:
    """What POST returns is what GET returns, byte for byte as JSON, and what admin lists."""
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        record = await call.decide(request())
        assert await call("GET", f"/v0/decisions/{record['decision_id']}") == (200, record)
        assert record in await one.decisions()
        context = {**request()["context"], "redaction": {"profile": "default", "fields_removed": []}}
        assert record["request"] == request(context=context)


async def test_what_is_not_trusted_says_why(tmp_path: Path) -> None:
    """A refund without its evidence is a QUERY that asks for it."""
    action = {"type": "support.refund", "intent": "refund", "amount": {"value": 5, "currency": "EUR"}}
    async with running_gateway(tmp_path) as one:
        record = await Caller(one).decide(request(action=action, evidence={}))
        assert record["verdict"] == "QUERY"
        assert record["queries"]


async def test_events_stand_with_their_decision(tmp_path: Path) -> None:
    """Each of the contract's types is appended and read back, in order."""
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        decision_id = (await call.decide(request()))["decision_id"]
        path = f"/v0/decisions/{decision_id}"
        for kind in ("outcome", "label", "note", "override"):
            status, answer = await call(
                "POST", f"{path}/events", {"type": kind, "data": {"label": "success"}}
            )
            assert status == 200
            assert len(answer["event_id"]) == 26
        _, record = await call("GET", path)
        assert [event["type"] for event in record["decision_event_log"]] == [
            "outcome",
            "label",
            "note",
            "override",
        ]
        assert {frozenset(event) for event in record["decision_event_log"]} == {
            frozenset({"event_id", "at", "type", "data"}),
        }


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"type": "guess"}, 422, "/type"),
        ({"type": " "}, 422, "/type"),
        ({"type": 1}, 422, "/type"),
        ({"type": "note", "data": None}, 422, "/data"),
        ({"type": "label", "data": {"label": "good"}}, 422, "/data/label"),
        ([], 422, ""),
        (b"{", 400, None),
        (b'{"type":"note","type":"label"}', 422, "/type"),
    ],
)
async def test_a_wrong_event_is_refused(tmp_path: Path, body: Any, status: int, pointer: str) -> None:
    """An event that is none says which field; nothing is appended."""
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        decision_id = (await call.decide(request()))["decision_id"]
        got, answer = await call("POST", f"/v0/decisions/{decision_id}/events", body)
        assert (got, answer["pointer"]) == (status, pointer)
        assert set(answer) == {"detail", "reason_code", "pointer", "request_id"}
        _, record = await call("GET", f"/v0/decisions/{decision_id}")
        assert "decision_event_log" not in record


async def test_nobody_writes_the_fate_of_a_forwarded_request(tmp_path: Path) -> None:
    """The outcome of what was forwarded is the gateway's to record: a client's is 409, a note is taken."""
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        await call("GET", "/v1/models")
        [record] = await one.decisions()
        path = f"/v0/decisions/{record['decision_id']}/events"
        status, answer = await call("POST", path, {"type": "outcome", "data": {"fate": "complete"}})
        assert (status, answer["reason_code"]) == (409, "OUTCOME_CONFLICT")
        assert (await call("POST", path, {"type": "note"}))[0] == 200
        await one.outcomes()


@pytest.mark.parametrize("decision_id", ["nothing", "0" * 26, "%ff", "8" * 26])
async def test_an_unknown_decision(tmp_path: Path, decision_id: str) -> None:
    """An id that names nothing is 404, for reading and for events."""
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        assert (await call("GET", f"/v0/decisions/{decision_id}"))[0] == 404
        assert (await call("POST", f"/v0/decisions/{decision_id}/events", {"type": "note"}))[0] == 404


async def test_the_same_key_and_request_is_the_same_decision(tmp_path: Path) -> None:
    """A repetition returns the stored record; many at once still make one decision."""
    body = request(request_id="r-1")
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        records = await asyncio.gather(*(call.decide(body) for _ in range(8)))
        assert all(record == records[0] for record in records)
        assert len(await one.decisions()) == 1


async def test_the_same_key_with_another_request_conflicts(tmp_path: Path) -> None:
    """Another body under a used key is 409 and names the decision that holds it."""
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        first = await call.decide(request(request_id="r-1"))
        status, answer = await call("POST", "/v0/decide", request(request_id="r-1", evidence={}))
        assert (status, answer["reason_code"]) == (409, "IDEMPOTENCY_CONFLICT")
        assert first["decision_id"] in answer["detail"]
        assert (await call("POST", "/v0/decide", request(request_id="")))[0] == 422


async def test_tenants_do_not_share_keys(tmp_path: Path) -> None:
    """The same request_id of two tenants names two decisions."""
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        mine = await call.decide(request("acme", request_id="r-1"))
        theirs = await call.decide(request("zeta", request_id="r-1"))
        none = await call.decide(request(request_id="r-1"))
        assert len({mine["decision_id"], theirs["decision_id"], none["decision_id"]}) == 3


async def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    """A dry run is decided and neither stored nor bound to its key."""
    body = request(request_id="r-1", hints={"dry_run": True})
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        record = await call.decide(body)
        assert record["extensions"]["dry_run"] is True
        assert await one.decisions() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b'{"a":NaN}', 422),
        (orjson.dumps(request(subject={"type": "robot", "id": "x"})), 422),
        (orjson.dumps(request(colour="red")), 422),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
async def test_bad_requests(tmp_path: Path, body: bytes, status: int) -> None:
    """What is no DecisionRequest is a 4xx in the one shape, and no decision."""
    async with running_gateway(tmp_path) as one:
        got, answer = await Caller(one)("POST", "/v0/decide", body)
        assert got == status
        assert set(answer) == {"detail", "reason_code", "pointer", "request_id"}
        assert await one.decisions() == []


async def test_the_policy_in_force(tmp_path: Path) -> None:
    """`GET /v0/policy` names what decides, by the hash that records carry."""
    async with running_gateway(tmp_path) as one:
        call = Caller(one)
        status, policy = await call("GET", "/v0/policy")
        record = await call.decide(request())
        assert status == 200
        assert record["policy"]["policy_hash"] == policy["policy_hash"]
        assert "lumyn-llm" in {pack["policy_id"] for pack in policy["packs"]}


# --- who asks ------------------------------------------------------------------------------------


async def test_with_a_secret_every_call_is_signed(tmp_path: Path) -> None:
    """Without a signature 401, with a wrong one 401, with the right one served; on `/admin` too."""
    body = orjson.dumps(request())
    async with running_gateway(tmp_path, service={"signing_secret": SECRET}) as one:
        call = Caller(one)
        assert await call("POST", "/v0/decide", body) == (401, await refused("AUTH_REQUIRED", call))
        for wrong in (" ", sign(b"other", body), sign(SECRET.encode(), body).upper(), "sha256:\u00e9"):
            status, answer = await call("POST", "/v0/decide", body, **{"x-lumyn-signature": wrong})
            assert (status, set(answer["detail"])) == (401, {"reason_code"})
        right = {"x-lumyn-signature": sign(SECRET.encode(), body)}
        status, record = await call("POST", "/v0/decide", body, **right)
        assert status == 200
        path = f"/v0/decisions/{record['decision_id']}"
        assert (await call("GET", path))[0] == 401
        empty = {"x-lumyn-signature": sign(SECRET.encode(), b"")}
        assert (await call("GET", path, **empty))[0] == 200
        assert (await call("GET", "/v0/policy"))[0] == 401
        call.origin = one.admin_url
        assert (await call("GET", "/admin/decisions"))[0] == 401
        assert (await call("GET", f"/admin/decisions/{record['decision_id']}"))[0] == 401
        assert (await call("GET", "/admin/decisions", **empty))[0] == 200
        assert (await call("GET", "/health/ready"))[0] == 200


async def refused(code: str, call: Caller) -> Any:
    """The body of a 401, whose request id is its own."""
    _, answer = await call("POST", "/v0/decide", b"{}")
    assert answer["reason_code"] == code

    class AnyId(dict):  # type: ignore[type-arg]
        def __eq__(self, other: object) -> bool:
            return isinstance(other, dict) and other | {"request_id": ""} == self | {"request_id": ""}

        __hash__ = None  # type: ignore[assignment]

    return AnyId(answer)


async def test_keys(tmp_path: Path) -> None:
    """With keys nobody passes without one: not on `/v0`, not on `/v1`."""
    async with running_gateway(tmp_path, keys=[key("alpha", "acme")]) as one:
        for path, body in (("/v0/decide", request("acme")), ("/v1/chat/completions", {"model": "x"})):
            status, answer = await Caller(one)("POST", path, body)
            assert status == 401
            status, answer = await Caller(one, authorization="Bearer wrong")("POST", path, body)
            assert status == 401
            assert "wrong" not in str(answer)
        call = Caller(one, authorization="Bearer alpha")
        record = await call.decide(request("acme"))
        assert record["request"]["subject"]["tenant_id"] == "acme"
        assert (await call("GET", "/v1/models"))[0] == 200


async def test_a_key_reads_only_its_own_tenant(tmp_path: Path) -> None:
    """No read, event or decision of one tenant's key touches another's; it looks like nothing there."""
    keys = [key("alpha", "acme"), key("omega", "zeta"), key("bare", None)]
    async with running_gateway(tmp_path, keys=keys) as one:
        acme, zeta, bare = (
            Caller(one, authorization=f"Bearer {name}") for name in ("alpha", "omega", "bare")
        )
        mine = (await acme.decide(request("acme")))["decision_id"]
        nobodys = (await bare.decide(request()))["decision_id"]
        for other in (zeta, bare):
            assert (await other("GET", f"/v0/decisions/{mine}"))[0] == 404
            assert (await other("POST", f"/v0/decisions/{mine}/events", {"type": "note"}))[0] == 404
        assert (await acme("GET", f"/v0/decisions/{nobodys}"))[0] == 404
        assert (await acme("GET", f"/v0/decisions/{mine}"))[0] == 200
        status, answer = await zeta("POST", "/v0/decide", request("acme"))
        assert (status, answer["pointer"]) == (403, "/subject/tenant_id")
        assert (await zeta("POST", "/v0/decide", request()))[0] == 403


async def test_a_key_without_a_tenant_cannot_speak_for_one(tmp_path: Path) -> None:
    """A key that belongs to no tenant decides for none: it could not read the record it made."""
    async with running_gateway(tmp_path, keys=[key("bare", None)]) as one:
        call = Caller(one, authorization="Bearer bare")
        status, answer = await call("POST", "/v0/decide", request("acme"))
        assert (status, answer["pointer"]) == (403, "/subject/tenant_id")


async def test_a_key_covers_what_it_names(tmp_path: Path) -> None:
    """Actions outside the key's patterns are 403, on both APIs."""
    async with running_gateway(tmp_path, keys=[key("alpha", "acme", actions=["support.*"])]) as one:
        call = Caller(one, authorization="Bearer alpha")
        assert (await call("POST", "/v0/decide", request("acme")))[0] == 200
        other = {"type": "account.close", "intent": "close"}
        assert (await call("POST", "/v0/decide", request("acme", action=other)))[0] == 403
        status, answer = await call("GET", "/v1/models")
        assert (status, answer["error"]["type"]) == (403, "permission_error")


async def test_what_is_no_request_leaves_a_line_and_no_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names the reason code and the request id, and none of the request's own words."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(LOG, "info", lambda _, extra: lines.append(extra["facts"]))
    async with running_gateway(tmp_path) as one:
        status, answer = await Caller(one)("POST", "/v0/decide", {"secret-field": "canary"})
        assert status == 422
        assert await one.decisions() == []
    [line] = lines
    assert line == {"reason_code": "INVALID_REQUEST_SCHEMA", "request_id": answer["request_id"]}


async def test_decisions_move_the_verdict_metric(tmp_path: Path) -> None:
    """What `/v0/decide` decides is counted beside what `/v1` decides, by its verdict."""
    async with running_gateway(tmp_path) as gateway:
        call = Caller(gateway)
        assert (await call("POST", "/v0/decide", request()))[0] == 200
        assert (await call("POST", "/v0/decide", request(evidence={})))[0] == 200
        async with aiohttp.ClientSession() as session, session.get(f"{gateway.admin_url}/metrics") as answer:
            text = await answer.text()
    counted = {line for line in text.splitlines() if line.startswith("lumyn_decisions_total")}
    assert 'lumyn_decisions_total{surface="decide",verdict="TRUST"} 1.0' in counted
    assert len(counted) == 2
