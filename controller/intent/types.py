"""What an intent is, as frozen values. Nothing here reads a document or chooses between intents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final


class ServiceClass(StrEnum):
    """How much a request matters; each maps to a pre-created `InferenceObjective` of llm-d."""

    CRITICAL = "critical"
    STANDARD = "standard"
    BATCH = "batch"
    SHEDDABLE = "sheddable"
    BACKGROUND = "background"


CLASS_PRIORITY: Final = {
    ServiceClass.CRITICAL: 4,
    ServiceClass.STANDARD: 3,
    ServiceClass.BATCH: -1,
    ServiceClass.SHEDDABLE: -2,
    ServiceClass.BACKGROUND: -3,
}
"""In llm-d's sign, higher is more urgent and below 0 is sheddable (BLIS #1208)."""

CLASS_WEIGHT: Final = {
    ServiceClass.CRITICAL: 4.0,
    ServiceClass.STANDARD: 2.0,
    ServiceClass.BATCH: 1.0,
    ServiceClass.SHEDDABLE: 0.7,
    ServiceClass.BACKGROUND: 0.5,
}
"""What a good answer is worth, relative to the others, unless the intent states its own weight."""

TIER_CLASS: Final = {
    "priority": ServiceClass.CRITICAL,
    "default": ServiceClass.STANDARD,
    "auto": ServiceClass.STANDARD,
    "flex": ServiceClass.BATCH,
}
"""OpenAI's `service_tier` values that name a class of ours; others leave the intent's class."""


class PressureAction(StrEnum):
    """What the controller may do to a request under pressure. Anything not listed is forbidden."""

    CAP_TOKENS = "cap_tokens"
    DOWNGRADE = "downgrade"
    DEFER = "defer"
    SHED = "shed"


class Bias(StrEnum):
    """The operator's one knob between quality and latency: it moves the load set point and the recovery."""

    QUALITY = "quality"
    BALANCED = "balanced"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests an intent covers; None covers any value."""

    key: str | None = None
    tenant: str | None = None
    app: str | None = None
    route: str | None = None
    model: str | None = None

    @property
    def specificity(self) -> tuple[int, ...]:
        """Order of precedence: who asks counts before what is asked for, then the number of fields."""
        fields = (self.key, self.tenant, self.app, self.route, self.model)
        return tuple(int(field is not None) for field in fields)

    def covers(self, subject: Subject) -> bool:
        """Tell whether every field that is set equals the subject's."""
        return (
            self.key in {None, subject.key}
            and self.tenant in {None, subject.tenant}
            and self.app in {None, subject.app}
            and self.route in {None, subject.route}
            and self.model in {None, subject.model}
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks for what, as far as matching needs it."""

    key: str | None = None
    tenant: str | None = None
    app: str | None = None
    route: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Targets that a good request meets, all of them; None is no target. Soft unless `hard`."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    target: float = 0.95
    """The share of requests that should be good within the window."""
    window_s: float = 3600.0
    max_queue_ms: float | None = None
    hard: bool = False
    """A hard target is a deadline: work that can no longer meet it is not started."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Money for a period. Soft budgets reorder the rungs; only a hard one may refuse."""

    usd: float
    window_s: float
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """One compiled intent. `models` is the ladder, best first, already cut at the floor."""

    name: str
    match: Match = Match()
    service_class: ServiceClass = ServiceClass.STANDARD
    priority: int = CLASS_PRIORITY[ServiceClass.STANDARD]
    weight: float = CLASS_WEIGHT[ServiceClass.STANDARD]
    latency: Latency = Latency()
    usd_per_request_max: float | None = None
    budget: Budget | None = None
    models: tuple[str, ...] = ()
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    on_pressure: tuple[PressureAction, ...] = ()
    bias: Bias = Bias.BALANCED

    def allows(self, action: PressureAction) -> bool:
        """Tell whether the customer permits `action` under pressure."""
        return action in self.on_pressure

    def rungs(self, requested: str) -> tuple[str, ...]:
        """Return the models that may serve a request for `requested`, best first.

        Never above what was asked for and never below the floor. A request for a model outside the
        ladder is served by that model alone, unless it asks for `auto`.
        """
        if requested in self.models:
            start = self.models.index(requested)
            rungs = self.models[start:]
            return rungs if self.allows(PressureAction.DOWNGRADE) else rungs[:1]
        if requested == "auto" and self.models:
            return self.models if self.allows(PressureAction.DOWNGRADE) else self.models[:1]
        return (requested,)

    def plain(self) -> dict[str, Any]:
        """Return the intent as JSON-ready data, which its digest is made of."""
        return asdict(self)


def digest_of(intents: Sequence[Intent]) -> str:
    """Return `sha256:<hex>` over the compiled intents, so that a decision can name what it was made under."""
    text = json.dumps([intent.plain() for intent in intents], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class IntentProblem:
    """One thing wrong. `pointer` is an RFC 6901 pointer, which the YAML reader turns into a place."""

    message: str
    pointer: str


class InvalidIntentError(ValueError):
    """The intents cannot be used; `problems` lists every reason found."""

    def __init__(self, problems: Sequence[IntentProblem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"- {problem.pointer or '/'}: {problem.message}" for problem in self.problems)
        super().__init__(f"invalid intents:\n{lines}")
