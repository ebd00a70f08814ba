"""Lumyn, for Python programs: `from lumyn import decide, LumynConfig`.

Only the face: every name is `gateway.embed`'s and is loaded when it is first asked for, so that
`import lumyn` costs nothing and never loads the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.embed import (
        DecisionRecord,
        GatewayError,
        IdempotencyConflictError,
        InvalidConfigError,
        InvalidPolicyError,
        InvalidRequestError,
        Labelled,
        Lumyn,
        LumynConfig,
        NotFoundError,
        NotTrustedError,
        Replayed,
        adecide,
        decide,
        gate,
    )

__all__ = [
    "DecisionRecord",
    "GatewayError",
    "IdempotencyConflictError",
    "InvalidConfigError",
    "InvalidPolicyError",
    "InvalidRequestError",
    "Labelled",
    "Lumyn",
    "LumynConfig",
    "NotFoundError",
    "NotTrustedError",
    "Replayed",
    "adecide",
    "decide",
    "gate",
]


def __getattr__(name: str) -> Any:
    """Load a name of `__all__` on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'lumyn' has no attribute {name!r}")
    from gateway import embed

    value = globals()[name] = getattr(embed, name)
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
