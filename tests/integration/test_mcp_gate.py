"""`/mcp/{server}` with every byte written by hand: what passes, what is decided, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.kernel.canon import sha256_digest
from gateway.wire.mcp.revision import Era
from tests.kit.gateways import eventually
from tests.kit.mcp import (
    ERAS,
    NEW,
    OLD,
    call,
    error_of,
    json_answer,
    listing,
    mcp_gateway,
    names_of,
    post,
    request,
    response,
    result_of,
    sse,
    sse_head,
    stub_server,
    tool,
)
from tests.kit.rawpeer import Message, Wire, chunked, raw_client


@pytest.mark.parametrize("era", ERAS)
async def test_a_trusted_call_goes_on_as_it_came(tmp_path: Path, era: Era) -> None:
    """The forwarded body is the received one, byte for byte, and its record stands there with its fate."""
    body = (
        b'{ "jsonrpc":"2.0", "method":"tools/call","id":"a-1",\n "params" : {"name":"refund",'
        b'"arguments":{"amount": 5.0, "user":12345678901234567890}%b} }'
    ) % (b"" if era is OLD else b',"_meta":' + orjson.dumps(request("x", {})["params"]["_meta"]))
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        await listing(one, era=era)
        more: dict[str, str | None] = {"mcp-method": "tools/call", "mcp-name": "refund"} if era is NEW else {}
        answer = await post(one, body, era=era, headers=more)
        assert answer.status == 200
        assert orjson.loads(answer.body)["id"] == "a-1"
        assert stub.requests[-1].body == body
        [outcome] = await one.outcomes()
        assert (outcome["fate"], outcome["backend"], outcome["status"]) == ("complete", "shop", 200)
        [record, *_] = await one.decisions()
        assert answer.header("x-lumyn-decision-id") == record["decision_id"]
        asked = record["request"]
        assert asked["action"] == {
            "type": "shop.refund",
            "intent": "call refund on shop",
            "target": {"system": "shop", "resource_type": "mcp_tool", "resource_id": "refund"},
            "amount": {"value": 5, "currency": "USD"},
        }
        params = body[body.index(b'{"name"') : body.rindex(b"}")].rstrip()
        assert asked["context"]["digest"] == sha256_digest(params)
        facts = record["extensions"]["mcp"]
        assert facts["arguments_digest"] == sha256_digest(b'{"amount": 5.0, "user":12345678901234567890}')
        assert (facts["revision"], facts["server"]) == (era.value, "shop")
        assert b"12345678901234567890" not in orjson.dumps(record)


async def test_the_record_stands_before_anything_leaves(tmp_path: Path) -> None:
    """While the server has the call, its decision is in the store already."""
    seen: list[Any] = []
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        await listing(one)

        async def look(wire: Wire, _: Message, message: dict[str, Any]) -> None:
            seen.append((await one.decisions(limit=1))[0]["request"]["action"]["type"])
            await wire.send(json_answer(response(message, {"content": [], "resultType": "complete"})))

        stub.answers["tools/call"] = look
        await call(one, "refund", {"amount": 5})
    assert seen == ["shop.refund"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_refused_call_is_a_tool_result(tmp_path: Path, era: Era) -> None:
    """200 and `isError`, in the words of the revision; nothing goes on, and the record says refused."""
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        await listing(one, era=era)
        answer = await call(one, "refund", {"amount": 5000}, era=era)
        [record, *_] = await one.decisions()
        assert answer.status == 200
        assert answer.header("x-lumyn-verdict") == "ABSTAIN"
        result = result_of(answer)
        assert result["isError"] is True
        assert "Not permitted" in result["content"][0]["text"]
        assert record["decision_id"] in result["content"][0]["text"]
        assert ("resultType" in result) is (era is NEW)
        assert stub.calls == []
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "refused"


@pytest.mark.parametrize("era", ERAS)
async def test_lists_are_filtered_and_hidden_tools_do_not_exist(tmp_path: Path, era: Era) -> None:
    """`wipe` is refused whatever its arguments are: nobody sees it, and a call of it is an unknown tool."""
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        answer = await listing(one, era=era)
        assert names_of(answer) == ["read", "refund", "close"]
        assert orjson.loads(answer.body)["result"].get("cacheScope") == (
            "private" if era is NEW else "public"
        )
        for name in ("wipe", "nobody_has_it"):
            refused = await call(one, name, {}, era=era)
            assert refused.status == (400 if era is NEW else 200)
            assert error_of(refused)["code"] == -32602
            assert error_of(refused)["message"] == f"Unknown tool: {name}"
        assert stub.calls == []
        newest = await one.decisions(limit=2)
        assert [record["verdict"] for record in newest] == ["ABSTAIN", "ABSTAIN"]
        assert newest[0]["reason_codes"] == ["TOOL_UNKNOWN"]
        assert newest[0]["request"]["action"]["type"] == "mcp.shop__unknown"
        assert newest[1]["request"]["action"]["type"] == "mcp.shop_wipe"


async def test_a_list_in_a_stream_is_filtered_and_its_neighbours_pass(tmp_path: Path) -> None:
    """A notification before it passes byte for byte, wherever the stream is cut."""
    notice = b'{"jsonrpc":"2.0","method":"notifications/message","params":{ "x" : 1.0 }}'
    tools = [tool("wipe"), tool("read")]

    async def stream(wire: Wire, _: Message, message: dict[str, Any]) -> None:
        events = (
            b": hello\n\n" + sse(notice, end="\r\n") + sse(response(message, {"tools": tools}), event_id="7")
        )
        await wire.send(
            sse_head("mcp-session-id: s-1")
            + chunked(*(events[at : at + 7] for at in range(0, len(events), 7)))
        )

    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        stub.answers["tools/list"] = stream
        answer = await listing(one, era=OLD)
        assert answer.header("content-type") == "text/event-stream"
        assert answer.header("mcp-session-id") == "s-1"
        assert answer.body.startswith(b": hello\n\n" + sse(notice, end="\r\n"))
        last = answer.body.removeprefix(b": hello\n\n" + sse(notice, end="\r\n"))
        assert last.startswith(b"id: 7\nevent: message\ndata: ")
        data = orjson.loads(last.split(b"data: ")[1])
        assert [one["name"] for one in data["result"]["tools"]] == ["read"]


async def test_a_replayed_list_is_filtered_too(tmp_path: Path) -> None:
    """A client of the older revisions that goes on from an event gets no other list than the first time."""

    async def replay(wire: Wire, asked: Message, _: dict[str, Any]) -> None:
        assert asked.header("last-event-id") == "5"
        lists = sse(response({"id": 9}, {"tools": [tool("wipe"), tool("read")]}), event_id="6")
        await wire.send(sse_head() + chunked(lists))

    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        stub.answers["GET"] = replay
        async with raw_client(one.port) as client:
            await client.send(
                b"GET /mcp/shop HTTP/1.1\r\nhost: g\r\nlast-event-id: 5\r\nmcp-session-id: s\r\n\r\n"
            )
            answer = await client.read_answer()
        data = orjson.loads(answer.body.split(b"data: ")[1])
        assert [one["name"] for one in data["result"]["tools"]] == ["read"]


async def test_everything_else_passes_byte_for_byte(tmp_path: Path) -> None:
    """Requests with odd spellings, notifications, answers of clients, and the server's answers to them."""
    odd = b'{"jsonrpc" : "2.0", "id":5, "method":"resources/read", "params":{"uri":"x:y","n":1.0e2}}'
    reply = b'{"jsonrpc":"2.0","id":5,"result":{"contents":[ ],"big":123456789012345678901234567890}}'

    async def answer_odd(wire: Wire, _: Message, __: dict[str, Any]) -> None:
        await wire.send(json_answer(reply, "mcp-session-id: s-2", "set-cookie: a=b"))

    async with (
        stub_server() as stub,
        mcp_gateway(tmp_path, stub.url, server={"token": "server-token"}) as one,
    ):
        stub.answers["resources/read"] = answer_odd
        answer = await post(
            one, odd, era=OLD, headers={"authorization": "Bearer clients", "mcp-session-id": "s-2"}
        )
        assert (answer.status, answer.body) == (200, reply)
        assert answer.header("mcp-session-id") == "s-2"
        assert answer.header("set-cookie") is None
        sent = stub.requests[-1]
        assert sent.body == odd
        assert sent.start == "POST /mcp HTTP/1.1"
        assert sent.header("authorization") == "Bearer server-token"
        assert sent.header("mcp-session-id") == "s-2"
        for body in (
            b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
            b'{"jsonrpc":"2.0","id":"s-9","result":{"action":"accept","content":{}}}',
            b'{"jsonrpc":"2.0","id":"s-9","error":{"code":-32600,"message":"no"}}',
        ):
            passed = await post(one, body, era=OLD)
            assert (passed.status, passed.body) == (202, b"")
            assert stub.requests[-1].body == body
        assert await one.decisions() == []


