"""`POST /v0/decide` against a bare aiohttp JSON echo, in one run.

    python -m benchmarks.decide_http

Each decision is committed (fsync) before it is answered; the two take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
from pathlib import Path

import uvloop

from benchmarks.kit.load import Run, load
from benchmarks.kit.processes import echo, gateway, upstream

CONNECTIONS = 32
ROUNDS = 5
SECONDS = 1.0
BODY = json.dumps(
    json.loads(Path(__file__).parents[1].joinpath("examples/refund.json").read_bytes()),  # noqa: TID251 - our own file
    separators=(",", ":"),
).encode()


def run(port: int) -> Run:
    """Load one server for a turn."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load(port, connections=CONNECTIONS, seconds=SECONDS, body=BODY, path="/v0/decide"))


def main() -> None:
    """Measure and print."""
    rates: dict[str, list[float]] = {"echo": [], "decide": []}
    errors = 0
    with contextlib.ExitStack() as running:
        origin = running.enter_context(upstream())
        ports = {
            "echo": running.enter_context(echo())[0],
            "decide": running.enter_context(gateway(origin))[0],
        }
        for _ in range(ROUNDS):
            for name, port in ports.items():
                turn = run(port)
                rates[name].append(turn.rate)
                errors += turn.errors
    floor, ours = (statistics.median(rates[name]) for name in ("echo", "decide"))
    print(f"JSON echo {floor:,.0f}/s, /v0/decide {ours:,.0f}/s, ratio {ours / floor:.2f}, errors {errors}")


if __name__ == "__main__":
    main()
