"""`controller.evaluate.figures`: what is kept of a run, and means with the worst seed."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from controller.evaluate.figures import Figures, figures_from_plain, figures_of, lines_of, plain_figures
from controller.evaluate.matrix import Entry
from controller.evaluate.run import Result
from controller.evaluate.score import score


def run(policy: str = "controlled", seed: int = 1, **changes: object) -> Figures:
    """Return the figures of an empty run, with changes."""
    empty = figures_of(Entry("s", policy, seed, score(Result("s", seed, policy, []))))
    return replace(empty, **changes)


def test_a_line_has_the_mean_and_the_worst_of_its_own_policy() -> None:
    """Shares are worst where they are lowest, times where they are longest."""
    runs = [
        run(seed=1, attainment=0.9, recovery_s=4.0, reversals=1.0),
        run(seed=2, attainment=0.7, recovery_s=10.0, reversals=3.0),
        run("none", 1, attainment=0.1),
    ]
    ours, theirs = lines_of(runs)
    assert (ours.policy, theirs.policy) == ("controlled", "none")
    assert math.isclose(ours.attainment, 0.8)
    assert (ours.attainment_worst, ours.recovery_worst_s, ours.reversals_worst) == (0.7, 10.0, 3.0)
    assert theirs.attainment_worst == 0.1


def test_figures_come_back_from_json() -> None:
    """What never happened is null in between, and infinite again; what is unknown stays unknown."""
    before = run(settling_s=math.inf, recovery_s=7.0, premium=0.5, harm_quality=None, budget_low=-0.1)
    data = json.JSONDecoder().decode(json.dumps(plain_figures(before), allow_nan=False))
    assert data["settling_s"] is None
    assert figures_from_plain(data) == before
    assert math.isnan(figures_from_plain({**data, "premium": None}).premium)


def test_of_an_entry_the_extremes_of_the_budget_are_kept() -> None:
    """The deepest and the highest period; none without budgets."""
    entry = Entry("s", "controlled", 1, score(Result("s", 1, "controlled", [])))
    kept = figures_of(replace(entry, budget_errors=(0.01, -0.2, 0.07)))
    assert (kept.budget_low, kept.budget_high) == (-0.2, 0.07)
    assert figures_of(entry).budget_low is None
