"""Compare-and-set: what fits is carried out, and what does not changes nothing more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.types import NO_TENANT, Tenant
from gateway.store.claims import (
    CLAIM_COLUMNS,
    Claim,
    ClaimKey,
    ClaimStep,
    asked_keys,
    changes,
    claim_of,
    claim_row,
    take,
    tenant_column,
)
from tests.kit.entries import START_MS, claim


@given(st.none() | st.text(max_size=5), st.none() | st.text(max_size=5))
def test_no_two_tenants_share_a_column(one: str | None, other: str | None) -> None:
    """No tenant, an empty one and any name are all different in the primary key."""
    assert (tenant_column(Tenant(one)) == tenant_column(Tenant(other))) is (one == other)


@pytest.mark.parametrize("tenant", [NO_TENANT, Tenant(""), Tenant("acme"), Tenant("=acme")])
def test_a_row_is_read_back(tenant: Tenant) -> None:
    """A claim comes back from its row as it was, one value a column."""
    made = claim("a", tenant=tenant, body=b"\x00\xff")
    assert len(claim_row(made)) == len(CLAIM_COLUMNS)
    assert claim_of(claim_row(made)) == made


OPEN = claim("a", 1)
CASES: dict[str, tuple[Claim | None, ClaimStep, bool]] = {
    "a free name is taken": (None, ClaimStep(claim("a", 2)), True),
    "a held name is not": (OPEN, ClaimStep(claim("a", 2)), False),
    "an expired one is free": (OPEN, ClaimStep(claim("a", 2, at_ms=OPEN.expires_ms)), True),
    "just before it is not": (OPEN, ClaimStep(claim("a", 2, at_ms=OPEN.expires_ms - 1)), False),
    "what was seen is followed": (OPEN, ClaimStep(claim("a", 2), over=OPEN), True),
    "another state is not": (OPEN, ClaimStep(claim("a", 2), over=claim("a", 1, state="done")), False),
    "another holder is not": (OPEN, ClaimStep(claim("a", 2), over=claim("a", 9)), False),
    "what has gone is not": (None, ClaimStep(claim("a", 2), over=OPEN), False),
    "an expired one is followed where it was seen": (
        OPEN,
        ClaimStep(claim("a", 2, at_ms=START_MS * 2), over=OPEN),
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_fits_or_not(case: str) -> None:
    """A step is carried out exactly where what it expects stands; a refusal names what stands."""
    stands, step, fits = CASES[case]
    rows: dict[ClaimKey, Claim] = {} if stands is None else {stands.key: stands}
    clash = take([step], rows)
    assert (clash is None) is fits
    if clash is None:
        assert rows == {step.claim.key: step.claim}
    else:
        assert (clash.state, clash.decision_id) == (
            ("", "") if stands is None else ("open", stands.decision_id)
        )
        assert rows == ({} if stands is None else {stands.key: stands})


def test_a_removal_frees_the_name() -> None:
    """A step that removes leaves nothing, and only over what it saw."""
    rows = {OPEN.key: OPEN}
    assert take([ClaimStep(claim("a"), over=claim("a", 9), removes=True)], rows) is not None
    assert take([ClaimStep(claim("a"), over=OPEN, removes=True), ClaimStep(claim("a", 3))], rows) is None
    assert rows[OPEN.key].decision_id == claim("a", 3).decision_id


def test_what_is_written_is_what_changed() -> None:
    """Between two states only the rows that differ are written, and those that are gone taken away."""
    same, old, new, gone = claim("same"), claim("x", 1), claim("x", 2), claim("gone")
    before = {made.key: made for made in (same, old, gone)}
    after = {made.key: made for made in (same, new)}
    assert changes(before, after) == ([new], [gone.key])
    assert asked_keys([(ClaimStep(same),), (ClaimStep(new), ClaimStep(new))]) in (
        (same.key, new.key),
        (new.key, same.key),
    )
