"""`controller.evaluate.matrix`: seeds, twins and the search."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate import matrix
from controller.evaluate.scenarios import SCENARIOS
from controller.evaluate.split import Split

TINY = replace(SCENARIOS["base"], end_s=112.0)


def test_controlled_runs_are_held_against_their_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pass-through ran too, needless harm is known; without it, it is unknown and not zero."""
    monkeypatch.setattr(matrix, "SCENARIOS", {"tiny": TINY})
    both = matrix.run_matrix("tiny", ("controlled", "none"), (1,), processes=1, split=None)
    alone = matrix.run_matrix("tiny", ("controlled",), (1,), processes=1, split=None)
    ours = next(entry for entry in both if entry.policy == "controlled")
    assert ours.harm_quality is not None
    assert ours.decisions_digest.startswith("sha256:")
    assert alone[0].harm_quality is None
    assert alone[0].decisions_digest == ours.decisions_digest


def test_the_search_returns_the_best_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all-small and all-large in a calm world the large one wins."""
    shares = {"premium": (1.0,), "standard": (0.0, 1.0), "batch": (0.0, 0.0, 1.0)}
    large = Split({"premium": (1.0,), "standard": (1.0, 0.0), "batch": (1.0, 0.0, 0.0)}, 128)
    monkeypatch.setattr(matrix, "candidates", lambda: iter([Split(shares, 70), large]))
    assert matrix.search_split(TINY, 1) == large


def test_progress_is_heard_and_series_are_kept_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seed that is done is told; a run over time is a large thing, and kept on demand."""
    monkeypatch.setattr(matrix, "SCENARIOS", {"tiny": TINY})
    heard: list[tuple[int, int]] = []
    kept = matrix.run_matrix(
        "tiny",
        ("none",),
        (1, 2),
        processes=1,
        split=None,
        series=True,
        progress=lambda done, total: heard.append((done, total)),
    )
    assert heard == [(1, 2), (2, 2)]
    assert all(entry.series is not None for entry in kept)
    assert matrix.run_one(TINY, "none", 1)[1].series is None


def test_policies_come_in_the_order_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the twin runs first, whoever reads the table finds it where it was named."""
    monkeypatch.setattr(matrix, "SCENARIOS", {"tiny": TINY})
    ran = matrix.run_matrix("tiny", ("static", "none"), (1,), processes=1, split=None)
    assert [entry.policy for entry in ran] == ["static", "none"]
