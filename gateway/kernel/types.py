"""The vocabulary that every part of the gateway shares: plain values, no behaviour.

Nothing here reads a clock, a file or a socket, and nothing may ever be added that does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

JSON: TypeAlias = Any
"""A value that `kernel.parse` can return: None, bool, int, float, str, list, dict with str keys."""
JSONObject: TypeAlias = dict[str, Any]


class Verdict(StrEnum):
    """What the gate says of an action, strictest first in `PRECEDENCE`."""

    TRUST = "TRUST"
    ABSTAIN = "ABSTAIN"
    ESCALATE = "ESCALATE"
    QUERY = "QUERY"


PRECEDENCE: Final = (Verdict.ABSTAIN, Verdict.QUERY, Verdict.ESCALATE, Verdict.TRUST)
"""Of several effects the first in this order wins (contract 1.6)."""


class Stage(StrEnum):
    """The stages of evaluation; `STAGES` is their fixed order."""

    REQUIREMENTS = "REQUIREMENTS"
    HARD_BLOCKS = "HARD_BLOCKS"
    ESCALATIONS = "ESCALATIONS"
    TRUST_PATHS = "TRUST_PATHS"
    DEFAULT = "DEFAULT"


STAGES: Final = (Stage.REQUIREMENTS, Stage.HARD_BLOCKS, Stage.ESCALATIONS, Stage.TRUST_PATHS, Stage.DEFAULT)


class Mode(StrEnum):
    """`enforce` holds what is not trusted; `advisory` records the true verdict and lets it pass."""

    ENFORCE = "enforce"
    ADVISORY = "advisory"


class Fate(StrEnum):
    """How an exchange ended; each one ends in exactly one of these, recorded and never guessed."""

    COMPLETE = "complete"
    CUT = "cut"
    CLIENT_GONE = "client_gone"
    REFUSED = "refused"
    SHED = "shed"
    EXPIRED = "expired"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose data it is. `tenant_id` None is the tenant of requests that name none; no name spells it."""

    tenant_id: str | None


NO_TENANT: Final = Tenant(None)


@dataclass(frozen=True, slots=True)
class EveryTenant:
    """The operator's scope: only admin and the command line may hold it."""


EVERY_TENANT: Final = EveryTenant()
Scope: TypeAlias = Tenant | EveryTenant
