"""Small loads and scripted gateways for the load kit: a few requests within a second, no simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from controller.evaluate.arms.data import Spans
from loadtest import world
from loadtest.schedule import Load, Schedule, make_schedule
from tests.kit.rawpeer import Message, Script, Wire, chunked

SPANS = Spans(0.1, 0.2, 0.1)
LOAD = Load("spike", SPANS, 3.0, 10.0, 0.0, world.kinds(), world.MAX_TOKENS)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
WORD = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
OWN = b"x-lumyn-decision-id: D1\r\nx-lumyn-model: llama-8b\r\nx-lumyn-actions: MODEL_SWITCHED\r\n"


def schedule(seed: int = 1, tools_rps: float = 0.0, **fields: Any) -> Schedule:
    """Return a schedule of a handful of requests within half a second."""
    values = {name: getattr(LOAD, name) for name in Load.__slots__} | {"tools_rps": tools_rps, **fields}
    return make_schedule(Load(**values), seed)


def streamed(*, own: bytes = OWN, events: tuple[bytes, ...] = (WORD, WORD, USAGE, DONE)) -> bytes:
    """Return a whole streamed answer, with the end of its last chunk."""
    return HEAD + own + b"\r\n" + chunked(*events)


def refused(status: int, code: str, **headers: str) -> bytes:
    """Return an error of the gateway."""
    body = orjson.dumps({"error": {"code": code}})
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} No\r\ncontent-length: {len(body)}\r\n{lines}"
    return head.encode() + b"x-lumyn-decision-id: D2\r\nx-lumyn-actions: SHED\r\n\r\n" + body


def plain(value: Mapping[str, Any], status: int = 200) -> bytes:
    """Return an answer in JSON."""
    body = orjson.dumps(value)
    return b"HTTP/1.1 %d OK\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


def answering(answer: Callable[[Message], bytes | None]) -> Script:
    """Return a server's script: it answers each request of a connection; None leaves it waiting."""

    async def script(wire: Wire) -> None:
        while True:
            said = answer(await wire.read_request())
            if said is None:
                await wire.closed()
                return
            await wire.send(said)

    return script
