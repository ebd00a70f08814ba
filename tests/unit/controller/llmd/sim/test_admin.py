"""Faults are changed for one model or all, and wrong changes are refused."""

import pytest

from controller.llmd.sim.admin import changed_faults, planned, shown
from controller.llmd.sim.config import FAULT_KINDS, Faults, preset
from controller.llmd.sim.engine_config import CompatLatency, KvTransfer, SimConfigError
from controller.llmd.sim.fake_metrics import FakeMetrics
from controller.llmd.sim.flags import config_from_flags
from controller.llmd.sim.options import Flags

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


COMPAT = config_from_flags(Flags(model="c", time_to_first_token="100ms"))


def test_a_change_is_planned_whole():
    """Faults, latencies, images and fake metrics at once; what is not named stays."""
    fake = FakeMetrics(running_requests=1)
    data = {
        "slowdown": 2,
        "time-to-first-token": "50ms",
        "kv-cache-transfer-time-per-token": 0.5,
        "image-emission-rate": 50,
        "fake-metrics": {"waiting-requests": 4},
    }
    changes = planned(COMPAT, {"c": Faults(hang_rate=0.1)}, fake, data)
    assert changes.faults == {"c": Faults(hang_rate=0.1, slowdown=2)}
    assert changes.latency == (CompatLatency(ttft_ms=50), KvTransfer(token_ms=0.5))
    assert changes.config.omni.image_rate == 0.5
    assert changes.fake == FakeMetrics(running_requests=1, waiting_requests=4)
    assert planned(COMPAT, PRESENT, fake, {"fake-metrics": None}).fake == fake


@pytest.mark.parametrize(
    ("config", "data", "named"),
    [
        (preset("llmd-demo"), {"inter-token-latency": "5ms"}, "compat formula"),
        (COMPAT, {"inter-token-latency-std-dev": "5ms"}, "itl_std_ms"),
        (COMPAT, {"fake-metrics": {"running-requests": 1}}, "reporting real metrics"),
        (COMPAT, {"image-emission-rate": "all"}, "image-emission-rate"),
        (COMPAT, {"failure-types": "rate_limit"}, "failure-types must be a list"),
    ],
)
def test_wrong_plans_are_refused(config, data, named):
    """With the reason."""
    with pytest.raises(SimConfigError, match=named):
        planned(config, PRESENT, None, data)
