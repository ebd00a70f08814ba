"""Draws depend on their arguments only."""

import subprocess
import sys

from controller.llmd.sim.draws import integer, uniform


def test_draws_are_the_same_in_every_process():
    """Golden values: they may never change, or seeded runs would."""
    assert integer(1, "length", "a") == 12603225523750438419
    assert uniform(1, "length", "a") == 0.6832222246587493


def test_another_hash_seed_changes_nothing():
    """A process with another PYTHONHASHSEED draws the same."""
    code = "from controller.llmd.sim.draws import integer; print(integer(7, 'x', 'y'))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {f"{integer(7, 'x', 'y')}\n".encode()}


def test_draws_are_spread_evenly():
    """Of 4000 draws a quarter falls in each quarter, within 3 points."""
    draws = [uniform(3, "p", str(index)) for index in range(4000)]
    for quarter in range(4):
        share = sum(quarter / 4 <= draw < (quarter + 1) / 4 for draw in draws) / len(draws)
        assert abs(share - 0.25) < 0.03
