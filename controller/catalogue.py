"""The models that a request may be served by: what they cost, how good they are, how fast at first sight.

Plain values from the configuration. Nothing here is learned: the speeds are a prior that the estimator
starts from and leaves behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

IN_FLIGHT_MAX: Final = 512
"""Batch slots of one replica: vLLM's `max_num_seqs` for a large model."""


@dataclass(frozen=True, slots=True)
class Speed:
    """The six-number server model of `reference/control.md` 2.4, in seconds."""

    prefill_base_s: float = 0.025
    """First token of an empty prompt: scheduling and one step."""
    prefill_token_s: float = 0.00006
    """Each uncached input token; a 70B model on four H100 needs 54 microseconds (Vidur profiles)."""
    decode_base_s: float = 0.020
    """One decode step of one sequence."""
    decode_sequence_s: float = 0.0001
    """What each further sequence in the batch adds to a step."""

    def scaled(self, factor: float) -> Speed:
        """Return the same server, `factor` times slower; evaluation uses it to be wrong on purpose."""
        return Speed(
            self.prefill_base_s * factor,
            self.prefill_token_s * factor,
            self.decode_base_s * factor,
            self.decode_sequence_s * factor,
        )


@dataclass(frozen=True, slots=True)
class Model:
    """One deployment that serves one model name: the unit that has a queue, a limit and a price."""

    name: str
    backend: str
    quality: float
    """The customer's own score, 0 to 1; never learned online."""
    usd_per_mtok_in: float
    usd_per_mtok_out: float
    context_tokens: int = 131_072
    replicas: int = 1
    in_flight_max: int = IN_FLIGHT_MAX
    """The ceiling of the in-flight limit, over all replicas: what the servers' batch slots hold."""
    speed: Speed = Speed()
    reasoning: bool = False
    """Whether it understands `reasoning_effort`."""

    def cost_uusd(self, input_tokens: float, output_tokens: float) -> int:
        """Return the price of a request in micro-dollars; dollars per million tokens times tokens."""
        return math.ceil(input_tokens * self.usd_per_mtok_in + output_tokens * self.usd_per_mtok_out)


class Catalogue:
    """Models by name, in the order of the configuration. Immutable."""

    __slots__ = ("_by_name", "models")

    def __init__(self, models: Iterable[Model]) -> None:
        self.models = tuple(models)
        self._by_name = {model.name: model for model in self.models}
        if len(self._by_name) != len(self.models):
            raise ValueError("two models of the catalogue have the same name: give each its own")

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Model:
        return self._by_name[name]

    def get(self, name: str) -> Model | None:
        """Return the model of that name, or None."""
        return self._by_name.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(model.name for model in self.models)
