"""The policies in force: read, compiled, and kept in the store so that their records can be replayed."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config import PolicyConfig, read_policy
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.select import PolicySet
from gateway.records.types import PolicyEntry


def load_policies(config: PolicyConfig) -> PolicySet:
    """Read and compile the configured policies. Raises InvalidPolicyError or InvalidConfigError.

    Packs that nobody asked for by name give way: a main policy that names an action of a default pack
    decides it itself. Packs that are configured must not clash with anything.
    """
    asked = "packs" in config.model_fields_set
    main = load_policy(config.path)
    packs = [load_policy(path) for path in config.packs]
    return PolicySet(main, tuple(packs if asked else giving_way(main, packs)))


def load_policy(path: str) -> CompiledPolicy:
    """Read and compile one policy: a file, or a built-in. Raises as `load_policies`."""
    text, source = read_policy(path)
    return compile_policy(text, source=source)


def giving_way(main: CompiledPolicy, packs: Sequence[CompiledPolicy]) -> list[CompiledPolicy]:
    """Return the packs that name no action, and no beginning of one, that the main policy names."""
    return [
        pack
        for pack in packs
        if not pack.action_types & main.action_types and not pack.action_prefixes & main.action_prefixes
    ]


def policy_entries(policies: PolicySet, at_ms: int) -> list[PolicyEntry]:
    """Return the entries that keep every policy that may decide."""
    return [
        PolicyEntry(
            entry_id=policy.policy_hash,
            at_ms=at_ms,
            policy_id=policy.policy_id,
            policy_version=policy.policy_version,
            body=policy.text,
        )
        for policy in policies.policies
    ]
