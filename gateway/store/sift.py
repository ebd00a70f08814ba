"""Before a batch is stored: which of its groups may not be, and which policies are there already.

A group is refused for an id or an idempotency key that is taken, and for a claim that stands otherwise than
the group expects.

Pure: the driver looks up what `questions` asks, under its write lock, and `sift` decides. One group that
is refused does not touch the others of its batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from gateway.kernel.errors import ConflictError, DuplicateKeyError
from gateway.store.claims import Claim, ClaimKey, ClaimStep, take
from gateway.store.rows import Sealed

Key: TypeAlias = tuple[str | None, str]
"""Tenant id and request key."""
_NO_CLAIMS: Final[Mapping[ClaimKey, Claim]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Questions:
    """What has to be looked up before a batch can be stored."""

    keys: tuple[Key, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sifted:
    """What may be stored, group by group, and the groups (by index) that may not."""

    kept: tuple[tuple[Sealed, ...], ...]
    refused: Mapping[int, ConflictError]
    claims: Mapping[ClaimKey, Claim]
    """What stands, of what was looked up, once the kept groups are stored."""

    def outcomes(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int] | ConflictError]:
        """Put the spans of the kept groups and the refusals into the order of the batch."""
        stored = iter(spans)
        count = len(self.kept) + len(self.refused)
        return [self.refused[index] if index in self.refused else next(stored) for index in range(count)]


class Submitted(Protocol):
    """A group as it waits to be stored."""

    @property
    def entries(self) -> tuple[Sealed, ...]:
        """What is to be stored."""
        ...

    @property
    def steps(self) -> tuple[ClaimStep, ...]:
        """What is to be claimed."""
        ...


def needs_care(groups: Sequence[Submitted]) -> bool:
    """Tell whether a batch holds idempotency keys or policies, which may be stored already, or claims."""
    for group in groups:
        if group.steps:
            return True
        for entry in group.entries:
            if entry.row[10] is not None or entry.row[0] == "policy":
                return True
    return False


def questions(groups: Sequence[Sequence[Sealed]], *, thorough: bool) -> Questions:
    """Return what to look up: the keys and the policies; `thorough`: every id, after one was refused."""
    entries = [entry for group in groups for entry in group]
    keys = {(entry.tenant_id, entry.request_key) for entry in entries if entry.request_key is not None}
    ids = {entry.entry_id for entry in entries if thorough or entry.kind == "policy"}
    return Questions(tuple(keys), tuple(ids))


def sift(
    groups: Sequence[Sequence[Sealed]],
    holders: Mapping[Key, str],
    stored_ids: frozenset[str] | set[str],
    *,
    steps: Sequence[Sequence[ClaimStep]] = (),
    claims: Mapping[ClaimKey, Claim] = _NO_CLAIMS,
) -> Sifted:
    """Keep the groups that clash with nothing stored and with no group before them in the batch.

    `holders` names the decision that holds a key already. `steps` are those of each group, `claims` what
    stands of the rows they name.
    """
    keys, ids, rows = dict(holders), set(stored_ids), dict(claims)
    kept: list[tuple[Sealed, ...]] = []
    refused: dict[int, ConflictError] = {}
    for index, group in enumerate(groups):
        own_keys, own_ids, own_rows = dict(keys), set(ids), dict(rows)
        outcome = _sift_group(group, own_keys, own_ids)
        if steps and (clash := take(steps[index], own_rows)) is not None:
            outcome = clash
        if isinstance(outcome, ConflictError):
            refused[index] = outcome
        else:
            kept.append(outcome)
            keys, ids, rows = own_keys, own_ids, own_rows
    return Sifted(tuple(kept), refused, rows)


def _sift_group(
    group: Sequence[Sealed], keys: dict[Key, str], ids: set[str]
) -> tuple[Sealed, ...] | ConflictError:
    """Return the entries to store, with their keys and ids added to what is taken, or the clash."""
    fresh: list[Sealed] = []
    for entry in group:
        if entry.entry_id in ids:
            if entry.kind == "policy":
                continue  # Appending one that is there changes nothing.
            return ConflictError(f"{entry.kind} {entry.entry_id} is stored already")
        if entry.request_key is not None:
            holder = keys.setdefault((entry.tenant_id, entry.request_key), entry.entry_id)
            if holder != entry.entry_id:
                return DuplicateKeyError(holder)
        ids.add(entry.entry_id)
        fresh.append(entry)
    return tuple(fresh)
