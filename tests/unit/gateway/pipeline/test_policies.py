"""Policies from files and from the package, and what gives way to what."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import PolicyConfig
from gateway.kernel.errors import InvalidConfigError, InvalidPolicyError
from gateway.pipeline.policies import load_policies, load_policy, policy_entries, policy_set
from gateway.policy.builtin import PACKS, SUPPORT

BILLING = "policies/packs/billing.v0.yml"


def test_default_packs_decide_their_own_actions() -> None:
    """With nothing configured each built-in pack decides what it names, the support policy the rest."""
    policies = load_policies(PolicyConfig())
    assert policies.for_action("billing.approve_spend").policy_id == "lumyn-billing"
    assert policies.for_action("support.refund").policy_id == "lumyn-support"
    assert len(policies.packs) == len(PACKS)


def test_a_default_pack_gives_way_to_the_main_policy() -> None:
    """A main policy that names a pack's action decides it, and the pack is not loaded twice."""
    policies = load_policies(PolicyConfig(path=BILLING))
    assert policies.main.policy_id == "lumyn-billing"
    assert "lumyn-billing" not in {pack.policy_id for pack in policies.packs}


def test_a_configured_pack_does_not_give_way() -> None:
    """Two policies that name one action, both asked for by name, are an error."""
    with pytest.raises(InvalidPolicyError, match="named by two policies"):
        load_policies(PolicyConfig(path=BILLING, packs=(BILLING,)))


def test_a_file_wins_over_a_built_in_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path is looked for from the working directory first."""
    file = tmp_path / SUPPORT
    file.parent.mkdir()
    file.write_text(Path(SUPPORT).read_text().replace("policy_id: lumyn-support", "policy_id: mine"))
    monkeypatch.chdir(tmp_path)
    assert load_policy(SUPPORT).policy_id == "mine"


def test_a_policy_that_is_nowhere_is_named() -> None:
    """The error says which policy was not found."""
    with pytest.raises(InvalidConfigError, match=r"policy not found: nowhere\.yml"):
        load_policy("nowhere.yml")


def test_entries_keep_every_policy_by_its_hash() -> None:
    """Main policy and packs are kept, each under its hash and with its text as read."""
    policies = policy_set(SUPPORT, PACKS, default_packs=True)
    entries = policy_entries(policies, 5)
    assert [entry.entry_id for entry in entries] == [policy.policy_hash for policy in policies.policies]
    assert entries[0].body == Path(SUPPORT).read_bytes()