async def test_errors_of_the_server_pass_with_their_status(tmp_path: Path) -> None:
    """A dead session is 404, and its client starts a new one; so does who finds no newer revision."""
    lost = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}'

    async def gone(wire: Wire, _: Message, __: dict[str, Any]) -> None:
        await wire.send(json_answer(lost, status="404 Not Found"))

    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        stub.answers |= {"ping": gone, "server/discover": gone, "tools/list": gone}
        for method in ("ping", "server/discover", "tools/list"):
            answer = await post(one, request(method, {}))
            assert (answer.status, answer.body) == (404, lost)


async def test_sessions_end_and_streams_open_where_the_revision_has_them(tmp_path: Path) -> None:
    """DELETE passes; on the newer revision GET and DELETE are not allowed, and nothing goes on."""
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        for method, version, status in (
            ("DELETE", "2025-11-25", 202),
            ("DELETE", "2026-07-28", 405),
            ("GET", "2026-07-28", 405),
            ("GET", "2031-01-01", 400),
            ("PUT", "2025-11-25", 405),
        ):
            async with raw_client(one.port) as client:
                head = f"{method} /mcp/shop HTTP/1.1\r\nhost: g\r\nmcp-protocol-version: {version}\r\n\r\n"
                await client.send(head.encode())
                answer = await client.read_answer()
            assert answer.status == status, method
        assert [asked.start for asked in stub.requests] == ["DELETE /mcp HTTP/1.1"]
        assert error_of(await post(one, request("ping", {}), path="/mcp/other"))["code"] == 404


