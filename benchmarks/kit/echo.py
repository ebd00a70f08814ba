"""The floor of `POST /v0/decide`: a bare aiohttp server that reads JSON and answers JSON. Prints its port."""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web


async def main() -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(await request.json())

    runner = web.ServerRunner(web.Server(echo, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
