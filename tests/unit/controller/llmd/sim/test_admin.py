"""Faults are changed for one model or all, and wrong changes are refused."""

import pytest

from controller.llmd.sim.admin import changed_faults, shown
from controller.llmd.sim.config import FAULT_KINDS, Faults, SimConfigError, preset

PRESENT = {"a": Faults(slowdown=3.0), "b": Faults()}


def test_a_change_keeps_what_it_does_not_name():
    """And touches only the model that it names."""
    assert changed_faults(PRESENT, {"hang_rate": 0.5, "model": "a"}) == {
        "a": Faults(slowdown=3.0, hang_rate=0.5)
    }
    both = changed_faults(PRESENT, {"refuse": True})
    assert both == {"a": Faults(slowdown=3.0, refuse=True), "b": Faults(refuse=True)}


def test_the_names_of_the_go_simulator_are_taken():
    """A percentage, drawn evenly from the kinds given or from all."""
    changed = changed_faults(
        PRESENT, {"failure-injection-rate": 30, "failure-types": ["rate_limit", "server_error"]}
    )
    assert changed["b"].errors == {"rate_limit": 0.15, "server_error": 0.15}
    every = changed_faults(PRESENT, {"failure-injection-rate": 60})["b"].errors
    assert every == pytest.approx(dict.fromkeys(FAULT_KINDS, 0.1))


@pytest.mark.parametrize(
    "data",
    [
        {"slowdown": 0},
        {"hang_rate": 2},
        {"errors": {"nope": 0.1}},
        {"errors": {"rate_limit": 0.7, "server_error": 0.7}},
        {"errors": {"rate_limit": -0.1}},
        {"unknown": 1},
        {"model": "c"},
        {"failure-injection-rate": 101},
        {"failure-injection-rate": "all"},
        {"replicas_down": -1},
    ],
)
def test_wrong_changes_are_refused(data):
    """Nothing is changed, and the message names the key."""
    with pytest.raises(SimConfigError):
        changed_faults(PRESENT, data)


def test_what_is_shown_is_plain():
    """The configuration and the faults by model."""
    page = shown(preset("llmd-demo"), {"llama-8b": Faults(slowdown=2.0)})
    assert page["faults"]["llama-8b"]["slowdown"] == 2.0
    assert page["models"][0]["engine"]["step"]["floor_ms"] == 14.6