@pytest.mark.parametrize("era", ERAS)
async def test_a_stream_of_a_call_passes_event_by_event(tmp_path: Path, era: Era) -> None:
    """Progress arrives before the end; after the response nothing more is waited for."""
    go_on = asyncio.Event()
    notice = sse(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}')

    async def stream(wire: Wire, _: Message, message: dict[str, Any]) -> None:
        await wire.send(sse_head())
        half = notice[:20]
        await wire.send(b"%x\r\n%b\r\n" % (len(half), half))
        await wire.send(b"%x\r\n%b\r\n" % (len(notice) - 20, notice[20:]))
        await go_on.wait()
        last = sse(response(message, {"content": [], "isError": True}))
        await wire.send(b"%x\r\n%b\r\n" % (len(last), last))
        await wire.read_all()

    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        await listing(one, era=era)
        stub.answers["tools/call"] = stream
        asking = asyncio.get_running_loop().create_task(call(one, "read", {}, era=era))
        assert await eventually(lambda: len(stub.calls) == 1)
        assert not asking.done()
        go_on.set()
        answer = await asking
        assert answer.complete
        assert answer.body.startswith(notice)
        assert answer.header("x-accel-buffering") == "no"
        [outcome] = await one.outcomes()
        assert (outcome["fate"], outcome["answer"]) == ("complete", {"tool_error": True})


async def test_an_error_of_the_server_is_a_call_that_failed(tmp_path: Path) -> None:
    """It was not carried out as asked: the fate says so, and which code it was."""
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"boom"}}'

    async def fail(wire: Wire, _: Message, __: dict[str, Any]) -> None:
        await wire.send(json_answer(error))

    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        await listing(one)
        stub.answers["tools/call"] = fail
        answer = await call(one, "read", {})
        assert answer.body == error
        [outcome] = await one.outcomes()
        assert (outcome["fate"], outcome["answer"]) == ("failed", {"rpc_error": -32603})


async def test_a_call_before_any_list_is_asked_about(tmp_path: Path) -> None:
    """The gateway reads the list itself, page by page, pins it, and lets the call go."""
    pages = {None: ("1", [tool("other")]), "1": (None, [tool("read")])}

    async def page(wire: Wire, _: Message, message: dict[str, Any]) -> None:
        cursor, tools = pages[message["params"].get("cursor")]
        more = {} if cursor is None else {"nextCursor": cursor}
        await wire.send(json_answer(response(message, {"tools": tools, **more})))

    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        stub.answers["tools/list"] = page
        answer = await call(one, "read", {})
        assert answer.status == 200
        assert len(stub.calls) == 1
        asked = [message for message in stub.messages if message["method"] == "tools/list"]
        assert all(message["id"].startswith("lumyn-list-") for message in asked)
        assert [sent.header("mcp-method") for sent in stub.requests] == [
            "tools/list",
            "tools/list",
            "tools/call",
        ]
        # Asked once: a tool that is still unknown does not become load on the server.
        assert error_of(await call(one, "nope", {}))["code"] == -32602
        assert len(stub.requests) == 3


async def test_methods_that_might_use_tools_otherwise_are_unknown(tmp_path: Path) -> None:
    """What nobody has decided does not pass because it has another name."""
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        for era, status in ((NEW, 404), (OLD, 200)):
            answer = await post(one, request("tools/run", {"name": "refund"}, era=era), era=era)
            assert (answer.status, error_of(answer)["code"]) == (status, -32601)
        assert stub.requests == []


async def test_advisory_mode_lets_policies_pass_and_not_contradictions(tmp_path: Path) -> None:
    """A refused amount goes on and is recorded as what it is; a header that lies does not."""
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url, policy={"mode": "advisory"}) as one:
        assert names_of(await listing(one)) == ["read", "refund", "close", "wipe"]
        assert (await call(one, "refund", {"amount": 5000})).status == 200
        assert len(stub.calls) == 1
        [record, *_] = await one.decisions()
        assert (record["verdict"], record["policy"]["mode"]) == ("ABSTAIN", "advisory")
        assert (await call(one, "refund", {"amount": 5}, headers={"mcp-name": "read"})).status == 400
        assert len(stub.calls) == 1
