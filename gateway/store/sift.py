"""Before a batch is stored: which of its groups may not be, and which policies are there already.

Pure: the driver looks up what `questions` asks, under its write lock, and `sift` decides. One group that
is refused does not touch the others of its batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.kernel.errors import ConflictError, DuplicateKeyError
from gateway.store.rows import Sealed

Key: TypeAlias = tuple[str | None, str]
"""Tenant id and request key."""


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

    def outcomes(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int] | ConflictError]:
        """Put the spans of the kept groups and the refusals into the order of the batch."""
        stored = iter(spans)
        count = len(self.kept) + len(self.refused)
        return [self.refused[index] if index in self.refused else next(stored) for index in range(count)]


def needs_care(groups: Sequence[Sequence[Sealed]]) -> bool:
    """Tell whether a batch holds idempotency keys or policies, which may be stored already."""
    return any(entry.row[10] is not None or entry.row[0] == "policy" for group in groups for entry in group)


def questions(groups: Sequence[Sequence[Sealed]], *, thorough: bool) -> Questions:
    """Return what to look up: the keys and the policies; `thorough`: every id, after one was refused."""
    entries = [entry for group in groups for entry in group]
    keys = {(entry.tenant_id, entry.request_key) for entry in entries if entry.request_key is not None}
    ids = {entry.entry_id for entry in entries if thorough or entry.kind == "policy"}
    return Questions(tuple(keys), tuple(ids))


def sift(
    groups: Sequence[Sequence[Sealed]], holders: Mapping[Key, str], stored_ids: frozenset[str] | set[str]
) -> Sifted:
    """Keep the groups that clash with nothing stored and with no group before them in the batch.

    `holders` names the decision that holds a key already.
    """
    keys, ids = dict(holders), set(stored_ids)
    kept: list[tuple[Sealed, ...]] = []
    refused: dict[int, ConflictError] = {}
    for index, group in enumerate(groups):
        own_keys, own_ids = dict(keys), set(ids)
        outcome = _sift_group(group, own_keys, own_ids)
        if isinstance(outcome, ConflictError):
            refused[index] = outcome
        else:
            kept.append(outcome)
            keys, ids = own_keys, own_ids
    return Sifted(tuple(kept), refused)


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
