"""`controller.core.state`: sessions, lengths per route, tallies; all bounded."""

from __future__ import annotations

from controller.core.state import ROUTES_MAX, SESSIONS_MAX, RouteLengths, Sessions, Tally
from controller.signals import LENGTH_RANKS


def test_the_oldest_session_is_forgotten() -> None:
    """One beyond the bound drops the least recently used, not the one just used."""
    sessions = Sessions()
    for index in range(SESSIONS_MAX):
        sessions.put(f"s{index}", "m")
    sessions.put("s0", "n")
    sessions.put("new", "m")
    assert sessions.get("s0") == "n"
    assert sessions.get("s1") is None
    sessions.put(None, "m")
    assert sessions.get(None) is None


def test_routes_beyond_the_bound_share_the_global_lengths() -> None:
    """A flood of route names costs no memory, and their answers still teach everybody."""
    lengths = RouteLengths(tuple(50.0 for _ in LENGTH_RANKS))
    for index in range(ROUTES_MAX + 50):
        lengths.add(f"r{index}", 500)
    assert lengths.table("r1049") == lengths.table("never seen")
    assert lengths.table("never seen")[10] > 400


def test_shares_and_percentiles_need_samples() -> None:
    """One exception in a few decisions is a hundredth; times are unknown below a hundred."""
    tally = Tally()
    tally.decided(raised=True)
    assert tally.exception_share == 0.01
    assert tally.p99_s is None
    for index in range(200):
        tally.took(index / 1000)
    assert tally.p99_s == 0.197
    tally.clear()
    assert tally.exception_share == 0.0
