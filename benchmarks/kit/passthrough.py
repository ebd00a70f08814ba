"""The floor that the gateway is measured against: aiohttp's server and client, uvloop, nothing else.

Run as `python -m benchmarks.kit.passthrough UPSTREAM_URL`; prints its port.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web


async def main(upstream: str) -> None:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)

    async def relay(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {"content-type": "application/json"}
        async with session.request(
            request.method, upstream + request.path, data=body, headers=headers
        ) as answer:
            if answer.content_type != "text/event-stream":
                return web.Response(
                    status=answer.status, body=await answer.read(), content_type=answer.content_type
                )
            stream = web.StreamResponse(status=answer.status, headers={"content-type": "text/event-stream"})
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
