"""Intent and plan to llm-d's own constraints: headers and body fields, by dialect. Pure.

    constraints = translate(plan, intent, surroundings)
    headers to set, body fields to set, body fields to remove, and which header names to strip first

Client copies of every control header, in every spelling, are stripped whatever the dialect: they are a
trust boundary (llm-d's epp-http-headers.md). What llm-d has no word for (cost, budget, quality floor) is
decided here and never sent. A ceiling is lowered, never raised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from controller.intent import Intent, ServiceClass
from controller.plan import Plan

CONTROL_HEADERS: Final = (
    "x-llm-d-inference-objective",
    "x-gateway-inference-objective",
    "x-llm-d-inference-fairness-id",
    "x-gateway-inference-fairness-id",
    "x-llm-d-slo-ttft-ms",
    "x-slo-ttft-ms",
    "x-llm-d-slo-tpot-ms",
    "x-slo-tpot-ms",
    "x-llm-d-inference-ttl",
    "x-llm-d-model-name-rewrite",
    "x-gateway-model-name-rewrite",
    "x-gateway-destination-endpoint",
    "x-gateway-destination-endpoint-subset",
    "x-gateway-destination-endpoint-served",
    "x-gateway-destination-endpoint-scores",
    "x-prefiller-host-port",
    "x-data-parallel-rank",
    "x-prediction-based-scheduling",
    "epp-profile",
)
"""Stripped from every client request, in lower case. They steer the endpoint picker, which believes them."""
FAIRNESS_CHARS_MAX: Final = 128
"""A tenant is a label and a queue key in the endpoint picker."""
TTFT_LEFT_MIN_MS: Final = 1
"""The least remaining budget that is sent: zero or less would read as 'no deadline' in one of the readers."""


class Dialect(StrEnum):
    """What the backend understands."""

    LLM_D_0_11 = "llm-d>=0.11"
    LLM_D_0_9 = "llm-d-0.9"
    GAIE = "gaie"
    VLLM = "vllm"
    NONE = "none"


class Endpoint(StrEnum):
    """Which API the body belongs to: it decides the name of the ceiling."""

    CHAT = "chat_completions"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"


class EnginePriority(StrEnum):
    """Whether the engine schedules by the body's `priority`, and with which sign."""

    OFF = "off"
    VLLM = "vllm"
    """Lower is earlier: the sign flips at this boundary."""
    SGLANG = "sglang"
    """Higher is earlier."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What one backend understands, as its operator declares it."""

    dialect: Dialect = Dialect.NONE
    engine_priority: EnginePriority = EnginePriority.OFF
    isolate_cache: bool = False
    """Whether tenants must not share a prefix cache (`cache_salt`)."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the translation needs to know besides plan and intent."""

    dialect: Dialect
    endpoint: Endpoint = Endpoint.CHAT
    tenant: str = ""
    elapsed_ms: float = 0.0
    """Since the request arrived: the endpoint picker is given what is left of the first-token budget."""
    engine_priority: EnginePriority = EnginePriority.OFF
    """Opt-in per backend: under vLLM's default scheduling a priority is refused or ignored."""
    body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """The top-level fields of the client's body that matter here (ceilings, stream)."""
    reasoning: bool = False
    """Whether the model understands `reasoning_effort`."""
    isolate_cache: bool = False
    """Whether prefix-cache sharing between tenants is to be prevented (`cache_salt`)."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What to change in the request before it leaves."""

    headers: Mapping[str, str]
    set_fields: Mapping[str, Any]
    remove_fields: tuple[str, ...]
    strip_headers: tuple[str, ...] = CONTROL_HEADERS


_NAMES: Final[Mapping[Dialect, Mapping[str, str]]] = {
    Dialect.LLM_D_0_11: {
        "objective": "x-llm-d-inference-objective",
        "fairness": "x-llm-d-inference-fairness-id",
        "ttft": "x-llm-d-slo-ttft-ms",
        "tpot": "x-llm-d-slo-tpot-ms",
        "ttl": "x-llm-d-inference-ttl",
    },
    Dialect.LLM_D_0_9: {
        "objective": "x-llm-d-inference-objective",
        "fairness": "x-llm-d-inference-fairness-id",
        "ttft": "x-llm-d-slo-ttft-ms",
        "tpot": "x-llm-d-slo-tpot-ms",
    },
    Dialect.GAIE: {
        "objective": "x-gateway-inference-objective",
        "fairness": "x-gateway-inference-fairness-id",
        "ttft": "x-slo-ttft-ms",
        "tpot": "x-slo-tpot-ms",
    },
    Dialect.VLLM: {},
    Dialect.NONE: {},
}

_CEILINGS: Final[Mapping[Endpoint, tuple[str, ...]]] = {
    Endpoint.CHAT: ("max_completion_tokens", "max_tokens"),
    Endpoint.COMPLETIONS: ("max_tokens",),
    Endpoint.RESPONSES: ("max_output_tokens",),
    Endpoint.MESSAGES: ("max_tokens",),
    Endpoint.EMBEDDINGS: (),
}
"""Names of the ceiling, the one that wins first."""

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def objective_name(service_class: ServiceClass) -> str:
    """Return the `InferenceObjective` of a class; `deploy/inference-objectives.yaml` creates them."""
    return service_class.value


