"""Claims: rows beside the ledger that say who holds what, and change only inside a commit.

A claim is named by a space, a tenant and a name; it has a state and the decision that holds it. It changes
by compare-and-set: a `ClaimStep` says what must stand there and what is to stand there, and is carried out
in the transaction that stores the entries it comes with, or refuses all of them. So what must happen once
(an approval is used, an idempotency key is taken) happens once, whatever process asks.

Claims are no records: what happened stands in the ledger, as decisions and events. Pure; the same for every
database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from gateway.kernel.errors import ClaimTakenError
from gateway.kernel.types import Tenant

ClaimKey: TypeAlias = tuple[str, str, str]
"""Space, tenant as a column, name."""

CLAIM_COLUMNS: Final = (
    "space",
    "tenant",
    "name",
    "owner",
    "state",
    "digest",
    "decision_id",
    "at_ms",
    "expires_ms",
    "body",
)
CLAIM_LIST: Final = ", ".join(CLAIM_COLUMNS)


@dataclass(frozen=True, slots=True)
class Claim:
    """One row. It is free again from `expires_ms` on (wall clock)."""

    space: str
    tenant: Tenant
    name: str
    owner: str
    """The name of the key that it belongs to."""
    state: str
    digest: str
    """Of what it was claimed for."""
    decision_id: str
    """Who holds it."""
    at_ms: int
    expires_ms: int
    body: bytes = b""

    @property
    def key(self) -> ClaimKey:
        """What names the row."""
        return self.space, tenant_column(self.tenant), self.name


@dataclass(frozen=True, slots=True)
class ClaimStep:
    """A compare-and-set. `over` is what must stand there, by state and decision; None: nothing that lives."""

    claim: Claim
    over: Claim | None = None
    removes: bool = False
    """The row goes, instead of becoming `claim`."""


@dataclass(frozen=True, slots=True)
class ClaimFilter:
    """What a listing is narrowed to; None means any."""

    states: tuple[str, ...] | None = None
    owner: str | None = None
    alive_ms: int | None = None
    """Only what has not expired at this instant."""
    expired_ms: int | None = None
    """Only what has."""


@dataclass(frozen=True, slots=True)
class ClaimPage:
    """Claims, newest decision first, and the cursor of the next page (None at the end)."""

    claims: tuple[Claim, ...]
    next_cursor: str | None


def tenant_column(tenant: Tenant) -> str:
    """Return a tenant as it stands in a primary key, where NULL cannot: no name is spelt like none."""
    return "" if tenant.tenant_id is None else "=" + tenant.tenant_id


def claim_row(claim: Claim) -> tuple[Any, ...]:
    """Return a claim in the order of `CLAIM_COLUMNS`."""
    return (
        *claim.key,
        claim.owner,
        claim.state,
        claim.digest,
        claim.decision_id,
        claim.at_ms,
        claim.expires_ms,
        claim.body,
    )


def claim_of(row: Sequence[Any]) -> Claim:
    """Return the claim of a row in the order of `CLAIM_COLUMNS`."""
    tenant = Tenant(row[1][1:] if row[1] else None)
    return Claim(row[0], tenant, *row[2:])


def asked_keys(groups: Sequence[Sequence[ClaimStep]]) -> tuple[ClaimKey, ...]:
    """Return the rows that must be looked up before these steps can be taken."""
    return tuple({step.claim.key for steps in groups for step in steps})


def take(steps: Sequence[ClaimStep], rows: dict[ClaimKey, Claim]) -> ClaimTakenError | None:
    """Carry steps out on `rows`, in order; the first that does not fit is returned and ends it."""
    for step in steps:
        key = step.claim.key
        stands = rows.get(key)
        if not _fits(step, stands):
            state, holder = ("", "") if stands is None else (stands.state, stands.decision_id)
            return ClaimTakenError(state, holder)
        if step.removes:
            rows.pop(key, None)
        else:
            rows[key] = step.claim
    return None


def _fits(step: ClaimStep, stands: Claim | None) -> bool:
    if step.over is None:
        return stands is None or stands.expires_ms <= step.claim.at_ms
    return stands is not None and (stands.state, stands.decision_id) == (
        step.over.state,
        step.over.decision_id,
    )


def changes(
    before: Mapping[ClaimKey, Claim], after: Mapping[ClaimKey, Claim]
) -> tuple[list[Claim], list[ClaimKey]]:
    """Return the rows to write and those to take away, to come from one state to the other."""
    written = [claim for key, claim in after.items() if before.get(key) is not claim]
    return written, [key for key in before if key not in after]
