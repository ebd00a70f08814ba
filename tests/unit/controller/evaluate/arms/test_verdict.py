"""The verdict: every bar is held against what was found, and a run that is not whole has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate.arms.data import Arm, Check
from controller.evaluate.arms.verdict import verdict
from tests.kit.arms import arm, comparison, missed, offered

MANY = range(100)


def good(name: str = "controlled", misses: int = 0) -> Arm:
    """An arm of a hundred requests over the run, so many of them missed, all in the spike."""
    items = [offered(index, 10.0 + index / 10) for index in MANY]
    for index in range(misses):
        items[index] = missed(index, 10.0 + index / 10)
    return arm(name, *items)


def test_a_good_run_passes() -> None:
    """The line says what was attained, where the baseline was, and what was paid."""
    run = comparison(good("none", 60), good(), baseline_max=0.5)
    found = verdict(run)
    assert found.passed
    assert found.line == (
        "PASS: 1.000 of the requests met their targets (premium 1.000) where the baseline fell to 0.400; "
        "$1.20 an hour of $10.00 allowed"
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"arms": (good(misses=6),)}, "controlled attainment"),
        ({"arms": (good("none", 40), good())}, "none attainment"),
        ({"arms": (replace(good(), chunks=(10, 3000)),)}, "controlled: chunks a second"),
        ({"checks": (Check("records", "0", "3", ok=False),)}, "records"),
    ],
)
def test_each_bar_can_be_missed(change: dict, name: str) -> None:
    """What was missed stands in the line, with what was wanted."""
    run = comparison(good("none", 60), good(), baseline_max=0.5, chunks_max=3000)
    found = verdict(replace(run, **change))
    assert found.word == "FAIL"
    assert name in {check.name for check in found.checks if not check.ok}
    assert name in found.line


def test_cost_and_lag_are_bars() -> None:
    """A dear arm fails, and so does one that was sent late, 99 of a hundred counted."""
    dear = arm("controlled", *(replace(one, cost_uusd=1e6) for one in good().offered))
    assert "controlled cost" in verdict(comparison(dear)).line
    late = arm("controlled", *(replace(one, lag_s=0.051) for one in good().offered))
    assert "schedule lag p99 is 51.0 ms" in verdict(comparison(late)).line
    assert verdict(replace(comparison(late), how="virtual")).passed


def test_a_class_of_few_has_no_bar_of_its_own() -> None:
    """Of nineteen premium requests one miss is below 95 per cent: too few to say."""
    few = arm(
        "controlled",
        missed(0, 11.0),
        *(offered(index, 11.0) for index in range(18)),
        *(offered(index, 11.0, service="batch") for index in range(81)),
    )
    assert verdict(comparison(few)).passed


def test_a_partial_run_has_no_verdict() -> None:
    """Whatever it shows, it says that it is partial, and why."""
    found = verdict(comparison(good(misses=50), partial="ended by SIGINT"))
    assert (found.word, found.passed) == ("PARTIAL", False)
    assert "ended by SIGINT" in found.line
    alone = verdict(comparison(replace(good(), partial="the gateway ended")))
    assert "the gateway ended" in alone.line


def test_other_arms_have_no_bars_but_the_generator() -> None:
    """A gateway as it is passes where its schedule was kept, and the line says what it attained."""
    found = verdict(comparison(good("gateway", 50)))
    assert found.line == "PASS: gateway attained 0.500"
    assert [check.name for check in found.checks] == ["gateway: schedule lag p99"]
