"""Duplicates: who is refused, who is kept, against a plain reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.errors import ClaimTakenError, DuplicateKeyError
from gateway.store.claims import ClaimStep
from gateway.store.rows import Sealed, seal
from gateway.store.sift import needs_care, questions, sift
from tests.kit.entries import claim, decision, policy


@dataclass(frozen=True)
class Waiting:
    """A group in the queue."""

    entries: tuple[Sealed, ...]
    steps: tuple[ClaimStep, ...] = ()


Plan: TypeAlias = tuple[int, str | None]
PLAIN = st.tuples(st.integers(0, 5), st.sampled_from([None, "k1", "k2"]))


@settings(max_examples=200, derandomize=True)
@given(st.lists(st.lists(PLAIN, min_size=1, max_size=3), max_size=5), st.sets(st.integers(0, 5), max_size=2))
def test_a_group_is_kept_whole_or_not_at_all(
    plan: list[list[tuple[int, str | None]]], stored: set[int]
) -> None:
    """Groups are taken in order; one is refused exactly if an id or a key of it is taken by then."""
    groups = [tuple(seal(decision(n, request_key=key)) for n, key in group) for group in plan]
    ids = {decision(n).entry_id for n in stored}
    sifted = sift(groups, {(None, "k2"): "holder"}, ids)
    taken_ids, taken_keys, kept, refused = set(ids), {"k2"}, [], []
    for index, group in enumerate(groups):
        names = [entry.entry_id for entry in group]
        keys = [entry.request_key for entry in group if entry.request_key]
        if (
            len({*names}) < len(names)
            or len({*keys}) < len(keys)
            or taken_ids & {*names}
            or taken_keys & {*keys}
        ):
            refused.append(index)
            continue
        kept.append(group)
        taken_ids |= {*names}
        taken_keys |= {*keys}
    assert list(sifted.kept) == kept
    assert sorted(sifted.refused) == refused
    outcomes = sifted.outcomes([(n, n) for n in range(len(kept))])
    assert [isinstance(outcome, tuple) for outcome in outcomes] == [
        n not in refused for n in range(len(groups))
    ]


def test_the_holder_of_a_key_is_named() -> None:
    """A refusal names the decision that holds the key."""
    sifted = sift([(seal(decision(1, request_key="k")),)], {(None, "k"): "holder"}, set())
    error = sifted.refused[0]
    assert isinstance(error, DuplicateKeyError)
    assert error.decision_id == "holder"


def test_care_is_taken_only_where_it_is_needed() -> None:
    """Plain decisions are stored without a look; keys and policies are looked up."""
    plain, keyed, policies = (seal(e) for e in (decision(1), decision(2, request_key="k"), policy()))
    assert not needs_care([Waiting((plain,))])
    assert needs_care([Waiting((plain, keyed))])
    assert needs_care([Waiting((policies,))])
    assert needs_care([Waiting((plain,)), Waiting((plain,), (ClaimStep(claim("a")),))])
    asked = questions([(plain, keyed), (policies,)], thorough=False)
    assert (asked.keys, asked.ids) == (((None, "k"),), (policies.entry_id,))
    assert len(questions([(plain, keyed), (policies,)], thorough=True).ids) == 3


def test_of_two_claims_in_one_batch_the_first_is_kept() -> None:
    """The second group finds what the first has claimed, is refused whole, and a third is not touched."""
    groups = [(seal(decision(n)),) for n in (1, 2, 3)]
    steps = [(ClaimStep(claim("a", 1)),), (ClaimStep(claim("a", 2)), ClaimStep(claim("b", 2))), ()]
    sifted = sift(groups, {}, set(), steps=steps, claims={})
    assert sifted.kept == (groups[0], groups[2])
    assert list(sifted.refused) == [1]
    assert isinstance(sifted.refused[1], ClaimTakenError)
    assert list(sifted.claims.values()) == [claim("a", 1)]


def test_a_group_with_a_taken_id_claims_nothing() -> None:
    """Where an entry is refused, its claims are not carried out either."""
    steps = [(ClaimStep(claim("a", 1)),)]
    sifted = sift([(seal(decision(1)),)], {}, {decision(1).entry_id}, steps=steps, claims={})
    assert (sifted.kept, dict(sifted.claims)) == ((), {})
