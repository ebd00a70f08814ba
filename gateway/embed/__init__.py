"""The composition root of the library: decisions without a server, durable before a call returns.

Nothing here may load HTTP: programs that only decide must start as if there were no gateway.
"""

from __future__ import annotations

from gateway.embed.config import LumynConfig
from gateway.embed.face import Lumyn, adecide, decide
from gateway.embed.gate import gate
from gateway.embed.typed import DecisionRecord, Labelled, Replayed
from gateway.kernel.errors import ConflictError as IdempotencyConflictError
from gateway.kernel.errors import (
    GatewayError,
    InvalidConfigError,
    InvalidPolicyError,
    InvalidRequestError,
    NotFoundError,
    NotTrustedError,
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
