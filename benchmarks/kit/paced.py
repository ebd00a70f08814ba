"""A backend that streams at a pace: each event carries the instant at which it was written.

Run as `python -m benchmarks.kit.paced`; prints its port. The body's `api` says in which shape it answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import uvloop
from aiohttp import web

EVENTS = 40
PACE_S = 0.005


def event(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def said(path: str, number: int) -> bytes:
    """A piece of text in the shape of the API, with the time in it."""
    text = f"<{time.perf_counter_ns()}>"
    if path.endswith("/messages"):
        kind = "content_block_delta"
        return event({"type": kind, "index": 0, "delta": {"type": "text_delta", "text": text}}, kind)
    if path.endswith("/responses"):
        kind = "response.output_text.delta"
        facts = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text}
        return event({"type": kind, "sequence_number": number, **facts}, kind)
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": [choice]}
    )


def ending(path: str) -> bytes:
    """The last event."""
    if path.endswith("/messages"):
        return event({"type": "message_stop"}, "message_stop")
    if path.endswith("/responses"):
        return event({"type": "response.completed", "response": {"output": []}}, "response.completed")
    return b"data: [DONE]\n\n"


async def answer(request: web.Request) -> web.StreamResponse:
    await request.read()
    stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await stream.prepare(request)
    for number in range(EVENTS):
        await asyncio.sleep(PACE_S)
        await stream.write(said(request.path, number))
    await stream.write(ending(request.path))
    return stream


async def models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "bench", "object": "model"}]})


async def main() -> None:
    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
