"""The schedule: every request with the instant at which it is due, made before anything is sent.

Seeded, open loop, the same for every arm: a slow system gets no fewer requests than a fast one. Arrivals and
sizes come from the evaluation's recipes and quantile tables, one random stream a purpose.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from controller.evaluate.arms.data import Spans
from controller.evaluate.workload import Job, Scenario
from controller.evaluate.world import Kind
from controller.llmd.sim.answer import count_prompt, plan_answer
from controller.llmd.sim.config import ModelConfig, SimConfig
from controller.llmd.sim.fields import read_body
from controller.llmd.sim.wire import read_chat
from loadtest.shapes import shape
from loadtest.traffic import chat_body, chat_tail, prompt, refund_body, refund_tail

ROUTE: Final = "/v1/chat/completions"
"""What a gateway knows of a request's route; without tenants of its keys it knows none of these."""
TOOLS_RPS: Final = 3.0
"""Tool actions a second at the base rate; they follow the same shape."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One LLM request."""

    request_id: str
    at_s: float
    service: str
    model: str
    """The preferred one, which the client names."""
    tail: bytes
    job: Job
    """The same request as runs in virtual time take it."""

    def body(self, model: str | None = None) -> bytes:
        """Return the body; `model` takes the place of the preferred one."""
        return chat_body(model or self.model, self.tail)


@dataclass(frozen=True, slots=True)
class Act:
    """One tool action to ask about."""

    request_id: str
    at_s: float
    tail: bytes

    def body(self, run_id: str = "") -> bytes:
        """Return the body; `run_id` begins its request id, which no two runs may share."""
        return refund_body(run_id + self.request_id, self.tail)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is sent, and when; in order of time."""

    asks: tuple[Ask, ...]
    acts: tuple[Act, ...]
    spans: Spans
    digest: str
    """Of all instants and bodies: equal digests are the same load."""

    def in_order(self) -> list[Ask | Act]:
        """Return requests and tool actions as one list by time."""
        return sorted([*self.asks, *self.acts], key=lambda one: (one.at_s, one.request_id))


@dataclass(frozen=True, slots=True)
class Load:
    """What a schedule is made from."""

    shape: str
    spans: Spans
    times: float
    """Of the base rate, at the peak."""
    base_rps: float
    tools_rps: float
    kinds: tuple[Kind, ...]
    max_tokens: int
    sizes: str = "chat"
    extra: Mapping[str, Any] | None = None
    """Further members of each body."""

    def scenario(self) -> Scenario:
        """Return the load as a workload of the evaluation."""
        return Scenario(
            name=f"loadtest-{self.shape}",
            about=f"{self.shape}, {self.times:g} times {self.base_rps:.2f} requests a second",
            shape=shape(self.shape, self.spans, self.times),
            sizes=self.sizes,
            base_rps=self.base_rps,
            kinds=self.kinds,
            end_s=self.spans.end_s,
        )


def make_schedule(load: Load, seed: int, cluster: SimConfig | None = None) -> Schedule:
    """Return the schedule of a seed.

    With a simulated cluster each job knows how long its answer will be, for the twin in virtual time: the
    simulator draws lengths from the prompt. A real backend answers as it likes.
    """
    asks = tuple(_asks(load, seed, cluster))
    acts = tuple(_acts(load, seed))
    digest = hashlib.sha256()
    bodies = [(ask.at_s, ask.request_id, ask.body()) for ask in asks]
    bodies += [(act.at_s, act.request_id, act.body()) for act in acts]
    for at_s, request_id, body in bodies:
        digest.update(f"{at_s:.6f} {request_id} {len(body)} ".encode() + body)
    return Schedule(asks, acts, load.spans, f"sha256:{digest.hexdigest()}")


def _asks(load: Load, seed: int, cluster: SimConfig | None) -> Iterator[Ask]:
    words = random.Random(f"{load.shape}/{seed}/words")
    for number, job in enumerate(load.scenario().jobs(seed)):
        preferred = job.kind.intent.models[0] if job.kind.intent.models else ""
        text = prompt(number, job.input_tokens, words)
        tail = chat_tail(text, max_tokens=load.max_tokens, extra=load.extra)
        known = replace(job, max_tokens=load.max_tokens, route=ROUTE, tenant="")
        if cluster is not None:
            known = _as_simulated(known, cluster, chat_body(preferred, tail))
        yield Ask(f"lt-{seed}-{job.request_id}", job.at_s, job.kind.name, preferred, tail, known)


def _as_simulated(job: Job, cluster: SimConfig, body: bytes) -> Job:
    """Return the job with the tokens that the simulator will count and answer."""
    generation = read_chat(read_body(body))
    counted = count_prompt(_without_prefixes(cluster.models[0]), generation.prompts[0])
    answer = plan_answer(cluster, generation, counted, 0, job.max_tokens or 1)
    return replace(job, input_tokens=counted.tokens, output_tokens=answer.tokens)


def _without_prefixes(model: ModelConfig) -> ModelConfig:
    """Return the model as the count needs it: hashing prompts would take longer than all the rest."""
    return replace(model, engine=replace(model.engine, prefix_caching=False))


def _acts(load: Load, seed: int) -> Iterator[Act]:
    if load.tools_rps <= 0:
        return
    draw = random.Random(f"{load.shape}/{seed}/tools")
    arrivals = replace(load.scenario(), name=f"loadtest-{load.shape}-tools", base_rps=load.tools_rps)
    for job in arrivals.jobs(seed):
        request_id = f"lt-{seed}-t{job.request_id[1:]}"
        yield Act(request_id, job.at_s, refund_tail(request_id, draw.random()))
