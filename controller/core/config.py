"""What a controller is made with: models, intents, and the few numbers that may be tuned. Frozen values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from controller.catalogue import Catalogue
from controller.intent import Bias, IntentSet
from controller.prices import GAIN_UP, RECOVERY
from controller.signals import LENGTH_RANKS

TICK_S: Final = 0.5
"""Twice a second: four ticks within the shortest TTFT targets, and no measurable load of its own."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the evaluation varies to show that it matters; the defaults are what runs."""

    gain_up: float = GAIN_UP
    recovery: float = RECOVERY
    price: bool = True
    feed_forward: bool = True
    """Whether arrivals count as load at once, and not only when they have become a queue."""
    learned_limit: bool = True
    """False: the in-flight limit comes from the configured speed instead of the measured pace."""


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Everything that a controller is made with. `digest` names it in every tick."""

    catalogue: Catalogue
    intents: IntentSet
    lengths_prior: tuple[float, ...] = tuple(20.0 + 480.0 * rank for rank in LENGTH_RANKS)
    """Output lengths before any were seen, at `LENGTH_RANKS`: short chat."""
    tuning: Tuning = field(default_factory=Tuning)
    digest: str = ""

    def __post_init__(self) -> None:
        models = [asdict(model) for model in self.catalogue]
        text = json.dumps(
            [models, self.intents.digest, self.lengths_prior, asdict(self.tuning)],
            sort_keys=True,
            separators=(",", ":"),
        )
        object.__setattr__(self, "digest", "sha256:" + hashlib.sha256(text.encode()).hexdigest())

    def with_intents(self, intents: IntentSet) -> ControllerConfig:
        """Return the same configuration under other intents."""
        return replace(self, intents=intents)

    @property
    def bias(self) -> Bias:
        """Return the bias that most intents ask for; balanced on a tie, for models are shared by all."""
        votes = [intent.bias for intent in self.intents.intents]
        for bias in (Bias.QUALITY, Bias.LATENCY):
            if votes.count(bias) * 2 > len(votes):
                return bias
        return Bias.BALANCED
