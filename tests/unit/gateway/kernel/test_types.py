"""The shared vocabulary: closed sets whose order and spelling others rely on."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.kernel.types import (
    EVERY_TENANT,
    NO_TENANT,
    PRECEDENCE,
    STAGES,
    Fate,
    Mode,
    Stage,
    Tenant,
    Verdict,
)


def test_the_words_of_the_contract() -> None:
    """Verdicts, stages, modes and fates are spelled as in the contract and the design."""
    assert set(Verdict) == {"TRUST", "ABSTAIN", "ESCALATE", "QUERY"}
    assert list(STAGES) == list(Stage)
    assert STAGES == ("REQUIREMENTS", "HARD_BLOCKS", "ESCALATIONS", "TRUST_PATHS", "DEFAULT")
    assert set(Mode) == {"enforce", "advisory"}
    assert set(Fate) == {
        *("complete", "cut", "client_gone", "refused"),
        *("shed", "expired", "failed", "unknown"),
    }


def test_precedence_is_total_and_trust_is_last() -> None:
    """Every verdict has a place, and nothing is looser than TRUST."""
    assert sorted(PRECEDENCE) == sorted(Verdict)
    assert PRECEDENCE[0] is Verdict.ABSTAIN
    assert PRECEDENCE[-1] is Verdict.TRUST


def test_no_tenant_is_a_tenant_that_no_name_spells() -> None:
    """The tenant of requests that name none equals no named one, and not the operator's scope."""
    assert Tenant(None) == NO_TENANT
    assert NO_TENANT not in {Tenant(""), Tenant("None"), Tenant("null")}
    assert NO_TENANT != EVERY_TENANT


def test_tenants_cannot_be_changed() -> None:
    """A scope that was checked stays what it was."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        NO_TENANT.tenant_id = "acme"  # type: ignore[misc]
