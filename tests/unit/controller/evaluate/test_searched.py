"""`controller.evaluate.searched`: the splits that the tuned baseline is run with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate.matrix import run_one, search_split
from controller.evaluate.scenarios import SCENARIOS
from controller.evaluate.searched import SEARCHED
from controller.evaluate.split import candidates


def test_every_workload_has_one_of_the_splits_that_were_tried() -> None:
    """A workload without one would be searched at each call, for a minute."""
    tried = list(candidates())
    assert set(SEARCHED) == set(SCENARIOS)
    assert all(split in tried for split in SEARCHED.values())


def test_the_found_split_beats_others() -> None:
    """At four times the base, on the seed of the search, all to the large model and none to it are worse."""
    found = SEARCHED["spike4"]

    def utility(standard: float) -> float:
        split = replace(found, shares={**found.shares, "standard": (standard, 1.0 - standard)})
        return run_one(SCENARIOS["spike4"], "tuned", 1, split)[1].score.windows["spike"].utility

    best = utility(found.shares["standard"][0])
    assert best > utility(1.0)
    assert best > utility(0.0)


@pytest.mark.long
@pytest.mark.parametrize("name", ["spike4", "spike6"])
def test_the_search_finds_them_again(name: str) -> None:
    """The table is what `--search` finds."""
    assert search_split(SCENARIOS[name]) == SEARCHED[name]
