"""One run: a scenario, a seed, a policy, against the simulated cluster, under a virtual clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from controller.core import Outcome
from controller.core.config import TICK_S
from controller.evaluate.policy import Command, Policy, Refuse, Send
from controller.evaluate.workload import SPIKE_END_S, SPIKE_START_S, Job, Scenario
from controller.evaluate.world import PRICES
from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.config import Faults, SimConfig
from controller.llmd.sim.intent import LlmdIntent
from controller.llmd.sim.types import Dropped, Finished, FirstToken, SimRequest
from controller.plan import Request

TIMEOUT_S: Final = 60.0
"""A client hangs up after a minute, whatever the policy; by then every target is missed."""
DRAIN_S: Final = 90.0
RETRY_BASE_S: Final = 1.0


@dataclass(slots=True)
class Served:
    """What became of a job."""

    job: Job
    status: str = "unfinished"
    model: str = ""
    cap: int | None = None
    sent_s: float = math.nan
    first_s: float = math.nan
    done_s: float = math.nan
    tokens: int = 0
    cost_uusd: float = 0.0
    tries: int = 0

    @property
    def met(self) -> bool:
        """Tell whether every target was met; whatever did not complete is a miss."""
        latency = self.job.kind.intent.latency
        if self.status != "complete":
            return False
        ttft_ok = latency.ttft_ms is None or (self.first_s - self.job.at_s) * 1000 <= latency.ttft_ms
        return ttft_ok and (latency.e2e_ms is None or (self.done_s - self.job.at_s) * 1000 <= latency.e2e_ms)


@dataclass(slots=True)
class Result:
    """A run's jobs, in order of arrival."""

    scenario: str
    seed: int
    policy: str
    served: list[Served] = field(default_factory=list)


