"""The twin in virtual time: the knee, the split, the arms, and how closely a live run must agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate.arms.data import Arm, Spans
from controller.evaluate.arms.figures import figures
from controller.evaluate.split import Split
from loadtest import twin, world
from loadtest.schedule import Load, make_schedule
from tests.kit.arms import arm, missed, offered

LOAD = Load(
    "spike",
    Spans(10.0, 12.0, 6.0),
    4.0,
    world.BASE_SHARE * world.KNEE_RPS,
    0.0,
    world.kinds(),
    world.MAX_TOKENS,
)
SPLIT = Split({"premium": (1.0,), "standard": (0.5, 0.5), "batch": (0.0, 1.0, 0.0)}, 32)


@pytest.fixture(scope="module")
def arms() -> dict[str, Arm]:
    """Every arm on one schedule."""
    schedule = make_schedule(LOAD, 1, world.cluster())
    return {name: twin.run_twin(name, LOAD, schedule, knee=world.KNEE_RPS, split=SPLIT) for name in twin.ARMS}


def test_the_controller_holds_where_nothing_does_not(arms: dict[str, Arm]) -> None:
    """A short spike of four times the base: the promise of the demonstration, in virtual time."""
    assert figures(arms["none"], LOAD.spans).attainment < 0.5
    ours = figures(arms["controlled"], LOAD.spans)
    assert ours.attainment >= 0.95
    assert ours.by_service["premium"] >= 0.95
    assert ours.usd_per_hour <= 15.0


def test_every_arm_meets_the_same_load(arms: dict[str, Arm]) -> None:
    """The same requests at the same instants, whatever the policy; each says what it is."""
    assert len({tuple(one.at_s for one in found.offered) for found in arms.values()}) == 1
    assert {name: found.about for name, found in arms.items()} == twin.ARMS
    assert figures(arms["priority"], LOAD.spans).by_service["premium"] > 0.9
    assert figures(arms["limit"], LOAD.spans).refused > 0


def test_an_unknown_arm_is_an_error() -> None:
    """So is the static one without its split."""
    with pytest.raises(ValueError, match="no arm 'other'"):
        twin.policy("other", 1.0)
    with pytest.raises(ValueError, match="searched for"):
        twin.policy("static", 1.0)


def test_the_knee_is_where_attainment_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A little below it the preferred model serves 95 per cent, well above it it does not."""
    monkeypatch.setattr(twin, "KNEE_SEEDS", (1,))
    monkeypatch.setattr(twin, "KNEE_RUN_S", 40.0)
    monkeypatch.setattr(twin, "KNEE_STEPS", 3)
    knee = twin.knee_rps(LOAD)
    assert 2.0 < knee < 8.0
    assert twin._attained_at(LOAD, knee) >= twin.KNEE_ATTAINED
    assert twin._attained_at(LOAD, 2 * knee) < twin.KNEE_ATTAINED


@pytest.mark.long
def test_the_known_knee_is_the_swept_one() -> None:
    """The figure that short runs go by is what the sweep gives."""
    assert twin.knee_rps(LOAD) == world.KNEE_RPS


def test_the_split_is_searched_on_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two candidates it takes the one that attains more; everything on the large model is not it."""
    large = Split({"premium": (1.0,), "standard": (1.0, 0.0), "batch": (1.0, 0.0, 0.0)}, 32)
    monkeypatch.setattr(twin, "candidates", lambda limits: iter((large, SPLIT)))
    assert twin.search_split(LOAD) == SPLIT


def test_the_same_run_agrees_with_itself(arms: dict[str, Arm]) -> None:
    """Attainment and causes; a policy without causes is held to its attainment alone."""
    assert all(check.ok for check in twin.agreement(arms["controlled"], arms["controlled"]))
    assert len(twin.agreement(arms["controlled"], arms["controlled"])) == 2
    assert len(twin.agreement(arms["none"], arms["none"])) == 1


def test_a_run_that_does_not_agree_is_found() -> None:
    """Three points of attainment, or six of a cause, are too far apart."""
    base = [offered(index, 1.0, cause="identity") for index in range(100)]
    there = arm("controlled", *base)
    fewer = [missed(index, 1.0, cause="identity") for index in range(3)]
    attained, caused = twin.agreement(arm("controlled", *fewer, *base[3:]), there)
    assert (attained.ok, caused.ok) == (False, True)
    other = [replace(one, cause="lat_price") for one in base[:6]]
    attained, caused = twin.agreement(arm("controlled", *other, *base[6:]), there)
    assert (attained.ok, caused.ok) == (True, False)
    assert "0.060" in caused.found or "0.940" in caused.found
