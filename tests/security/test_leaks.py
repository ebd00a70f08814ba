"""Secrets go where they must and nowhere else: canaries through good and failing requests.

Each canary is a word that occurs nowhere else. After the traffic no log line, metric, error body, admin
answer or byte of the database may hold it, and the backend got exactly what it had to get.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import orjson
import pytest

from gateway.telemetry.log import LOG, JsonFormatter
from tests.kit.gateways import MODEL, RunningGateway, eventually, running_gateway
from tests.kit.rawpeer import Message, Wire, post, raw_client, raw_server

CREDENTIAL = "canary-credential-7f3a"
BACKEND_KEY = "canary-backend-key-51c2"
COOKIE = "canary-cookie-0e9d"
MESSAGE = "canary-message-4b8e"
SYSTEM = "canary-system-a1d0"
TOOL = "canary-tool-arguments-66f1"
ANSWER = "canary-answer-93bd"
BACKEND_ERROR = "canary-backend-error-2c4f"
QUERY = "canary-query-b7e5"
METADATA = "canary-metadata-18aa"
CANARIES = (CREDENTIAL, BACKEND_KEY, COOKIE, MESSAGE, SYSTEM, TOOL, ANSWER, BACKEND_ERROR, QUERY, METADATA)

CALL = {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": f'{{"note":"{TOOL}"}}'}}
BODY = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": MESSAGE},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": TOOL},
    ],
    "user": METADATA,
    "metadata": {"note": METADATA},
    "tools": [{"type": "function", "function": {"name": "refund", "description": TOOL}}],
}
PATH = f"/v1/chat/completions?key={QUERY}"
GOOD = orjson.dumps({"choices": [{"message": {"content": ANSWER}}], "usage": {"prompt_tokens": 1}})
STREAM = f'data: {{"choices":[{{"delta":{{"content":"{ANSWER}"}}}}]}}\n\n'.encode()
HEADERS = (f"authorization: Bearer {CREDENTIAL}", f"cookie: session={COOKIE}", f"x-api-key: {CREDENTIAL}")


def plain(status: int, body: bytes) -> bytes:
    """A backend's answer with a length."""
    return (
        b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        + body
    )


ANSWERS = {
    "good": plain(200, GOOD),
    "error": plain(500, orjson.dumps({"error": {"message": BACKEND_ERROR}})),
    "cut": plain(200, GOOD)[:-5],
    "cut stream": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + STREAM,
    "garbage": f"{BACKEND_ERROR}\r\n\r\n".encode(),
    "bad header": f"HTTP/1.1 200 OK\r\nx-secret: {BACKEND_ERROR}\x00\r\n\r\n".encode(),
    "silence": b"",
}
HEAD = f"POST {PATH} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {CREDENTIAL}\r\n".encode()
BAD_REQUESTS = {
    "no JSON": post(PATH, f'{{"model": "{MODEL}", "messages": "{MESSAGE}" oops'.encode(), *HEADERS),
    "wrong type": post(PATH, orjson.dumps(BODY | {"messages": MESSAGE}), *HEADERS),
    "wrong field": post(PATH, orjson.dumps(BODY | {"max_tokens": TOOL}), *HEADERS),
    "bad role": post(PATH, orjson.dumps(BODY | {"messages": [{"role": 1, "content": MESSAGE}]}), *HEADERS),
    "wrong media type": post(PATH, orjson.dumps(BODY), *HEADERS, media="text/plain"),
    "unknown path": post(f"/v1/nothing?key={QUERY}", orjson.dumps(BODY), *HEADERS),
    "broken chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n" + MESSAGE.encode() + b"\r\n",
    "broken header": HEAD + f"x-secret : {COOKIE}\r\n\r\n".encode(),
    "header with NUL": HEAD + f"x-secret: {COOKIE}\x00\r\n\r\n".encode(),
    "imitated header": HEAD + f"content_length: {COOKIE}\r\n\r\n".encode(),
    "two hosts": HEAD + b"host: h\r\n\r\n",
    "garbage": f"{MESSAGE} {COOKIE}\r\n\r\n".encode(),
    "not v1": post(f"/v0/decide?key={QUERY}", orjson.dumps({"subject": MESSAGE}), *HEADERS),
}


