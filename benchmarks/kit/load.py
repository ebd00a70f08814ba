"""A closed loop of raw connections: each sends its next request when the last answer is whole."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import cast

PLAIN = json.dumps(
    {
        "model": "bench",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Say hello to the people who wait for their answers, please."},
        ],
        "max_tokens": 64,
    },
    separators=(",", ":"),
).encode()
STREAMED = PLAIN[:-1] + b',"stream":true}'


CLIENT_HEADERS = "".join(
    f"{name}: {value}\r\n"
    for name, value in {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Connection": "keep-alive",
        "User-Agent": "AsyncOpenAI/Python 3.52.0",
        "Content-Type": "application/json",
        "X-Stainless-Lang": "python",
        "X-Stainless-Package-Version": "3.52.0",
        "X-Stainless-OS": "Linux",
        "X-Stainless-Arch": "x64",
        "X-Stainless-Runtime": "CPython",
        "X-Stainless-Runtime-Version": "3.11.7",
        "Authorization": "Bearer sk-benchmark",
        "X-Stainless-Async": "async:asyncio",
        "x-stainless-retry-count": "0",
        "x-stainless-read-timeout": "600",
    }.items()
)
"""What the official client sends with each request, in its order: headers cost every hop."""


@dataclass
class Run:
    """What a run came to. Latencies in seconds."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


class Asker(asyncio.Protocol):
    """One connection in the loop."""

    def __init__(self, request: bytes, run: Run, until: float) -> None:
        self.request, self.run, self.until = request, run, until
        self.done = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        self.buffer = b""
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.whole():
            return
        now = time.perf_counter()
        if self.buffer.startswith(b"HTTP/1.1 200"):
            self.run.latencies.append(now - self.began)
        else:
            self.run.errors += 1
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def whole(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        if at < 0:
            return self.buffer.endswith(b"0\r\n\r\n")
        return len(self.buffer) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if time.perf_counter() < self.until:
            self.run.errors += 1
        if not self.done.done():
            self.done.set_result(None)


async def load(
    port: int, *, connections: int, seconds: float, body: bytes, path: str = "/v1/chat/completions"
) -> Run:
    """Load `port` and return what came of it."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{CLIENT_HEADERS}"
    request = head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
    run = Run(seconds)
    until = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    askers = [Asker(request, run, until) for _ in range(connections)]
    for asker in askers:
        await loop.create_connection(lambda asker=asker: asker, "127.0.0.1", port)
    await asyncio.gather(*(asker.done for asker in askers))
    return run