class Runner:
    """Drives one run. Events are ordered by (time, sequence): the same in every process."""

    def __init__(self, scenario: Scenario, seed: int, policy: Policy, cluster: SimConfig) -> None:
        self._scenario = scenario
        self._policy = policy
        self._cluster = Cluster(cluster)
        self._jobs: dict[str, Served] = {}
        self._agenda: list[tuple[float, int, str, str]] = []
        self._sequence = 0
        self._result = Result(scenario.name, seed, policy.name)
        for job in scenario.jobs(seed):
            served = Served(job)
            self._jobs[job.request_id] = served
            self._result.served.append(served)
            self._at(job.at_s, "arrive", job.request_id)
        for index, fault in enumerate(scenario.faults):
            self._at(fault.at_s, "fault", str(index))
        self._at(TICK_S, "tick", "")

    def run(self) -> Result:
        """Run to the end of the drain."""
        end_s = self._scenario.end_s + DRAIN_S
        while True:
            planned = self._agenda[0][0] if self._agenda else math.inf
            now_s = min(planned, self._cluster.next_event_time())
            if now_s > end_s:
                return self._result
            self._plant(now_s)
            while self._agenda and self._agenda[0][0] <= now_s:
                _, _, what, which = heapq.heappop(self._agenda)
                self._happen(what, which, now_s)
            for command in self._policy.take(now_s):
                self._obey(command, now_s)

    def _at(self, at_s: float, what: str, which: str) -> None:
        self._sequence += 1
        heapq.heappush(self._agenda, (at_s, self._sequence, what, which))

    def _happen(self, what: str, which: str, now_s: float) -> None:
        if what == "arrive":
            self._arrive(self._jobs[which], now_s)
        elif what == "timeout":
            self._time_out(self._jobs[which], now_s)
        elif what == "fault":
            fault = self._scenario.faults[int(which)]
            errors: Mapping[str, float] = {fault.error_kind: fault.error_rate} if fault.error_rate else {}
            faults = Faults(
                slowdown=fault.slowdown, errors=errors, hang_rate=fault.hang_rate, model=fault.model
            )
            self._cluster.set_faults(faults, now_s)
        else:
            self._policy.tick(now_s)
            self._at(now_s + TICK_S, "tick", "")

    def _arrive(self, served: Served, now_s: float) -> None:
        job = served.job
        served.tries += 1
        suffix = f"~{served.tries}" if served.tries > 1 else ""
        self._policy.arrive(
            Request(
                request_id=job.request_id + suffix,
                intent=job.kind.intent,
                model=job.kind.intent.models[0],
                input_tokens=job.input_tokens,
                arrived_s=now_s,
                max_tokens=job.max_tokens,
                tenant=job.tenant,
                route=job.route or f"chat/{job.kind.name}",
            ),
            now_s,
        )

    def _obey(self, command: Command, now_s: float) -> None:
        served = self._jobs[command.request_id.partition("~")[0]]
        if isinstance(command, Refuse):
            self._refused(served, command, now_s)
            return
        self._send(served, command, now_s)

    def _refused(self, served: Served, command: Refuse, now_s: float) -> None:
        served.status = command.status
        if served.tries <= self._scenario.retries:
            backoff_s = max(command.retry_after_s, RETRY_BASE_S * 2.0 ** (served.tries - 1))
            self._at(now_s + backoff_s * (0.5 + served.job.u_retry), "arrive", served.job.request_id)

    def _send(self, served: Served, command: Send, now_s: float) -> None:
        job = served.job
        tokens = (
            job.output_tokens if command.max_tokens is None else min(job.output_tokens, command.max_tokens)
        )
        served.model, served.cap, served.sent_s, served.tokens = (
            command.model,
            command.max_tokens,
            now_s,
            tokens,
        )
        served.status = "unfinished"
        intent = LlmdIntent(objective=command.objective, fairness_id=job.tenant)
        self._cluster.submit(
            SimRequest(command.request_id, command.model, job.input_tokens, tokens, intent), now_s
        )
        self._at(max(now_s, job.at_s + TIMEOUT_S), "timeout", job.request_id)

    def _time_out(self, served: Served, now_s: float) -> None:
        request_id = _try_id(served)
        if served.status == "unfinished" and self._cluster.cancel(request_id, now_s):
            served.status = "timeout"
            self._pay(served, 0, now_s)
            self._policy.ended(request_id, Outcome("timeout"), now_s)

    def _plant(self, now_s: float) -> None:
        for event in self._cluster.advance(now_s):
            if isinstance(event, FirstToken):
                self._jobs[event.request_id.partition("~")[0]].first_s = event.at_s
                if not self._dark(now_s):
                    self._policy.first_token(event.request_id, event.at_s)
            elif isinstance(event, Finished):
                self._finished(event)
            elif isinstance(event, Dropped):
                served = self._jobs[event.request_id.partition("~")[0]]
                status = "rejected" if event.kind == "router" else "failed"
                served.status, served.done_s = status, event.at_s
                self._policy.ended(event.request_id, Outcome(status, retry_after_s=1.0), event.at_s)

    def _finished(self, event: Finished) -> None:
        served = self._jobs[event.request_id.partition("~")[0]]
        served.status, served.done_s = "complete", event.at_s
        self._pay(served, event.output_tokens, event.at_s)
        cut = served.cap is not None and event.output_tokens < served.job.output_tokens
        outcome = Outcome("complete", event.output_tokens, truncated=cut)
        self._policy.ended(event.request_id, outcome, event.at_s)

    def _pay(self, served: Served, tokens: int, now_s: float) -> None:
        price_in, price_out = PRICES[served.model]
        factor = self._scenario.price_factor if now_s > self._scenario.end_s / 2 else 1.0
        served.cost_uusd += factor * (served.job.input_tokens * price_in + tokens * price_out)

    def _dark(self, now_s: float) -> bool:
        return self._scenario.blackout and SPIKE_START_S <= now_s < SPIKE_END_S


def _try_id(served: Served) -> str:
    return served.job.request_id + (f"~{served.tries}" if served.tries > 1 else "")
