"""The world that all policies are run in: one simulated cluster, three classes, and their intents.

The cluster is the llmd-demo preset with one 8B replica and a third of an accelerator for the 1B model, so
that the ladder has steps of 3 and 2 in capacity: with more spare capacity no policy could do wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from controller.catalogue import Catalogue, Model, Speed
from controller.intent import Intent, IntentSet, Latency, PressureAction, ServiceClass
from controller.intent.types import CLASS_PRIORITY, CLASS_WEIGHT
from controller.llmd.sim.config import ModelConfig, SimConfig, preset

LARGE: Final = "llama-70b"
MID: Final = "llama-8b"
SMALL: Final = "llama-1b"
LADDER: Final = (LARGE, MID, SMALL)

CAPACITY_RPS: Final = 7.2
"""Chat requests a second that the large model alone serves with 95 % attainment, by `sweep` (see docs)."""
BASE_SHARE: Final = 0.7
BASE_RPS: Final = BASE_SHARE * CAPACITY_RPS

PRICES: Final = {LARGE: (0.6, 0.8), MID: (0.08, 0.12), SMALL: (0.02, 0.03)}
QUALITY: Final = {LARGE: 0.92, MID: 0.80, SMALL: 0.62}
SPEEDS: Final = {
    LARGE: Speed(0.035, 0.000065, 0.0205, 0.00020),
    MID: Speed(0.022, 0.0000205, 0.0068, 0.00006),
    SMALL: Speed(0.020, 0.0000096, 0.0043, 0.00003),
}
"""What an operator would read off the simulator at low load: a prior, wrong under load as any prior is."""
SLOTS: Final = {LARGE: 128, MID: 128, SMALL: 256}


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of traffic: its share, its intent."""

    name: str
    share: float
    intent: Intent


def _intent(
    name: str, service_class: ServiceClass, models: tuple[str, ...], ttft_s: float, e2e_s: float
) -> Intent:
    return Intent(
        name=name,
        service_class=service_class,
        priority=CLASS_PRIORITY[service_class],
        weight=CLASS_WEIGHT[service_class],
        latency=Latency(ttft_ms=1000 * ttft_s, e2e_ms=1000 * e2e_s),
        models=models,
        on_pressure=(PressureAction.CAP_TOKENS, PressureAction.DOWNGRADE, PressureAction.SHED),
    )


KINDS: Final = (
    Kind("premium", 0.2, _intent("premium", ServiceClass.CRITICAL, LADDER[:1], 1.5, 20.0)),
    Kind("standard", 0.5, _intent("standard", ServiceClass.STANDARD, LADDER[:2], 2.0, 20.0)),
    Kind("batch", 0.3, _intent("batch", ServiceClass.BATCH, LADDER, 3.0, 30.0)),
)
"""20/50/30 per cent, floors large, mid, small (`reference/control.md` 3.5)."""


def cluster_config(*, flow_control: bool = False) -> SimConfig:
    """Return the simulated cluster; `flow_control` is the queue of llm-d itself, off by default as there."""
    config = preset("llmd-demo")
    changes: dict[str, Callable[[ModelConfig], ModelConfig]] = {
        MID: lambda model: replace(model, replicas=1),
        SMALL: lambda model: replace(model, engine=replace(model.engine, slowdown=3.0)),
    }
    models = tuple(changes[model.name](model) if model.name in changes else model for model in config.models)
    return replace(config, models=models, router=replace(config.router, flow_control=flow_control))


def catalogue(*, speed_factor: float = 1.0) -> Catalogue:
    """Return the models as the controller is told of them; a factor other than 1 is wrong on purpose."""
    return Catalogue(
        Model(
            name=name,
            backend="pool",
            quality=QUALITY[name],
            usd_per_mtok_in=PRICES[name][0],
            usd_per_mtok_out=PRICES[name][1],
            in_flight_max=SLOTS[name],
            speed=SPEEDS[name].scaled(speed_factor),
        )
        for name in LADDER
    )


def intent_set(kinds: tuple[Kind, ...] = KINDS) -> IntentSet:
    """Return the intents of the classes."""
    return IntentSet(kind.intent for kind in kinds)
