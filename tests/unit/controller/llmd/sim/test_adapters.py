"""Adapters have their places, and leave memory least recently used first."""

from controller.llmd.sim.adapters import Adapters


def test_places_are_counted_by_adapter():
    """Several sequences of one adapter take one place; the base model takes none."""
    adapters = Adapters(2, 0)
    assert adapters.enter("x")
    assert not adapters.enter("x")
    assert adapters.enter("y")
    assert not adapters.enter("")
    assert [adapters.fits(name) for name in ("x", "y", "z", "")] == [True, True, False, True]
    adapters.leave("x")
    assert not adapters.fits("z")
    adapters.leave("x")
    adapters.leave("")
    assert adapters.fits("z")
    assert adapters.in_use() == ("y",)


def test_memory_keeps_the_latest_and_those_in_use():
    """Three in memory: the one that ran longest ago is loaded again, one that runs is never dropped."""
    adapters = Adapters(2, 3)
    adapters.enter("held")
    for name in ("a", "b", "c"):
        assert adapters.enter(name)
        adapters.leave(name)
    assert not adapters.enter("c")
    adapters.leave("c")
    assert adapters.enter("a")
    adapters.leave("a")
    assert not adapters.enter("held")
