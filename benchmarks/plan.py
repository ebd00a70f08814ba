"""How long planning one request takes: 8 models, 1,000 queued, under pressure and without.

`python benchmarks/plan.py` prints p50, p99 and the largest of 20,000 decisions each, in microseconds.
`submit` is the whole decision: snapshot, option table, choice, reasons, bookkeeping. Processor time of the
thread, so that what other processes do on the machine does not count.
"""

from __future__ import annotations

import gc
import time

from controller.catalogue import Catalogue, Model
from controller.core import Controller, ControllerConfig, Outcome
from controller.intent import Intent, IntentSet, Latency, PressureAction
from controller.plan import Disposition, Request, make_plan

MODELS = 8
QUEUED = 1_000
DECISIONS = 20_000


def built() -> tuple[Controller, Intent]:
    """Return a controller with eight rungs and an intent that may use all of them."""
    models = [
        Model(f"m{index}", "pool", 0.95 - index / 20, 1.0 / (index + 1), 2.0 / (index + 1), in_flight_max=64)
        for index in range(MODELS)
    ]
    intent = Intent(
        name="chat",
        latency=Latency(ttft_ms=20_000, e2e_ms=60_000),
        models=tuple(model.name for model in models),
        # shedding is not allowed, so that the queue really grows to a thousand
        on_pressure=(PressureAction.CAP_TOKENS, PressureAction.DOWNGRADE),
    )
    return Controller(ControllerConfig(Catalogue(models), IntentSet([intent])), 0.0), intent


def ask(intent: Intent, index: int, now_s: float) -> Request:
    """Return a request."""
    return Request(f"r{index}", intent, "m0", 800 + index % 700, now_s, tenant=f"t{index % 50}", route="chat")


def pressed(controller: Controller, intent: Intent) -> int:
    """Fill every slot and put a thousand requests into the queues; return how many were submitted."""
    index = 0
    while controller.queued < QUEUED and index < 20_000:
        controller.submit(ask(intent, index, 0.0), 0.0)
        index += 1
        if index % 50 == 0:
            controller.tick(0.0001 * index)
    return index


def report(name: str, times_ns: list[int]) -> None:
    """Print one line."""
    times_ns.sort()
    p50, p99 = times_ns[len(times_ns) // 2], times_ns[int(0.99 * len(times_ns))]
    print(f"{name:34s} p50 {p50 / 1000:7.1f}   p99 {p99 / 1000:7.1f}   max {times_ns[-1] / 1000:8.1f} us")


def main() -> None:
    """Measure."""
    controller, intent = built()
    times: list[int] = []
    for index in range(DECISIONS):
        request = ask(intent, index, 0.0)
        start = time.thread_time_ns()
        made = controller.submit(request, 0.0)
        times.append(time.thread_time_ns() - start)
        assert made.plan.disposition is Disposition.PASS
        controller.finish(request.request_id, Outcome("complete", 50), 0.0)
    report("submit, no pressure", times)

    controller, intent = built()
    first = pressed(controller, intent)
    gc.collect()
    plans: list[int] = []
    whole: list[int] = []
    for index in range(first, first + DECISIONS):
        request = ask(intent, index, 1.0)
        snapshot = controller.snapshot(request, 1.0)
        start = time.thread_time_ns()
        plan = make_plan(request, snapshot)
        plans.append(time.thread_time_ns() - start)
        start = time.thread_time_ns()
        controller.submit(request, 1.0)
        whole.append(time.thread_time_ns() - start)
        controller.cancel(request.request_id, 1.0)
    queued, options = controller.queued, len(plan.options)
    report(f"plan, {options} options, {queued} queued", plans)
    report(f"submit, {options} options, {queued} queued", whole)
    times = []
    for tick in range(200):
        start = time.thread_time_ns()
        controller.tick(2.0 + tick / 2)
        times.append(time.thread_time_ns() - start)
    report(f"tick, {queued} queued", times)


if __name__ == "__main__":
    main()
