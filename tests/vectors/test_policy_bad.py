"""The documents of `vectors/policy_bad`: each refused with every problem at its line and column."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import orjson
import pytest

from gateway.kernel.errors import InvalidPolicyError
from gateway.policy.compile import compile_policy
from tests.kit.vectors import ROOT

FOLDER = ROOT / "vectors/policy_bad"
EXPECTED = orjson.loads((FOLDER / "expected.json").read_bytes())["documents"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yml")), ids=lambda path: path.stem)
def test_bad_policy_is_refused_with_places(path: Path) -> None:
    """A bad document gives exactly its expected problems, in order, each with its place."""
    with pytest.raises(InvalidPolicyError) as caught:
        compile_policy(path.read_bytes(), source=path.name)
    problems = [
        {"line": item.line, "column": item.column, "pointer": item.pointer, "message": item.message}
        for item in caught.value.problems
    ]
    assert problems == EXPECTED[path.stem], f"drift in {path.name}: {problems}"


def test_every_document_has_expectations() -> None:
    """Documents and expectations name each other one to one, and there are at least 60."""
    assert {path.stem for path in FOLDER.glob("*.yml")} == set(EXPECTED)
    assert len(EXPECTED) >= 60


def test_bad_policies_are_refused_quickly() -> None:
    """All of them together take less than 50 ms each on average, and none hangs."""
    start = perf_counter()
    for path in FOLDER.glob("*.yml"):
        with pytest.raises(InvalidPolicyError):
            compile_policy(path.read_bytes())
    assert perf_counter() - start < 0.05 * len(EXPECTED)
