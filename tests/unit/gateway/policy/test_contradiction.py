"""Conditions that can never hold together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.facts import derive
from gateway.policy.conditions import compile_condition
from gateway.policy.contradiction import contradiction

E = "evidence.k"
IMPOSSIBLE = [
    [("amount_usd_gt", 200), ("amount_usd_lt", 100)],
    [(f"{E}_gt", 5), (f"{E}_lte", 5)],
    [(f"{E}_gte", 5.5), (f"{E}_lte", 5.4)],
    [(f"{E}_is", "a"), (f"{E}_in", ["b", "c"])],
    [(f"{E}_is", "a"), (f"{E}_ne", "a")],
    [(f"{E}_in", ["a", "b"]), (f"{E}_not_in", ["b", "a", "c"])],
    [(f"{E}_is", 3), (f"{E}_gt", 3)],
    [(f"{E}_is", "high"), (f"{E}_gte", 1)],
    [(f"{E}_is", True), (f"{E}_gte", 0)],
    [(f"{E}_in", [])],
    [(f"{E}_present", True), (f"{E}_present", False)],
    [(f"{E}_present", False), (f"{E}_gte", 1)],
    [(f"{E}_present", False), (f"{E}_is", "x")],
    [(f"{E}_present", True), (f"{E}_is", None)],
    [(f"{E}_is", None), (f"{E}_ne", "a")],
    [("amount_currency_is", "USD"), ("amount_currency_ne", "USD")],
]
POSSIBLE = [
    [("amount_usd_gt", 100), ("amount_usd_lt", 200)],
    [(f"{E}_gte", 5), (f"{E}_lte", 5)],
    [(f"{E}_is", 1), (f"{E}_in", [1.0, 2])],
    [(f"{E}_ne", "a"), (f"{E}_not_in", ["b"])],
    [(f"{E}_present", False), (f"{E}_is", None)],
    [(f"{E}_present", False), (f"{E}_is", "")],
    [(f"{E}_gt", 5), ("evidence.l_lt", 5)],
    [(f"{E}_matches", "^a"), (f"{E}_matches", "^b")],
    [("amount_currency_is", None), ("amount_currency_ne", "USD")],
    [("tags_any", ["a"]), ("tags_all", ["b"])],
    [],
]


@pytest.mark.parametrize("pairs", IMPOSSIBLE, ids=str)
def test_contradictions_are_named(pairs: list) -> None:
    """What cannot hold is told by the field that it is about."""
    conditions = [compile_condition(key, operand, {}) for key, operand in pairs]
    assert contradiction(conditions) == conditions[0].field


@pytest.mark.parametrize("pairs", POSSIBLE, ids=str)
def test_what_can_hold_is_no_contradiction(pairs: list) -> None:
    """Conditions that some fact satisfies, or that cannot be told, pass."""
    assert contradiction([compile_condition(key, operand, {}) for key, operand in pairs]) is None


VALUES = [None, "", "a", "b", 0, 1, 1.5, 2, True, False, [], ["a"]]
scalars = st.sampled_from([None, "", "a", "b", 0, 1, 1.5, 2, True, False])
conditions_of_one_field = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([f"{E}_is", f"{E}_ne"]), scalars),
        st.tuples(st.sampled_from([f"{E}_in", f"{E}_not_in"]), st.lists(scalars, max_size=3)),
        st.tuples(
            st.sampled_from([f"{E}_gt", f"{E}_gte", f"{E}_lt", f"{E}_lte"]), st.sampled_from([0, 1, 1.5, 2])
        ),
        st.tuples(st.just(f"{E}_present"), st.booleans()),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(conditions_of_one_field)
def test_no_fact_satisfies_a_contradiction(pairs: list) -> None:
    """Whatever is called a contradiction is false for every value at hand."""
    conditions = [compile_condition(key, operand, {}) for key, operand in pairs]
    if contradiction(conditions) is None:
        return
    for value in VALUES:
        request = {
            "action": {"type": "demo.act", "intent": "x"},
            "subject": {"type": "agent", "id": "s"},
            "evidence": {"k": value},
        }
        facts = derive(request, 0.0)
        assert not all(condition.test(facts) for condition in conditions), value
