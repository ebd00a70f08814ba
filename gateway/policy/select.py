"""Which policy decides an action: the pack that names its type, else the main policy.

One policy decides one action, so that the `policy_hash` of a record names the whole of what decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.kernel.canon import digest
from gateway.kernel.errors import InvalidPolicyError
from gateway.kernel.problem import Problem
from gateway.policy.compile import CompiledPolicy


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policies in force. Raises `InvalidPolicyError` where two of them name the same action type."""

    main: CompiledPolicy
    packs: tuple[CompiledPolicy, ...] = ()
    digest: str = field(init=False)
    """Names the whole set: the main policy's hash and the packs' in their order."""
    _by_name: dict[str, CompiledPolicy] = field(init=False, repr=False, compare=False)
    _by_prefix: tuple[tuple[str, CompiledPolicy], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named: dict[str, CompiledPolicy] = {}
        prefixed: dict[str, CompiledPolicy] = {}
        problems: list[Problem] = []
        for policy in self.policies:
            for names, index in ((policy.action_types, named), (policy.action_prefixes, prefixed)):
                for name in sorted(names):
                    first = index.setdefault(name, policy)
                    if first is not policy:
                        problems.append(_clash(name, first, policy))
        if problems:
            raise InvalidPolicyError(problems, source="the policies of the configuration")
        hashes = {"main": self.main.policy_hash, "packs": [pack.policy_hash for pack in self.packs]}
        longest_first = sorted(prefixed.items(), key=lambda item: (-len(item[0]), item[0]))
        object.__setattr__(self, "digest", digest(hashes))
        object.__setattr__(self, "_by_name", named)
        object.__setattr__(self, "_by_prefix", tuple(longest_first))

    @property
    def policies(self) -> tuple[CompiledPolicy, ...]:
        """The main policy, then the packs."""
        return (self.main, *self.packs)

    def for_action(self, action_type: str) -> CompiledPolicy:
        """Return the policy that decides this action type: by name, else by the longest prefix, else main."""
        found = self._by_name.get(action_type)
        if found is not None:
            return found
        for prefix, policy in self._by_prefix:
            if action_type.startswith(prefix):
                return policy
        return self.main


def _clash(name: str, first: CompiledPolicy, second: CompiledPolicy) -> Problem:
    return Problem(
        f"`{name}` is named by two policies, {first.policy_id} ({first.source}) and "
        f"{second.policy_id} ({second.source}): take it out of one"
    )
