"""The whole gateway against no gateway and against a bare aiohttp pass-through, in one run.

    python -m benchmarks.gateway [--seconds 2] [--rounds 3] [--json]

The three take turns, so that a noisy machine is noisy to all of them; what counts is the ratio. Each
request through the gateway is decided and its record committed (fsync) before it is forwarded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
from dataclasses import dataclass

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.kit.load import PLAIN, STREAMED, Run, load
from benchmarks.kit.processes import cpu_seconds, gateway, passthrough, resident_mb, upstream

CONNECTIONS = (1, 32, 128)
BODIES = {"plain": PLAIN, "streamed": STREAMED}
WARM_UP_S = 0.5


@dataclass
class Place:
    """One thing that is measured."""

    name: str
    port: int
    pid: int | None


@dataclass
class Cell:
    """The runs of one place under one load."""

    runs: list[Run]
    cpu_s: list[float]

    def rate(self) -> float:
        return statistics.median(run.rate for run in self.runs)

    def percentile_ms(self, share: float) -> float:
        return statistics.median(run.percentile(share) for run in self.runs) * 1000

    def cpu_us(self) -> float:
        each = [
            used / max(len(run.latencies), 1) * 1e6 for used, run in zip(self.cpu_s, self.runs, strict=True)
        ]
        return statistics.median(each)

    def errors(self) -> int:
        return sum(run.errors for run in self.runs)


def measure(
    places: list[Place], kind: str, connections: int, *, rounds: int, seconds: float
) -> dict[str, Cell]:
    """Let the places take turns under one load."""
    cells = {place.name: Cell([], []) for place in places}
    for _ in range(rounds):
        for place in places:
            before = cpu_seconds(place.pid) if place.pid else 0.0
            run = asyncio.Runner(loop_factory=uvloop.new_event_loop)
            with run:
                result = run.run(
                    load(place.port, connections=connections, seconds=seconds, body=BODIES[kind])
                )
            cells[place.name].runs.append(result)
            cells[place.name].cpu_s.append((cpu_seconds(place.pid) if place.pid else 0.0) - before)
    return cells


def row(kind: str, connections: int, cells: dict[str, Cell]) -> dict[str, object]:
    """Return one line of the table as plain values."""
    direct, floor, ours = cells["direct"], cells["pass-through"], cells["gateway"]
    return {
        "kind": kind,
        "connections": connections,
        "direct_rps": round(direct.rate()),
        "passthrough_rps": round(floor.rate()),
        "gateway_rps": round(ours.rate()),
        "throughput_ratio": round(ours.rate() / floor.rate(), 2),
        "passthrough_cpu_us": round(floor.cpu_us()),
        "gateway_cpu_us": round(ours.cpu_us()),
        "cpu_ratio": round(ours.cpu_us() / floor.cpu_us(), 2),
        "added_p50_ms": round(ours.percentile_ms(0.5) - direct.percentile_ms(0.5), 3),
        "added_p99_ms": round(ours.percentile_ms(0.99) - direct.percentile_ms(0.99), 3),
        "passthrough_added_p50_ms": round(floor.percentile_ms(0.5) - direct.percentile_ms(0.5), 3),
        "passthrough_added_p99_ms": round(floor.percentile_ms(0.99) - direct.percentile_ms(0.99), 3),
        "errors": ours.errors() + floor.errors() + direct.errors(),
    }


def table(rows: list[dict[str, object]]) -> Table:
    """Return the rows as a table for people."""
    drawn = Table(title="each request through the gateway is decided and committed before it is forwarded")
    for name in rows[0]:
        drawn.add_column(name.replace("_", " "), justify="right")
    for line in rows:
        drawn.add_row(*(str(value) for value in line.values()))
    return drawn


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seconds", type=float, default=2.0, help="length of one turn")
    options.add_argument("--rounds", type=int, default=3, help="turns of each place under each load")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = options.parse_args()
    console = Console(stderr=True)
    rows: list[dict[str, object]] = []
    with contextlib.ExitStack() as running:
        origin = running.enter_context(upstream())
        floor_port, floor_pid = running.enter_context(passthrough(origin))
        gateway_port, gateway_pid = running.enter_context(gateway(origin))
        places = [
            Place("direct", origin, None),
            Place("pass-through", floor_port, floor_pid),
            Place("gateway", gateway_port, gateway_pid),
        ]
        measure(places, "plain", 8, rounds=1, seconds=WARM_UP_S)
        for kind in BODIES:
            for connections in CONNECTIONS:
                console.print(f"{kind}, {connections} connections ...")
                cells = measure(places, kind, connections, rounds=chosen.rounds, seconds=chosen.seconds)
                rows.append(row(kind, connections, cells))
        memory_mb = round(resident_mb(gateway_pid))
    if chosen.json:
        print(json.dumps({"rows": rows, "gateway_resident_mb": memory_mb}))
    else:
        Console(width=200).print(table(rows))
        print(f"resident memory of the gateway afterwards: {memory_mb} MB")


if __name__ == "__main__":
    main()
