"""`/mcp` under attack: contradictions, stolen states, oversized calls, and secrets that must not leak."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.wire.mcp.answers import EVIDENCE_KEY
from tests.kit.gateways import RunningGateway
from tests.kit.mcp import (
    NEW,
    OLD,
    Stub,
    call,
    error_of,
    json_answer,
    listing,
    mcp_gateway,
    meta,
    names_of,
    post,
    request,
    result_of,
    stub_server,
)
from tests.kit.rawpeer import Message, Wire


@asynccontextmanager
async def shop(directory: Path, **settings: Any) -> AsyncIterator[tuple[Stub, RunningGateway]]:
    """A server whose tools are pinned, behind a gateway."""
    async with stub_server() as stub, mcp_gateway(directory, stub.url, **settings) as one:
        await listing(one, headers=settings.get("keys") and bearer("a"))
        yield stub, one


def key(name: str, tenant: str | None = None, **more: Any) -> dict[str, Any]:
    """A configured key whose secret is its name."""
    return {"name": name, "tenant": tenant, "hash": "sha256:" + sha256(name.encode()).hexdigest(), **more}


def bearer(name: str) -> dict[str, str | None]:
    """The header of a key."""
    return {"authorization": f"Bearer {name}"}


async def newest_reason(one: RunningGateway) -> str:
    """The reason of the newest decision."""
    [record] = await one.decisions(limit=1)
    assert record["verdict"] == "ABSTAIN"
    return str(record["reason_codes"][0])


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp-name": "read"},
        {"mcp-name": "=?base64?cmVhZA==?="},
        {"mcp-name": None},
        {"mcp-method": "tools/list"},
        {"mcp-protocol-version": "2025-11-25"},
        {"mcp-protocol-version": None},
    ],
)
async def test_headers_that_lie_about_a_call_are_refused_and_recorded(
    tmp_path: Path, headers: dict[str, str | None]
) -> None:
    """An intermediary may route on them; the call never goes on."""
    async with shop(tmp_path) as (stub, one):
        told = await call(one, "refund", {"amount": 5}, headers=headers)
        assert (told.status, error_of(told)["code"]) == (400, -32020)
        assert await newest_reason(one) == "TOOL_CALL_CONTRADICTORY"
        assert stub.calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        '{"amount":5,"amount":5000}',
        '{"a":[{"k":1,"\\u006b":2}],"amount":5}',
        '{"amount":"5"}',
        '{"amount":-5}',
        '{"amount":5.00000000000000000001}',
        '{"amount":true}',
        "[]",
        "null",
        '"amount"',
        '{"amount":5,"pad":"' + "x" * (1 << 20) + '"}',
        '{"amount":5,"deep":' + "[" * 200 + "]" * 200 + "}",
        '{"amount":5,"order":"' + "x" * 20_000 + '"}',
    ],
    ids=[
        "twins",
        "escaped twins",
        "text",
        "negative",
        "odd",
        "true",
        "list",
        "null",
        "string",
        "1 MiB",
        "deep",
        "evidence",
    ],
)
async def test_arguments_that_cannot_be_judged_are_refused_and_recorded(
    tmp_path: Path, arguments: str
) -> None:
    """What two readers could take for two things, what no record can hold, and what is too large."""
    body = (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refund","arguments":%s,"_meta":%s}}'
    )
    text = (body % (arguments, orjson.dumps(meta()).decode())).encode()
    async with shop(tmp_path) as (stub, one):
        told = await post(one, text, headers={"mcp-method": "tools/call", "mcp-name": "refund"})
        assert (told.status, error_of(told)["code"]) == (400, -32602)
        assert await newest_reason(one) == "TOOL_ARGUMENTS_INVALID"
        assert stub.calls == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refund"}}]', -32600),
        (b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"refund"}}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"refund"}}', -32600),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"refund"}}',
            -32600,
        ),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}', -32602),
        (b"not json", -32700),
        (b"", -32700),
    ],
)
async def test_what_names_no_call_is_refused_and_costs_nothing(
    tmp_path: Path, body: bytes, code: int
) -> None:
    """There is nothing to decide: no record, and not a byte goes on."""
    async with shop(tmp_path) as (stub, one):
        before, asked = len(await one.decisions()), len(stub.requests)
        told = await post(one, body, era=OLD)
        assert error_of(told)["code"] == code
        assert (len(await one.decisions()), len(stub.requests)) == (before, asked)


async def test_a_body_over_the_bound_is_413(tmp_path: Path) -> None:
    """It is not read to its end."""
    async with shop(tmp_path, mcp={"body_bytes_max": 2000}) as (stub, one):
        told = await call(one, "refund", {"pad": "x" * 3000})
        assert (told.status, error_of(told)["code"]) == (413, 413)
        assert stub.calls == []


async def ask(one: RunningGateway, who: str, tool: str = "close", **more: Any) -> Message:
    """A call of one principal, which shows forms."""
    return await call(one, tool, {}, elicitation={}, headers=bearer(who), **more)


async def test_states_are_good_for_one_principal_one_tool_and_once(tmp_path: Path) -> None:
    """Stolen, moved, forged, altered or replayed: refused in the same words, recorded, nothing forwarded."""
    keys = [key("a"), key("b"), key("c", "acme")]
    async with shop(tmp_path, keys=keys) as (stub, one):
        state = result_of(await ask(one, "a"))["requestState"]
        yes = {EVIDENCE_KEY: {"action": "accept", "content": {"confirmed": "yes"}}}
        forged = state[:-2] + ("AA" if state[-2:] != "AA" else "BB")
        for who, tool, token in (
            ("b", "close", state),
            ("c", "close", state),
            ("a", "read", state),
            ("a", "close", forged),
            ("a", "close", "lumyn.1."),
            ("a", "close", "lumyn.1." + "A" * 200),
        ):
            told = await ask(one, who, tool, requestState=token, inputResponses=yes)
            assert error_of(told)["message"] == "Invalid or expired requestState", (who, tool)
            assert await newest_reason(one) == "TOOL_STATE_INVALID"
        assert stub.calls == []
        assert (await ask(one, "a", requestState=state, inputResponses=yes)).status == 200
        replayed = await ask(one, "a", requestState=state, inputResponses=yes)
        assert error_of(replayed)["message"] == "Invalid or expired requestState"
        assert await newest_reason(one) == "TOOL_STATE_INVALID"
        assert len(stub.calls) == 1


async def test_a_state_brought_twice_at_once_leads_to_one_call(tmp_path: Path) -> None:
    """The store has each number once, whoever is faster."""
    import asyncio

    async with shop(tmp_path) as (stub, one):
        state = result_of(await call(one, "close", {}, elicitation={}))["requestState"]
        yes = {EVIDENCE_KEY: {"action": "accept", "content": {"confirmed": "yes"}}}
        told = await asyncio.gather(
            *(
                call(one, "close", {}, elicitation={}, requestState=state, inputResponses=yes)
                for _ in range(8)
            )
        )
        assert sorted("result" in orjson.loads(answer.body) for answer in told) == [False] * 7 + [True]
        assert len(stub.calls) == 1


async def test_a_state_is_no_state_on_the_older_revision(tmp_path: Path) -> None:
    """It was not given there, and a server of that revision must not see it."""
    async with shop(tmp_path) as (stub, one):
        state = result_of(await call(one, "close", {}, elicitation={}))["requestState"]
        told = await call(one, "close", {}, era=OLD, requestState=state)
        assert error_of(told)["message"] == "Invalid or expired requestState"
        assert stub.calls == []


async def test_an_expired_state_is_refused(tmp_path: Path) -> None:
    """A quarter of an hour by default; here at once."""
    async with shop(tmp_path, mcp={"state_ttl_s": 0.001}) as (stub, one):
        state = result_of(await call(one, "close", {}, elicitation={}))["requestState"]
        yes = {EVIDENCE_KEY: {"action": "accept", "content": {"confirmed": "yes"}}}
        told = await call(one, "close", {}, elicitation={}, requestState=state, inputResponses=yes)
        assert error_of(told)["message"] == "Invalid or expired requestState"
        assert stub.calls == []


async def test_a_key_sees_and_calls_what_it_covers(tmp_path: Path) -> None:
    """Another tool does not exist for it: nothing tells it from one that nobody has, and the record knows."""
    keys = [key("a"), key("narrow", actions=["mcp.shop_read"])]
    async with shop(tmp_path, keys=keys) as (stub, one):
        assert names_of(await listing(one, headers=bearer("narrow"))) == ["read"]
        told = await call(one, "refund", {"amount": 5}, headers=bearer("narrow"))
        nobody = await call(one, "nobody", {}, headers=bearer("narrow"))
        assert error_of(told)["message"] == "Unknown tool: refund"
        assert error_of(told)["code"] == error_of(nobody)["code"]
        assert stub.calls == []
        reasons = [record["reason_codes"][0] for record in await one.decisions(limit=2)]
        assert reasons == ["TOOL_UNKNOWN", "TOOL_NOT_ALLOWED"]


async def test_nobody_passes_without_a_key(tmp_path: Path) -> None:
    """401 in the protocol's shape with a challenge of the gateway's own; nothing is read or forwarded."""
    async with shop(tmp_path, keys=[key("a")]) as (stub, one):
        asked = len(stub.requests)
        for headers in ({}, bearer("wrong")):
            told = await call(one, "read", {}, headers=headers)
            assert (told.status, error_of(told)["code"]) == (401, 401)
            assert told.header("www-authenticate") == 'Bearer realm="lumyn"'
        assert len(stub.requests) == asked


async def test_web_pages_are_kept_out_unless_they_are_listed(tmp_path: Path) -> None:
    """DNS rebinding lets a page speak to loopback; its origin gives it away, also where it is `null`."""
    async with shop(tmp_path, mcp={"origins": ["https://inspector.example"]}) as (stub, one):
        for origin in ("http://evil.example", "null", "https://inspector.example.evil", "http://127.0.0.1"):
            told = await call(one, "read", {}, headers={"origin": origin})
            assert (told.status, error_of(told)["code"]) == (403, 403), origin
        assert stub.calls == []
        assert (await call(one, "read", {}, headers={"origin": "https://inspector.example"})).status == 200
        assert stub.requests[-1].header("origin") is None


@pytest.mark.parametrize("method", ["tools/call", "ping"])
@pytest.mark.parametrize("status", ["401 Unauthorized", "307 Temporary Redirect"])
async def test_a_challenge_or_a_redirect_of_the_server_stays_here(
    tmp_path: Path, method: str, status: str
) -> None:
    """Relayed, the client would offer its own credential, or go where nobody decides."""

    async def answer(wire: Wire, _: Message, __: dict[str, Any]) -> None:
        more = ("www-authenticate: Bearer resource_metadata=x", "location: http://elsewhere.example/mcp")
        await wire.send(json_answer(b"{}", *more, status=status))

    async with shop(tmp_path) as (stub, one):
        stub.answers[method] = answer
        told = await post(one, request(method, {"name": "read"} if method == "tools/call" else {}))
        assert (told.status, error_of(told)["data"]["code"]) == (502, "UPSTREAM_BROKEN")
        assert told.header("www-authenticate") is None
        assert told.header("location") is None


async def test_secrets_reach_no_log_no_record_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the server's credential nor the client's, nor what stands in arguments that nobody maps."""
    secrets = ("server-token-1", "client-token-2", "argument-secret-3")
    with caplog.at_level(logging.DEBUG):
        log = {"level": "debug", "decisions": True}
        keys = [key("a"), {**key("client-token-2"), "name": "bot-2"}]
        async with shop(tmp_path, server={"token": "server-token-1"}, keys=keys, log=log) as (stub, one):
            told = [
                await call(
                    one,
                    tool,
                    {"note": "argument-secret-3", "amount": amount},
                    headers=bearer("client-token-2"),
                )
                for tool, amount in (("read", 1), ("refund", 500), ("refund", 5000), ("nobody", 1))
            ]
            assert stub.requests[-1].header("authorization") == "Bearer server-token-1"
            records = orjson.dumps(await one.decisions())
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    for secret in secrets:
        assert secret not in logged
        assert all(secret.encode() not in answer.body + answer.head for answer in told)
    for secret in (secrets[0], secrets[2]):
        assert secret.encode() not in records


async def test_the_servers_credential_must_fit_a_header(tmp_path: Path) -> None:
    """A newline at the end of a secret file would end the request's head; nothing of it is quoted."""
    from gateway.kernel.errors import InvalidConfigError

    with pytest.raises(InvalidConfigError) as caught:
        async with mcp_gateway(tmp_path, "http://127.0.0.1:9/mcp", server={"token": "secret\n"}):
            pass
    assert "mcp.servers.shop.token" in caught.value.message
    assert "secret" not in caught.value.message
    assert NEW.value
