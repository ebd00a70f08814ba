"""The floor that the gateway is measured against: aiohttp's server and client, uvloop, nothing else.

It passes method, path, end-to-end headers and body on, and the answer back, and looks at nothing.

Run as `python -m benchmarks.kit.passthrough UPSTREAM_URL`; prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

import aiohttp
import uvloop
from aiohttp import web

_OWN = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"})


def passed(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the end-to-end headers: without them nothing is passed through."""
    return [(name, value) for name, value in headers.items() if name.lower() not in _OWN]


async def main(upstream: str) -> None:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)

    async def relay(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        url = upstream + request.path_qs
        async with session.request(request.method, url, data=body, headers=passed(request.headers)) as answer:
            headers = passed(answer.headers)
            if answer.content_type != "text/event-stream":
                return web.Response(status=answer.status, body=await answer.read(), headers=headers)
            stream = web.StreamResponse(status=answer.status, headers=headers)
            await stream.prepare(request)
            async for chunk in answer.content.iter_any():
                await stream.write(chunk)
            await stream.write_eof()
            return stream

    runner = web.ServerRunner(web.Server(relay, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
