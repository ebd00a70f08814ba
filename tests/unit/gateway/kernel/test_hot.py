"""Dataclasses that are frozen to the type checker and plain when they run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from gateway.kernel.hot import hot_dataclass


@hot_dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2


def test_it_is_a_value() -> None:
    """Equal by its fields, usable as a key, copied with a change, without a dictionary."""
    assert Point(1) == Point(1, 2)
    assert {Point(1): "a"}[Point(1, 2)] == "a"
    assert replace(Point(1), x=3) == Point(3, 2)
    assert [field.name for field in fields(Point)] == ["x", "y"]
    assert not hasattr(Point(1), "__dict__")


def test_it_is_made_in_one_way_only() -> None:
    """Who asks for another kind of dataclass is told at import."""
    with pytest.raises(AssertionError):
        hot_dataclass(frozen=False, slots=True)


def test_the_type_checker_refuses_an_assignment(tmp_path: Path) -> None:
    """What the run does not guard, mypy does."""
    file = tmp_path / "assigns.py"
    file.write_text(
        "from gateway.kernel.hot import hot_dataclass\n\n\n"
        "@hot_dataclass(frozen=True, slots=True)\nclass Point:\n    x: int\n\n\nPoint(1).x = 2\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-incremental", str(file)],
        cwd=Path(__file__).resolve().parents[4],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Property "x" defined in "Point" is read-only' in run.stdout
