"""What the gate of tool calls adds to streams that have none, against a bare pass-through: first token, gaps.

    python -m benchmarks.toolgate [--streams 8] [--rounds 3] [--json]

The backend writes the time into each piece of text, and generator and backend share one clock, so that the
delay of each event on its way is measured alone. Pass-through, gateway without gate and gateway with it take
turns. `ttft` is from the request to the first piece; a gap is from one piece to the next.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import statistics
import time
from dataclasses import dataclass, field

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.kit.processes import gateway, paced, passthrough

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
TOOLS = "tools: [{name: refund, action: shop.refund}]\n"
_STAMP = re.compile(rb"<(\d+)>")


@dataclass
class Seen:
    """Of all streams of one place, in seconds."""

    ttft: list[float] = field(default_factory=list)
    delay: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)


def body(path: str) -> dict[str, object]:
    messages = [{"role": "user", "content": "Say hello."}]
    if path.endswith("/responses"):
        return {"model": "bench", "input": "Say hello.", "stream": True}
    return {"model": "bench", "messages": messages, "max_tokens": 64, "stream": True}


async def one_stream(session: aiohttp.ClientSession, url: str, path: str, seen: Seen) -> None:
    began = time.perf_counter_ns()
    last = None
    async with session.post(url + path, json=body(path)) as answer:
        assert answer.status == 200, await answer.text()
        async for chunk in answer.content.iter_any():
            now = time.perf_counter_ns()
            for match in _STAMP.finditer(chunk):
                seen.delay.append((now - int(match[1])) / 1e9)
                if last is None:
                    seen.ttft.append((now - began) / 1e9)
                else:
                    seen.gap.append((now - last) / 1e9)
                last = now


async def run(port: int, path: str, streams: int, seen: Seen) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        url = f"http://127.0.0.1:{port}"
        await asyncio.gather(*(one_stream(session, url, path, seen) for _ in range(streams)))


def measure(places: dict[str, int], path: str, streams: int, rounds: int) -> dict[str, Seen]:
    """Let the places take turns."""
    seen = {name: Seen() for name in places}
    for turn in range(rounds + 1):
        for name, port in places.items():
            uvloop.run(run(port, path, streams, seen[name] if turn else Seen()))
    return seen


def row(api: str, seen: dict[str, Seen]) -> dict[str, object]:
    """Return one line: medians in milliseconds, and what each gateway adds to the pass-through."""

    def ms(values: list[float]) -> float:
        return round(statistics.median(values) * 1000, 3)

    floor = seen["pass-through"]
    line: dict[str, object] = {"api": api, "passthrough_delay_ms": ms(floor.delay)}
    for name in ("gateway", "gate"):
        own = seen[name]
        line[f"{name}_added_ttft_ms"] = round(ms(own.ttft) - ms(floor.ttft), 3)
        line[f"{name}_added_delay_ms"] = round(ms(own.delay) - ms(floor.delay), 3)
        line[f"{name}_added_gap_ms"] = round(ms(own.gap) - ms(floor.gap), 3)
    return line


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--streams", type=int, default=8, help="streams at a time")
    options.add_argument("--rounds", type=int, default=3, help="turns of each place")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = options.parse_args()
    with contextlib.ExitStack() as running:
        origin = running.enter_context(paced())
        places = {
            "pass-through": running.enter_context(passthrough(origin))[0],
            "gateway": running.enter_context(gateway(origin))[0],
            "gate": running.enter_context(gateway(origin, config=TOOLS))[0],
        }
        rows = [row(api, measure(places, path, chosen.streams, chosen.rounds)) for api, path in PATHS.items()]
    if chosen.json:
        print(json.dumps(rows))
        return
    drawn = Table(title="medians; added to a bare aiohttp pass-through")
    for name in rows[0]:
        drawn.add_column(name.replace("_", " "), justify="right")
    for line in rows:
        drawn.add_row(*map(str, line.values()))
    Console(width=160).print(drawn)


if __name__ == "__main__":
    main()
