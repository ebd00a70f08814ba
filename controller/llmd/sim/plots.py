"""Plots of the simulator's behaviour under load, and the table of the same numbers, for `docs/simulator.md`.

    python -m controller.llmd.sim.plots --out docs/images

Open-loop Poisson arrivals of 512-token prompts with 256-token answers, on one replica of each hardware
preset, without a picker; the queue in front, priorities and refusals are shown by the third plot. Needs
matplotlib (extra `loadtest`). The same numbers come out on every machine.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.config import ModelConfig, RouterConfig, SimConfig
from controller.llmd.sim.draws import uniform
from controller.llmd.sim.engine import Engine
from controller.llmd.sim.engine_config import EngineConfig
from controller.llmd.sim.intent import LlmdIntent
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.types import Dispatched, EngineRequest, Finished, SimRequest

PROMPT_TOKENS, OUTPUT_TOKENS = 512, 256
REQUESTS: Final = 1500
"""Arrivals of one point: a p99 has fifteen beyond it."""
WARM_UP: Final = 300
"""Arrivals left out at the beginning, while the batch fills."""
RATES: Final = {
    "8b-h100": (2, 5, 10, 15, 20, 25, 30, 33, 36, 39, 42),
    "70b-h100-tp4": (1, 2, 4, 6, 8, 10, 12, 14, 16, 18),
}
"""Requests a second, up to beyond the capacity of one replica with 256 places."""
USERS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512)


@dataclass(frozen=True, slots=True)
class Point:
    """One load: what was offered, and what came of it. Milliseconds; `rate` is requests a second finished."""

    offered: float
    rate: float
    ttft_p50: float
    ttft_p99: float
    tpot_p50: float
    tpot_p99: float
    preemptions: int


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value at or below which `share` of them lie; nan for none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else math.nan


def arrivals(rate: float, count: int, key: str) -> list[float]:
    """Return `count` Poisson arrival times at `rate` a second."""
    times, at = [], 0.0
    for index in range(count):
        at -= math.log(1 - uniform(1, f"arrival-{key}", str(index))) / rate
        times.append(at)
    return times


def open_loop(config: EngineConfig, rate: float, count: int = REQUESTS, warm_up: int = WARM_UP) -> Point:
    """Run one replica under Poisson arrivals and return the point."""
    engine, done = Engine(config), []
    times = arrivals(rate, count, f"{rate}")
    for index, at in enumerate(times):
        engine.submit(EngineRequest(str(index), PROMPT_TOKENS, OUTPUT_TOKENS), at)
    while (at := engine.next_event_time()) < math.inf:
        done += [event for event in engine.advance(at) if isinstance(event, Finished)]
    kept = [event for event in done if int(event.request_id) >= warm_up]
    span = max(event.at_s for event in kept) - times[warm_up]
    return _point(rate, kept, engine, span)


def closed_loop(config: EngineConfig, users: int, horizon_s: float = 60.0) -> Point:
    """Run one replica with `users` who ask again as soon as they are answered; return the point."""
    engine, done = Engine(config), []
    for user in range(users):
        length = 128 + int(256 * uniform(1, "user", str(user)))
        engine.submit(EngineRequest(str(user), PROMPT_TOKENS, length), 0.01 * user)
    number = users
    while (at := engine.next_event_time()) < horizon_s:
        for event in engine.advance(at):
            if isinstance(event, Finished):
                done.append(event)
                engine.submit(EngineRequest(str(number), PROMPT_TOKENS, OUTPUT_TOKENS), event.at_s)
                number += 1
    kept = [event for event in done if event.at_s > horizon_s / 4]
    return _point(users, kept, engine, horizon_s * 3 / 4)


def _point(offered: float, done: Sequence[Finished], engine: Engine, span: float) -> Point:
    ttft = [1000 * (event.first_token_at_s - event.arrived_at_s) for event in done]
    tpot = [1000 * (e.at_s - e.first_token_at_s) / (e.output_tokens - 1) for e in done]
    return Point(
        offered,
        len(done) / span,
        percentile(ttft, 0.5),
        percentile(ttft, 0.99),
        percentile(tpot, 0.5),
        percentile(tpot, 0.99),
        engine.load().preemptions,
    )


def priority_waits(rates: Sequence[float], count: int = 900) -> dict[str, list[float]]:
    """Return the median queue milliseconds in the picker by objective, over the rates offered."""
    engine = replace(HARDWARE["8b-h100"], seqs_max=64, batched_tokens_max=2048)
    config = SimConfig(models=(ModelConfig(name="m", engine=engine),), router=RouterConfig())
    objectives = ("critical", "standard", "batch")
    waits: dict[str, list[float]] = {objective: [] for objective in objectives}
    for rate in rates:
        cluster, queued = Cluster(config), {config.router.objectives[name]: [0.0] for name in objectives}
        for index, at in enumerate(arrivals(rate, count, "priority")):
            while cluster.next_event_time() <= at:
                _note(cluster.advance(cluster.next_event_time()), queued)
            intent = LlmdIntent(objective=objectives[index % 3])
            cluster.submit(SimRequest(str(index), "m", PROMPT_TOKENS, OUTPUT_TOKENS, intent), at)
        while (due := cluster.next_event_time()) < math.inf:
            _note(cluster.advance(due), queued)
        for name in objectives:
            waits[name].append(percentile(queued[config.router.objectives[name]], 0.5))
    return waits


def _note(events: Sequence[Any], queued: dict[int, list[float]]) -> None:
    for event in events:
        if isinstance(event, Dispatched) and event.queue_s is not None:
            queued[event.priority].append(1000 * event.queue_s)


def table(hardware: str, points: Sequence[Point]) -> str:
    """Return the points as a Markdown table."""
    head = (
        "| req/s offered | req/s done | TTFT p50 ms | TTFT p99 ms | TPOT p50 ms | TPOT p99 ms | preemptions |"
    )
    lines = [f"**{hardware}**", "", head, "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {p.offered:g} | {p.rate:.1f} | {p.ttft_p50:.0f} | {p.ttft_p99:.0f} | {p.tpot_p50:.1f} | "
        f"{p.tpot_p99:.1f} | {p.preemptions} |"
        for p in points
    ]
    return "\n".join(lines)


def capped(hardware: str) -> EngineConfig:
    """Return a hardware preset with 256 places and 2048 tokens a step, as the plots use it."""
    return replace(HARDWARE[hardware], seqs_max=256, batched_tokens_max=2048)


def draw(out: Path) -> str:
    """Write the plots into `out`; return the tables."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    swept = {name: [open_loop(capped(name), rate) for rate in rates] for name, rates in RATES.items()}
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for name, points in swept.items():
        x = [point.offered for point in points]
        axes[0].plot(x, [point.ttft_p50 for point in points], marker=".", label=f"{name} p50")
        axes[0].plot(x, [point.ttft_p99 for point in points], linestyle=":", label=f"{name} p99")
        axes[1].plot(x, [point.tpot_p50 for point in points], marker=".", label=name)
    axes[0].set(yscale="log", xlabel="requests/s", ylabel="TTFT, ms")
    axes[1].set(xlabel="requests/s", ylabel="TPOT p50, ms", ylim=(0, None))
    _save(figure, axes, out / "sim-open-loop.png")
    closed = {name: [closed_loop(capped(name), users) for users in USERS] for name in RATES}
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for name, points in closed.items():
        axes[0].plot(USERS, [point.ttft_p50 for point in points], marker=".", label=name)
        axes[1].plot(USERS, [point.tpot_p50 for point in points], marker=".", label=name)
    axes[0].set(xscale="log", yscale="log", xlabel="concurrent users", ylabel="TTFT p50, ms")
    axes[1].set(xscale="log", xlabel="concurrent users", ylabel="TPOT p50, ms", ylim=(0, None))
    _save(figure, axes, out / "sim-concurrency.png")
    rates = (10, 15, 20, 22, 24, 26, 28, 30, 34, 38)
    figure, axis = plt.subplots(figsize=(5, 3.2))
    for objective, waits in priority_waits(rates).items():
        axis.plot(rates, [wait + 1 for wait in waits], marker=".", label=objective)
    axis.set(yscale="log", xlabel="requests/s", ylabel="median queue + 1, ms")
    _save(figure, [axis], out / "sim-priority.png")
    return "\n\n".join(table(name, points) for name, points in swept.items())


def _save(figure: Any, axes: Sequence[Any], path: Path) -> None:
    for axis in axes:
        axis.grid(visible=True, alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})


def main() -> None:
    """Write the plots and print the tables."""
    parser = argparse.ArgumentParser(description="plots of the simulator under load")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="directory for the PNG files")
    print(draw(parser.parse_args().out))  # noqa: T201 - a command's output


if __name__ == "__main__":
    main()
