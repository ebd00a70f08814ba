"""The unmodified `openai` client against a whole gateway with the embedded simulated llm-d."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from tests.kit.gateways import RunningGateway, eventually, running_gateway
from tests.kit.rawpeer import Wire, raw_server

ROOT = Path(__file__).resolve().parents[2]
HELLO: Any = [{"role": "user", "content": "hello there"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "refund",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
    },
}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway with the embedded simulator."""
    async with running_gateway(tmp_path) as one:
        yield one


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    """The client, with nothing changed but its base URL."""
    async with AsyncOpenAI(base_url=gateway.url, api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture
async def admin(gateway: RunningGateway) -> AsyncIterator[aiohttp.ClientSession]:
    """A session on the admin listener."""
    async with aiohttp.ClientSession(gateway.admin_url) as one:
        yield one


@pytest.fixture
async def model(client: AsyncOpenAI) -> str:
    """The first model that is listed."""
    names = [listed.id async for listed in client.models.list()]
    assert len(names) > 1, "the simulator serves several models"
    return names[0]


async def listed(admin: aiohttp.ClientSession, **wanted: str) -> Any:
    """Return a page of the listing."""
    async with admin.get("/admin/decisions", params=wanted) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def shown(admin: aiohttp.ClientSession, decision_id: str) -> Any:
    """Return one record with its events."""
    async with admin.get(f"/admin/decisions/{decision_id}") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_chat(client: AsyncOpenAI, gateway: RunningGateway, model: str, admin: Any) -> None:
    """A chat request is answered, and its record with its outcome stands under /admin/decisions."""
    raw = await client.chat.completions.with_raw_response.create(model=model, messages=HELLO, max_tokens=8)
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert raw.headers["x-lumyn-verdict"] == "TRUST"
    assert float(raw.headers["x-lumyn-overhead-ms"]) > 0
    await gateway.outcomes()
    record = await shown(admin, raw.headers["x-lumyn-decision-id"])
    assert record["verdict"] == "TRUST"
    assert record["reason_codes"] == ["LLM_REQUEST_OK"]
    assert record["request"]["evidence"]["max_tokens"] == 8
    [event] = record["decision_event_log"]
    assert event["type"] == "outcome"
    assert event["data"]["fate"] == "complete"
    assert event["data"]["usage"]["completion_tokens"] == answer.usage.completion_tokens
    assert "hello there" not in str(record)


async def test_streamed_chat(client: AsyncOpenAI, gateway: RunningGateway, model: str) -> None:
    """A stream arrives chunk by chunk to its end, with the usage chunk that was asked for."""
    stream = await client.chat.completions.create(
        model=model, messages=HELLO, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert chunks[-1].usage is not None
    [outcome] = await gateway.outcomes()
    assert outcome["fate"] == "complete"
    assert outcome["usage"]["completion_tokens"] == chunks[-1].usage.completion_tokens
    assert outcome["ttft_us"] > 0


async def test_tools(client: AsyncOpenAI, gateway: RunningGateway, model: str) -> None:
    """Tools pass to the backend, and their count, not their content, into the record."""
    answer = await client.chat.completions.create(
        model=model, messages=HELLO, tools=[TOOL], tool_choice="required", max_tokens=32
    )
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert calls[0].function.name == "refund"  # type: ignore[union-attr]
    [record] = await gateway.decisions(limit=1)
    assert record["request"]["evidence"]["tools_count"] == 1


async def test_completions_and_embeddings(client: AsyncOpenAI, gateway: RunningGateway, model: str) -> None:
    """The two other routes are answered and decided under their own action types."""
    completion = await client.completions.create(model=model, prompt="once upon", max_tokens=4)
    assert completion.choices[0].text
    embedding = await client.embeddings.create(model=model, input=["a", "b"])
    assert len(embedding.data) == 2
    types = [record["request"]["action"]["type"] for record in await gateway.decisions(limit=2)]
    assert types == ["llm.embedding", "llm.completion"]


async def test_models(client: AsyncOpenAI, gateway: RunningGateway, model: str) -> None:
    """The list and a single model are answered, and recorded like anything else."""
    assert (await client.models.retrieve(model)).id == model
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nobody")
    assert {record["request"]["action"]["type"] for record in await gateway.decisions()} == {"llm.models"}


async def test_every_request_is_listed_newest_first(client: AsyncOpenAI, model: str, admin: Any) -> None:
    """The listing holds each request once; filters narrow it, the cursor walks it without gap or repeat."""
    for number in range(5):
        await client.chat.completions.create(
            model=model, messages=HELLO, max_tokens=2, extra_headers={"x-request-id": f"walk-{number}"}
        )
    walked: list[str] = []
    cursor = {}
    while True:
        page = await listed(admin, limit="2", action_type="llm.chat_completion", **cursor)
        walked += [record["trace"]["correlation_id"] for record in page["decisions"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert walked == [f"walk-{number}" for number in reversed(range(5))]
    assert len((await listed(admin, model=model))["decisions"]) == 5
    assert (await listed(admin, model="other"))["decisions"] == []
    assert (await listed(admin, verdict="ABSTAIN"))["decisions"] == []
    assert len((await listed(admin, verdict="TRUST", request_id="walk-3"))["decisions"]) == 1
    assert (await listed(admin, tenant="acme"))["decisions"] == []
    assert (await listed(admin, until="2020-01-01T00:00:00Z"))["decisions"] == []
    assert len((await listed(admin, since="2020-01-01T00:00:00+01:00"))["decisions"]) >= 5


@pytest.mark.parametrize(
    "query",
    [
        "verdict=MAYBE",
        "limit=0",
        "limit=501",
        "limit=000000000000499",
        "limit=x",
        "since=yesterday",
        "cursor=nonsense",
        "colour=red",
        "limit=1&limit=2",
        "&".join(["limit=1"] * 101),
    ],
)
async def test_a_wrong_listing_is_refused(admin: aiohttp.ClientSession, query: str) -> None:
    """A parameter that is wrong, unknown or given twice is 422 in the one error shape."""
    async with admin.get(f"/admin/decisions?{query}") as answer:
        body = await answer.json()
        assert answer.status == 422, body
        assert set(body) == {"detail", "reason_code", "pointer", "request_id"}


async def test_metrics_move(client: AsyncOpenAI, gateway: RunningGateway, model: str, admin: Any) -> None:
    """A request is counted under its operation, verdict and fate, with its tokens."""
    await client.chat.completions.create(model=model, messages=HELLO, max_tokens=4)
    await gateway.outcomes()
    async with admin.get("/metrics") as answer:
        text = await answer.text()
    wanted = (
        'lumyn_requests_total{error="",fate="complete",operation="llm.chat_completion",verdict="TRUST"} 1.0'
    )
    assert wanted in text
    assert f'gen_ai_token_type="output",le="4.0"' in text  # noqa: F541
    assert f'gen_ai_request_model="{model}"' in text
    assert "lumyn_store_ready 1.0" in text


async def test_request_ids(client: AsyncOpenAI, gateway: RunningGateway, model: str, tmp_path: Path) -> None:
    """An `x-request-id` is accepted, echoed and recorded; an unsafe one is replaced, never repeated."""
    raw = await client.chat.completions.with_raw_response.create(
        model=model, messages=HELLO, max_tokens=2, extra_headers={"x-request-id": "abc-1"}
    )
    assert raw.headers["x-request-id"] == "abc-1"
    [record] = await gateway.decisions(limit=1)
    assert record["trace"]["correlation_id"] == "abc-1"
    raw = await client.chat.completions.with_raw_response.create(
        model=model, messages=HELLO, max_tokens=2, extra_headers={"x-request-id": "a b<script>"}
    )
    assert "script" not in raw.headers["x-request-id"]


async def test_the_request_id_and_the_trace_are_forwarded(tmp_path: Path) -> None:
    """What correlates a request reaches the backend; what is ours alone does not."""
    seen: list[dict[str, str]] = []

    async def script(wire: Wire) -> None:
        seen.append(dict((await wire.read_request()).headers))
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with raw_server(script) as backend, running_gateway(tmp_path, backend_url=backend.url) as one:
        async with AsyncOpenAI(base_url=one.url, api_key="none", max_retries=0) as client:
            await client.chat.completions.create(
                model="test-model",
                messages=HELLO,
                extra_headers={"x-request-id": "abc-2", "traceparent": trace, "x-lumyn-intent": "x"},
            )
        [record] = await one.decisions()
    headers = {name.lower(): value for name, value in seen[0].items()}
    assert headers["x-request-id"] == "abc-2"
    assert headers["traceparent"] == trace
    assert "x-lumyn-intent" not in headers
    assert record["trace"] == {"correlation_id": "abc-2", "span_id": trace}


async def test_an_unknown_model(client: AsyncOpenAI, model: str, gateway: RunningGateway) -> None:
    """A model that nobody serves is 404 with OpenAI's code, names those there are, and leaves no record."""
    before = len(await gateway.decisions())
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="nobody", messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert model in caught.value.message
    assert len(await gateway.decisions()) == before


async def test_a_policy_refusal(client: AsyncOpenAI, model: str, gateway: RunningGateway) -> None:
    """More tokens than the pack allows is 403 `policy_denied` with the reason code, recorded as refused."""
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await client.chat.completions.create(model=model, messages=HELLO, max_tokens=131_073)
    assert caught.value.type == "policy_denied"
    assert caught.value.code == "LLM_TOKENS_OVER_LIMIT"
    assert caught.value.response.headers["x-lumyn-verdict"] == "ABSTAIN"
    [outcome] = await gateway.outcomes()
    assert outcome["fate"] == "refused"
    assert "backend" not in outcome


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 422, None),
        (b"{}", 422, "model"),
        (b'{"model":"MODEL"}', 422, "messages"),
        (b'{"model":"MODEL","messages":"hi"}', 422, "messages"),
        (b'{"model":"MODEL","messages":[{}]}', 422, "messages[0].role"),
        (b'{"model":"MODEL","messages":[{"role":"user"}],"max_tokens":-1}', 422, "max_tokens"),
        (b'{"model":"MODEL","messages":[{"role":"user"}],"max_tokens":9007199254740993}', 422, "max_tokens"),
        (b'{"model":"MODEL","messages":[{"role":"user"}],"stream":"yes"}', 422, "stream"),
    ],
)
async def test_bad_bodies(gateway: RunningGateway, model: str, body: bytes, status: int, param: str) -> None:
    """A body that is no request says which field and why, in OpenAI's shape; nothing is recorded."""
    before = len(await gateway.decisions())
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{gateway.url}/chat/completions",
            data=body.replace(b"MODEL", model.encode()),
            headers={"content-type": "application/json"},
        ) as answer,
    ):
        error = (await answer.json())["error"]
        assert answer.status == status
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"
        assert answer.headers["x-should-retry"] == "false"
    assert len(await gateway.decisions()) == before


