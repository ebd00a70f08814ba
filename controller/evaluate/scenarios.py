"""The workloads of the evaluation by name, and the policies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from controller.core import ControllerConfig, Tuning
from controller.evaluate.baselines import Aimd, Fallback, Gradient2, Simple, StaticLimit
from controller.evaluate.policy import Controlled, Policy
from controller.evaluate.split import Split, priority_only, tuned
from controller.evaluate.tables import SIZES
from controller.evaluate.workload import (
    SPIKE_END_S,
    SPIKE_START_S,
    Fault,
    Scenario,
    diurnal,
    flash,
    flat,
    ramp,
    step,
)
from controller.evaluate.world import CAPACITY_RPS, KINDS, LARGE, Kind, catalogue, intent_set
from controller.intent import Budget, PressureAction

BUDGET_WINDOW_S: Final = 60.0


def _budgeted(usd_per_hour: float) -> tuple[Kind, ...]:
    """Return the classes with a soft budget each, by share, and batch allowed to go down at once."""
    return tuple(
        replace(
            kind,
            intent=replace(
                kind.intent,
                budget=Budget(usd_per_hour * kind.share * BUDGET_WINDOW_S / 3600, BUDGET_WINDOW_S),
            ),
        )
        for kind in KINDS
    )


def _fault(during: Fault, model: str = LARGE) -> tuple[Fault, ...]:
    return (during, Fault(SPIKE_END_S, model))


def _scenarios() -> tuple[Scenario, ...]:
    at = SPIKE_START_S
    return (
        Scenario("spike4", "four times the base for 90 s", step(4)),
        Scenario("spike6", "six times the base for 90 s", step(6)),
        Scenario("spike9", "nine times the base for 90 s", step(9)),
        Scenario("ramp6", "rises to six times within 60 s", ramp(6, 60)),
        Scenario("flash10", "ten times for 10 s, then an exponential tail", flash(10, 10, 20)),
        Scenario("diurnal", "a day in 300 s, peak 2.9 times the base", diurnal(2.9, 300)),
        Scenario("burst3", "gamma arrivals of CV 3", flat(), burst_cv=3.0),
        Scenario("burst5", "gamma arrivals of CV 5", flat(), burst_cv=5.0),
        Scenario(
            "reasoning", "heavy-tailed outputs, four times the base", step(4), sizes="reasoning",
            base_rps=0.5,
        ),
        Scenario(
            "slow3", "the large model is three times slower", flat(),
            faults=_fault(Fault(at, LARGE, 3.0)),
        ),
        Scenario(
            "errors", "the large model answers 503", flat(),
            faults=_fault(Fault(at, LARGE, error_rate=1.0)),
        ),
        Scenario(
            "limits", "the large model answers 429 to half", flat(),
            faults=_fault(Fault(at, LARGE, error_rate=0.5, error_kind="rate_limit")),
        ),
        Scenario(
            "hang", "half of the large model's answers stop after a token", flat(),
            faults=_fault(Fault(at, LARGE, hang_rate=0.5)),
        ),
        Scenario("lengths", "from chat to code sizes, at twice the base", step(2), sizes_later="code"),
        Scenario("code4", "code sizes, four times the base", step(4), sizes="code", base_rps=4.0),
        Scenario("price3", "prices triple in the middle", flat(), price_factor=3.0, kinds=_budgeted(40.0)),
        Scenario("budget", "a soft budget of $12 an hour in all", flat(), kinds=_budgeted(12.0)),
        Scenario("greedy", "one tenant sends two thirds of a x3 spike", step(3), greedy_share=0.66),
        Scenario("blackout", "no first token is reported during a x4 spike", step(4), blackout=True),
        Scenario("planner02", "the planner thinks all is five times faster", flat(), speed_factor=0.2),
        Scenario("planner5", "the planner thinks all is five times slower", flat(), speed_factor=5.0),
        Scenario("calm", "half the base: nothing should ever happen", flat(0.5)),
        Scenario("base", "the base rate", flat()),
        Scenario("retries", "refused clients come back, x6 spike", step(6), retries=3),
    )  # fmt: skip


SCENARIOS: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in _scenarios()}

MAIN_POLICIES: Final = (
    "none",
    "static",
    "aimd",
    "gradient",
    "fallback",
    "priority",
    "llmd",
    "tuned",
    "controlled",
)
ABLATIONS: Final = ("no_forward", "no_price", "no_caps", "symmetric", "planner_limit")
POLICIES: Final = (*MAIN_POLICIES, *ABLATIONS)


def controller_config(scenario: Scenario, tuning: Tuning | None = None) -> ControllerConfig:
    """Return the controller's configuration for a scenario: the same numbers for all."""
    return ControllerConfig(
        catalogue(speed_factor=scenario.speed_factor),
        intent_set(scenario.kinds),
        SIZES["chat"].output_prior(),
        tuning or Tuning(),
    )


def without_caps(scenario: Scenario) -> Scenario:
    """Return the scenario with caps forbidden."""
    allowed = (PressureAction.DOWNGRADE, PressureAction.SHED)
    kinds = tuple(replace(kind, intent=replace(kind.intent, on_pressure=allowed)) for kind in scenario.kinds)
    return replace(scenario, kinds=kinds)


_TUNINGS: Final[Mapping[str, Tuning]] = {
    "controlled": Tuning(),
    "no_forward": Tuning(feed_forward=False),
    "no_price": Tuning(price=False),
    "symmetric": Tuning(recovery=1.0),
    "planner_limit": Tuning(learned_limit=False),
}

_SIMPLE: Final[Mapping[str, Callable[[], Policy]]] = {
    "none": Simple,
    "static": lambda: StaticLimit(CAPACITY_RPS),
    "aimd": Aimd,
    "gradient": Gradient2,
    "fallback": Fallback,
    "priority": priority_only,
}


def make_policy(name: str, scenario: Scenario, split: Split | None = None) -> Policy:
    """Return a fresh policy. `tuned` needs the split that was searched for; `llmd` is a cluster setting."""
    if name in _TUNINGS:
        return Controlled(controller_config(scenario, _TUNINGS[name]), name)
    if name == "no_caps":
        return Controlled(controller_config(without_caps(scenario)), name)
    if name == "tuned":
        if split is None:
            raise ValueError("the tuned split is searched for first: pass it")
        return tuned(split)
    if name == "llmd":
        return Simple("llmd")
    if name not in _SIMPLE:
        raise ValueError(f"no policy {name!r}; known: {', '.join(POLICIES)}")
    return _SIMPLE[name]()
