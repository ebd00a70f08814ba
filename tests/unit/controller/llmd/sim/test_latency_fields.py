"""Latency fields are read as flags and bodies write them."""

import math

import pytest

from controller.llmd.sim.engine_config import CompatLatency, KvTransfer, SimConfigError
from controller.llmd.sim.latency_fields import changed_latency, changed_transfer, duration_ms


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("100", 100),
        ("0.5", 0.5),
        ("250us", 0.25),
        ("1.5s", 1500),
        ("0s", 0),
        (7, 7),
        (0.25, 0.25),
        ("1m2s", 62_000),
    ],
)
def test_durations_are_milliseconds_or_go(given, expected):
    """A bare number is milliseconds, as in older releases."""
    assert duration_ms(given) == pytest.approx(expected)


@pytest.mark.parametrize("given", ["soon", "", "10 ms", None, True, [], "nan", math.inf, "-5ms"])
def test_what_is_no_duration_is_refused(given):
    """With the way to write one."""
    with pytest.raises(SimConfigError, match="write 250ms"):
        duration_ms(given)


def test_only_what_is_given_changes():
    """The rest stays, and bounds are checked over both."""
    latency = CompatLatency(ttft_ms=100, itl_ms=10, itl_std_ms=3)
    changed = changed_latency(
        latency,
        {"time-to-first-token": "250ms", "latency-calculator": "per-token", "time-factor-under-load": 2},
    )
    assert (changed.ttft_ms, changed.itl_ms, changed.calculator, changed.factor_under_load) == (
        250,
        10,
        "per-token",
        2.0,
    )
    assert changed_latency(latency, {"whole-milliseconds": True}).whole_ms
    assert changed_transfer(KvTransfer(token_ms=2), {"kv-cache-transfer-latency": 5}) == KvTransfer(
        latency_ms=5, token_ms=2
    )
    with pytest.raises(SimConfigError, match="itl_std_ms"):
        changed_latency(latency, {"inter-token-latency": "5ms"})


@pytest.mark.parametrize(
    "given",
    [{"latency-calculator": "magic"}, {"time-factor-under-load": "2"}, {"time-factor-under-load": 0.5}],
)
def test_wrong_fields_are_refused(given):
    """One SimConfigError each."""
    with pytest.raises(SimConfigError):
        changed_latency(CompatLatency(), given)