async def test_a_store_failure_forwards_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the record cannot be committed the caller gets 503 and the backend hears nothing."""
    seen: list[str] = []

    async def script(wire: Wire) -> None:
        seen.append((await wire.read_request()).start)
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with raw_server(script) as backend, running_gateway(tmp_path, backend_url=backend.url) as one:

        async def commit(_: object) -> None:
            from gateway.store.writer import CommitError

            raise CommitError("disk full", fatal=False)

        driver = one.store._driver  # type: ignore[attr-defined]
        monkeypatch.setattr(driver, "commit", commit)
        monkeypatch.setattr(driver, "probe", commit_never)
        async with AsyncOpenAI(base_url=one.url, api_key="none", max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                await client.chat.completions.create(model="test-model", messages=HELLO)
        assert caught.value.status_code == 503
        assert caught.value.code == "STORAGE_UNAVAILABLE"
        assert caught.value.response.headers["x-should-retry"] == "true"
        async with aiohttp.ClientSession(one.admin_url) as session:
            async with session.get("/health/ready") as answer:
                assert answer.status == 503
            async with session.get("/health/live") as answer:
                assert answer.status == 200
        monkeypatch.undo()
        assert await eventually(lambda: one.store.health().ready, within_s=5)
    assert seen == []


async def commit_never() -> None:
    """A probe that finds the fault still there."""
    from gateway.store.writer import CommitError

    raise CommitError("disk full", fatal=False)


def lumyn(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `lumyn serve` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", "serve", "--port", "0", "--admin-port", "0", *arguments],
        cwd=ROOT,
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_bad_policy_file_stops_the_start(tmp_path: Path) -> None:
    """`serve` refuses a policy that is wrong, with line and column, and exit code 2."""
    policy = tmp_path / "policy.yml"
    policy.write_text("schema_version: policy.v0\nrules:\n  - id: a\n    then: {verdict: MAYBE}\n")
    done = lumyn(LUMYN_POLICY_PATH=str(policy), LUMYN_STORAGE_URL=f"sqlite:{tmp_path}/l.db")
    assert done.returncode == 2
    assert "line 4, column" in done.stderr
    assert not (tmp_path / "l.db").exists()


def test_a_missing_policy_file_stops_the_start(tmp_path: Path) -> None:
    """A policy that is nowhere is named, and nothing starts."""
    done = lumyn(LUMYN_POLICY_PATH=f"{tmp_path}/none.yml", LUMYN_STORAGE_URL=f"sqlite:{tmp_path}/l.db")
    assert done.returncode == 2
    assert "policy not found" in done.stderr


def test_a_database_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """A place where no database can be made is one clear line, and nothing starts."""
    (tmp_path / "file").write_text("in the way")
    done = lumyn(LUMYN_STORAGE_URL=f"sqlite:{tmp_path}/file/lumyn.db")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
