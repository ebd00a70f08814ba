"""What of a queue outlives an outage: the fates of what was admitted before it.

Whoever waits is refused at once. A group for which nobody waits (an outcome, a control record) stays in the
queue and is committed when the store is back, so that a full disk leaves no exchange without its fate;
unless the decision that it belongs to was refused: then there is nothing to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.store.rows import Sealed
    from gateway.store.writer import Group


def spare(groups: Iterable[Group], lost: set[str]) -> tuple[list[Group], list[Group]]:
    """Return which groups of an outage are refused and which are kept, each in order.

    `lost` holds the ids of the entries that this outage has refused, and gets those refused here.
    """
    refused: list[Group] = []
    kept: list[Group] = []
    for group in groups:
        if group.patient and not belongs_to_lost(group.entries, lost):
            kept.append(group)
        else:
            lost.update(entry.entry_id for entry in group.entries)
            refused.append(group)
    return refused, kept


def belongs_to_lost(entries: Sequence[Sealed], lost: AbstractSet[str]) -> bool:
    """Tell whether an entry is an event of a decision that was refused."""
    return any(entry.decision_id in lost for entry in entries)