class Lines(logging.Handler):
    """Keeps what every logger said, as text and as the gateway's own format would print it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.text += [logging.Formatter().format(record), JsonFormatter().format(record)]


@pytest.fixture
def lines() -> Lines:
    """Listen to every logger at its most talkative."""
    handler = Lines()
    loggers = [logging.getLogger(), LOG, logging.getLogger("asyncio"), logging.getLogger("aiohttp")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield handler  # type: ignore[misc]
    logging.getLogger().removeHandler(handler)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


async def ask(gateway: RunningGateway, data: bytes) -> bytes:
    """One request on a connection of its own; all that comes back."""
    async with raw_client(gateway.port) as client:
        await client.send(data)
        try:
            answer = await client.read_answer()
        except EOFError:
            return b""
        return answer.head + answer.body


async def fetch(port: int, path: str) -> bytes:
    """An admin answer."""
    async with raw_client(port) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n".encode())
        return await client.read_all()


async def traffic(gateway: RunningGateway, script: dict[str, bytes]) -> list[bytes]:
    """Send every good and bad request; return what our own errors said."""
    errors = [await ask(gateway, data) for data in BAD_REQUESTS.values()]
    for name, says in ANSWERS.items():
        script["says"] = says
        back = await ask(gateway, post(PATH, orjson.dumps(BODY), *HEADERS))
        if name not in {"good", "error", "cut", "cut stream"}:
            errors.append(back)
    script["says"] = b""
    async with raw_client(gateway.port) as client:  # and one that leaves
        await client.send(post(PATH, orjson.dumps(BODY), *HEADERS))
        await asyncio.sleep(0.02)
        client.reset()
    await eventually(lambda: gateway.gateway._data.in_flight == 0)  # type: ignore[union-attr]
    return errors


async def test_no_secret_is_found_where_it_does_not_belong(tmp_path: Path, lines: Lines) -> None:
    """After good and failing traffic no canary is in a log, a metric, an error, a listing or the database."""
    script = {"says": ANSWERS["good"]}
    seen: list[Message] = []

    async def converse(wire: Wire) -> None:
        seen.append(await wire.read_request())
        await wire.send(script["says"])

    async with raw_server(converse) as backend:
        settings = {
            "backends": [{"name": "raw", "url": backend.url, "api_key": BACKEND_KEY}],
            "models": [{"name": MODEL, "backend": "raw"}],
            "limits": {"first_byte_s": 0.2, "idle_s": 0.2, "body_deadline_s": 0.2, "header_deadline_s": 0.2},
            "log": {"level": "debug", "decisions": True},
        }
        async with running_gateway(tmp_path, **settings) as gateway:
            errors = await traffic(gateway, script)
            records = await gateway.decisions()
            await gateway.outcomes(count=len(records))
            pages = [
                await fetch(gateway.admin_port, path) for path in ("/admin/decisions?limit=500", "/metrics")
            ]
            pages += [
                await fetch(gateway.admin_port, f"/admin/decisions/{record['decision_id']}")
                for record in records
            ]
            pages.append(await fetch(gateway.admin_port, f"/admin/{QUERY}?x={QUERY}"))

    assert len(records) == len(ANSWERS) + 1
    assert b"lumyn_requests" in pages[1]
    assert any("exchange" in line for line in lines.text)
    places = {
        "log": "\n".join(lines.text).encode(),
        "errors": b"".join(errors),
        "admin": b"".join(pages),
        "database": b"".join(path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()),
    }
    assert MODEL.encode() in places["database"]  # the search does find what is there
    found = [
        (place, canary) for place, text in places.items() for canary in CANARIES if canary.encode() in text
    ]
    assert found == []


async def test_the_backend_gets_what_it_must_and_no_more(tmp_path: Path) -> None:
    """The body arrives byte for byte, the backend's own key replaces the client's, and the query stays."""
    seen: list[Message] = []

    async def converse(wire: Wire) -> None:
        seen.append(await wire.read_request())
        await wire.send(ANSWERS["good"])

    async with raw_server(converse) as backend:
        backends = [{"name": "raw", "url": backend.url, "api_key": BACKEND_KEY}]
        models = [{"name": MODEL, "backend": "raw"}]
        async with running_gateway(tmp_path, backends=backends, models=models) as gateway:
            assert ANSWER.encode() in await ask(gateway, post(PATH, orjson.dumps(BODY), *HEADERS))
    [message] = seen
    assert message.body == orjson.dumps(BODY)
    assert [value for name, value in message.headers if name == "authorization"] == [f"Bearer {BACKEND_KEY}"]
    assert not any(canary.encode() in message.head for canary in (QUERY, CREDENTIAL, COOKIE))
