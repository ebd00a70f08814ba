"""B4.9: flushes that are slow, made by strace under a real process: slower, never early, and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.kernel.bounds import STORE_QUEUE_MAX
from tests.kit.figures import note
from tests.kit.straced import append, forwarded_but_not_stored, new_store

FLOOD = STORE_QUEUE_MAX + 500
GROWTH_MIB_MAX = 8.0
ATTEMPTS = 3
"""A machine that is busy with something else slows as well, and is not what is asked about."""


def check_slow_disk(
    strace: str, database: Path, delay_ms: int, seconds: float, mutant: str | None = None
) -> None:
    """32 workers, one append after another each, while every flush takes so long."""
    for attempt in range(ATTEMPTS):
        run = append(strace, database, f"fdatasync:delay_enter={delay_ms * 1000}", seconds, mutant=mutant)
        assert run.code == 0
        assert not run.report["failed"]
        assert run.report["fastest_s"] >= delay_ms / 1000, "acknowledged before it was flushed"
        assert forwarded_but_not_stored(database) == []
        per_second = run.report["acknowledged"] / seconds
        if per_second >= 32 / (3 * delay_ms / 1000):
            break
        assert attempt < ATTEMPTS - 1, f"only {per_second:.0f} a second, also on the {ATTEMPTS}. attempt"
    note(f"slow disk, {delay_ms} ms a flush: {per_second:,.0f} acknowledged a second by 32 workers")


@pytest.mark.parametrize("delay_ms", [10, 50])
def test_a_slow_disk_only_slows(strace: str, tmp_path: Path, delay_ms: int) -> None:
    """At d seconds a flush, 32 workers still get 32 / 3d acknowledged a second: commits are shared."""
    check_slow_disk(strace, new_store(tmp_path / "lumyn.db"), delay_ms, seconds=2.0)


@pytest.mark.long
@pytest.mark.parametrize("delay_ms", [1, 2, 5, 10, 20, 50, 100, 200])
def test_a_slow_disk_only_slows_for_longer(strace: str, tmp_path: Path, delay_ms: int) -> None:
    """The nightly figure of the same."""
    check_slow_disk(strace, new_store(tmp_path / "lumyn.db"), delay_ms, seconds=5.0)


@pytest.mark.parametrize("mutant", ["acknowledge_first", "flush_seldom"])
def test_a_build_that_acknowledges_early_is_caught(strace: str, tmp_path: Path, mutant: str) -> None:
    """One that answers before the commit, and one that commits without a flush, both fall."""
    with pytest.raises(AssertionError, match="before it was flushed"):
        check_slow_disk(strace, new_store(tmp_path / "lumyn.db"), 50, seconds=0.5, mutant=mutant)
    note(f"slow disk: the mutant {mutant} is caught")


def check_flood(strace: str, database: Path, mutant: str | None = None) -> None:
    """Submit more than the queue holds, all at once, twice."""
    run = append(strace, database, "fdatasync:delay_enter=2000", 0, FLOOD, mutant=mutant)
    assert forwarded_but_not_stored(database) == [], "acknowledged and dropped"
    assert run.report["acknowledged"] == 2 * STORE_QUEUE_MAX, "the queue took more than its bound"
    assert run.report["busy"] == 2 * (FLOOD - STORE_QUEUE_MAX)
    assert run.report["growth_mib"] < GROWTH_MIB_MAX
    note(
        f"slow disk, {FLOOD:,} at once: {STORE_QUEUE_MAX:,} kept, the rest told at once to come again; "
        f"{run.report['growth_mib']:.1f} MiB more memory the second time"
    )


def test_a_flood_is_held_at_the_bound(strace: str, tmp_path: Path) -> None:
    """What is over the bound is refused at once, what is under it is kept, and memory does not grow."""
    check_flood(strace, new_store(tmp_path / "lumyn.db"))


@pytest.mark.parametrize(
    ("mutant", "word"), [("drop_when_full", "dropped"), ("unbounded_queue", "more than its bound")]
)
def test_a_build_without_back_pressure_is_caught(strace: str, tmp_path: Path, mutant: str, word: str) -> None:
    """One that drops what does not fit and says yes, and one whose queue has no end, both fall."""
    with pytest.raises(AssertionError, match=word):
        check_flood(strace, new_store(tmp_path / "lumyn.db"), mutant)
    note(f"slow disk: the mutant {mutant} is caught")
