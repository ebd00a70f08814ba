"""B4.4: a flush that fails, made by strace under a real process."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.verify import verify_sqlite
from tests.kit.figures import note
from tests.kit.straced import append, flushed_after_failure, forwarded_but_not_stored, new_store


def check_failed_flush(strace: str, database: Path, number: int, mutant: str | None = None) -> int:
    """Let flushes fail from the n-th on; return how many were acknowledged before."""
    run = append(strace, database, f"fdatasync:error=EIO:when={number}+", 5, mutant=mutant)
    # SQLite itself pays no heed to a failed flush of the directory; the next one is of another file.
    assert flushed_after_failure(run.trace) == [], "a file was flushed again after its flush had failed"
    assert run.code in (2, 3), run.report
    if run.code == 3:
        assert run.report["failed"]
        assert run.report["fatal"]
        assert not run.report["ready"]
        assert run.report["acknowledged_late"] == 0
        assert run.report["spread_s"] <= 1.0
        assert run.report["readable"]
    assert forwarded_but_not_stored(database) == []
    assert verify_sqlite(database).faults == ()
    return int(run.report.get("acknowledged", 0))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 20])
def test_a_failed_flush_ends_it(strace: str, tmp_path: Path, number: int) -> None:
    """All waiters fail within a second, nothing is acknowledged later, no file is flushed twice."""
    acknowledged = check_failed_flush(strace, new_store(tmp_path / "lumyn.db"), number)
    note(f"failed flush, call {number}: {acknowledged} acknowledged before, 0 after, 0 lost, no second flush")


@pytest.mark.long
@pytest.mark.parametrize("number", range(1, 61))
def test_a_failed_flush_ends_it_at_every_call(strace: str, tmp_path: Path, number: int) -> None:
    """The nightly figure of the same: every call from the first to the sixtieth."""
    check_failed_flush(strace, new_store(tmp_path / "lumyn.db"), number)


def test_a_build_that_flushes_again_is_caught(strace: str, tmp_path: Path) -> None:
    """The tests above can fail: one that takes a failed flush for a passing fault falls at once."""
    with pytest.raises(AssertionError, match="flush"):
        check_failed_flush(strace, new_store(tmp_path / "lumyn.db"), 5, mutant="retry_flush")
    note("failed flush: the mutant that flushes again is caught")
