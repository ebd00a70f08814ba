"""The policies in force: read, compiled, and kept in the store so that their records can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gateway.kernel.errors import InvalidConfigError
from gateway.policy.builtin import built_in
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.select import PolicySet
from gateway.records.types import PolicyEntry


class PolicyPaths(Protocol):
    """The part of the configuration that is needed here: its `policy` key."""

    @property
    def path(self) -> str:
        """Where the main policy is."""
        ...

    @property
    def packs(self) -> tuple[str, ...]:
        """Where the packs are."""
        ...

    @property
    def model_fields_set(self) -> set[str]:
        """The keys that are configured, and not only by default."""
        ...


def load_policies(config: PolicyPaths) -> PolicySet:
    """Read and compile the configured policies. Raises InvalidPolicyError or InvalidConfigError."""
    return policy_set(config.path, config.packs, default_packs="packs" not in config.model_fields_set)


def policy_set(path: str, packs: Sequence[str], *, default_packs: bool) -> PolicySet:
    """Read and compile policies. Raises as `load_policies`.

    Default packs give way: a main policy that names an action of one decides it itself. Packs that
    somebody asked for must not clash with anything.
    """
    main = load_policy(path)
    compiled = [load_policy(pack) for pack in packs]
    return PolicySet(main, tuple(_giving_way(main, compiled) if default_packs else compiled))


def load_policy(path: str) -> CompiledPolicy:
    """Read and compile one policy: a file, or a built-in. Raises as `load_policies`."""
    text, source = read_policy(path)
    return compile_policy(text, source=source)


def read_policy(path: str) -> tuple[bytes, str]:
    """Return a policy's bytes and where they came from. Raises InvalidConfigError where it is nowhere."""
    file = Path(path)
    try:
        if file.is_file():
            return file.read_bytes(), str(file)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidConfigError(f"policy {path} cannot be read: {reason}") from None
    if (text := built_in(path)) is not None:
        return text, path
    raise InvalidConfigError(f"policy not found: {path}", hint="name a file, or a built-in under policies/")


def _giving_way(main: CompiledPolicy, packs: Sequence[CompiledPolicy]) -> list[CompiledPolicy]:
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
