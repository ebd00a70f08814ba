"""`controller.plan.plain`: values to JSON and back."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan import (
    digest,
    make_plan,
    plain,
    plan_from_plain,
    request_from_plain,
    snapshot_from_plain,
)
from tests.kit.control import drawn_request, drawn_snapshot


def integral(value: object) -> object:
    """Return JSON data with whole floats as integers, as canonical JSON prints them."""
    if isinstance(value, dict):
        return {key: integral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [integral(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@settings(derandomize=True, max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_a_round_trip_through_canonical_numbers_loses_nothing(seed: int) -> None:
    """Where 1.0 is printed as 1 the types come back from the fields' declarations."""
    request, snapshot = drawn_request(seed), drawn_snapshot(seed)
    plan = make_plan(request, snapshot)
    for value, build in (
        (request, request_from_plain), (snapshot, snapshot_from_plain), (plan, plan_from_plain),
    ):  # fmt: skip
        data = integral(json.JSONDecoder().decode(json.dumps(plain(value))))
        assert build(data) == value
        assert digest(build(data)) == digest(value)


def test_options_are_written_by_name() -> None:
    """An option table is a list of objects, not of bare lists."""
    (first, *_) = plain(make_plan(drawn_request(3), drawn_snapshot(3)))["options"] or [{"model": ""}]
    assert "model" in first