def translate(plan: Plan, intent: Intent, around: Surroundings) -> Constraints:
    """Return the constraints for a request that leaves now under `plan`."""
    fields: dict[str, Any] = {}
    remove: list[str] = []
    if plan.model != around.body.get("model"):
        fields["model"] = plan.model
    _ceiling(plan, around, fields)
    _effort(intent, around, fields)
    _priority(plan, around, fields, remove)
    if around.isolate_cache and around.tenant and around.dialect is not Dialect.NONE:
        fields["cache_salt"] = around.tenant[:1024]
    return Constraints(_headers(intent, around), fields, tuple(remove))


def _headers(intent: Intent, around: Surroundings) -> dict[str, str]:
    names = _NAMES[around.dialect]
    if not names:
        return {}
    headers = {names["objective"]: objective_name(intent.service_class)}
    if around.tenant:
        headers[names["fairness"]] = _label(around.tenant)
    latency = intent.latency
    if latency.ttft_ms is not None:
        left_ms = max(TTFT_LEFT_MIN_MS, math.floor(latency.ttft_ms - around.elapsed_ms))
        # an integer: one reader parses ParseInt, the other a float
        headers[names["ttft"]] = str(left_ms)
    if latency.tpot_ms is not None:
        headers[names["tpot"]] = str(max(1, math.floor(latency.tpot_ms)))
    if latency.max_queue_ms is not None and "ttl" in names:
        left_ms = math.floor(latency.max_queue_ms - around.elapsed_ms)
        # a bound of zero is ignored by its reader, so the least that is sent is a millisecond
        headers[names["ttl"]] = f"{max(1, left_ms)}ms"
    return headers


def _label(tenant: str) -> str:
    """Return a tenant as a header value: visible ASCII only, bounded."""
    return "".join(char if "!" <= char <= "~" else "_" for char in tenant[:FAIRNESS_CHARS_MAX])


def _ceiling(plan: Plan, around: Surroundings, fields: dict[str, Any]) -> None:
    names = _CEILINGS[around.endpoint]
    if plan.max_tokens is None or not names:
        return
    given = [name for name in names if _whole(around.body.get(name))]
    if not given:
        fields[names[0]] = plan.max_tokens
        return
    # the first name wins in the engine; both are lowered, for other engines read the other one
    for name in given:
        if around.body[name] > plan.max_tokens:
            fields[name] = plan.max_tokens


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _effort(intent: Intent, around: Surroundings, fields: dict[str, Any]) -> None:
    ceiling = intent.reasoning_effort
    if ceiling is None or not around.reasoning or around.endpoint is not Endpoint.CHAT:
        return
    given = around.body.get("reasoning_effort")
    if given not in _EFFORTS or _EFFORTS.index(given) > _EFFORTS.index(ceiling):
        fields["reasoning_effort"] = ceiling


def _priority(plan: Plan, around: Surroundings, fields: dict[str, Any], remove: list[str]) -> None:
    if around.dialect is not Dialect.NONE and around.engine_priority is EnginePriority.VLLM:
        fields["priority"] = -plan.priority
    elif around.dialect is not Dialect.NONE and around.engine_priority is EnginePriority.SGLANG:
        fields["priority"] = plan.priority
    elif "priority" in around.body:
        # a client's own priority would jump our queue inside the engine
        remove.append("priority")


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why llm-d, or the engine behind it, refused a request."""

    reason: str
    """The dropped-reason header, or `saturated`, `unavailable`, `not-admitted` where there is none."""
    gpu_spent: bool
    back_off: bool
    """Whether it means that the pool is saturated: only then windows are narrowed (llm-d-async's rule)."""


DROPPED_REASON: Final = "x-llm-d-request-dropped-reason"
QUEUE_DURATION: Final = "x-llm-d-flow-queue-duration-ms"


def read_refusal(status: int, headers: Mapping[str, str], body_text: str = "") -> Dropped | None:
    """Return what a refusal means, or None for a status that is no load refusal. Trusts the header first."""
    reason = headers.get(DROPPED_REASON, "").strip().lower()
    if reason:
        return Dropped(reason, reason.startswith("evicted"), reason == "rejected-saturated")
    if status == 429:
        return Dropped("saturated", gpu_spent=False, back_off=True)
    if status == 503:
        return Dropped("unavailable", gpu_spent=False, back_off=True)
    if status == 500 and "cannot be admitted" in body_text:
        # the latency-SLO admitter's denial, which the picker reports as an internal error
        return Dropped("not-admitted", gpu_spent=False, back_off=True)
    return None


def read_queue_ms(headers: Mapping[str, str]) -> int | None:
    """Return how long flow control held the request, None where it did not handle it. 0 is a real value."""
    text = headers.get(QUEUE_DURATION, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def objective_manifests(namespace: str, pool: str) -> str:
    """Return the `InferenceObjective` manifests that the objective names need, as YAML."""
    from controller.intent.types import CLASS_PRIORITY

    documents = [
        "\n".join(
            (
                "apiVersion: llm-d.ai/v1alpha2",
                "kind: InferenceObjective",
                "metadata:",
                f"  name: {objective_name(service_class)}",
                f"  namespace: {namespace}",
                "spec:",
                f"  priority: {priority}",
                "  poolRef:",
                f"    name: {pool}",
            )
        )
        for service_class, priority in CLASS_PRIORITY.items()
    ]
    return "---\n".join(f"{document}\n" for document in documents)
