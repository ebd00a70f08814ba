"""Whether a further attempt may be made, when, and out of which budget. Pure: time and chance are arguments.

Three questions, in this order, each with its own answer:

1. *May it be sent again?* Only before the first byte of an answer has gone to the client, and never where
   it might have an effect twice. `Repeats` says what kind of request it is, `Failure` how far it came.
2. *Is it worth it?* A bound of attempts and of seconds for each request.
3. *Can we afford it?* A budget over all requests: retries are a share of the traffic, so that backends
   which fail under load do not get a multiple of it (Finagle's `RetryBudget`, and the Site Reliability
   Engineering book, "Handling Overload": 10 % of requests).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Final

from gateway.kernel import bounds
from gateway.kernel.errors import (
    UpstreamBusyError,
    UpstreamClosedError,
    UpstreamConnectTimeoutError,
    UpstreamError,
    UpstreamOpenError,
    UpstreamTimeoutError,
)
from gateway.wire.statuses import ANOTHER_MIGHT, NOT_TAKEN


class Repeats(Enum):
    """What a repetition of a request does."""

    FREELY = auto()
    """Nothing but cost: a generation. Whether that is worth it the configuration says (`after_send`)."""
    KEYED = auto()
    """Nothing: whoever serves it knows its idempotency key."""
    ONCE = auto()
    """Its effect a second time: never again once a byte of it has left."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How many attempts, how long, after what; the reasons stand in `kernel.bounds`."""

    attempts_max: int = bounds.ATTEMPTS_MAX
    total_s: float = bounds.ATTEMPTS_TOTAL_S
    statuses: frozenset[int] = ANOTHER_MIGHT
    after_send: bool = False
    same_backend: bool = False
    backoff_s: float = bounds.BACKOFF_S
    backoff_max_s: float = bounds.BACKOFF_MAX_S
    budget_ratio: float = bounds.RETRY_BUDGET_RATIO
    budget_per_s: float = bounds.RETRY_BUDGET_PER_S


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt came to nothing, and how far it had come."""

    reason: str
    reached: bool
    """A byte of the request may have reached the backend."""
    worked: bool
    """The backend may have begun to work on it."""
    retry_after_s: float | None = None
    """When the backend wants to be asked again."""


_REASONS: Final = (
    (UpstreamOpenError, "open"),
    (UpstreamBusyError, "busy"),
    (UpstreamConnectTimeoutError, "connect_timeout"),
    (UpstreamClosedError, "closed"),
    (UpstreamTimeoutError, "timeout"),
)
_DROPPED_REASON: Final = b"x-llm-d-request-dropped-reason"
_RETRY_AFTER: Final = b"retry-after"
_RETRY_AFTER_MAX_S: Final = 86_400.0


def failure_of_error(error: UpstreamError) -> Failure:
    """Return what an attempt without an answer came to."""
    named = next((name for kind, name in _REASONS if isinstance(error, kind)), None)
    reason = named or ("broken" if error.sent else "unreachable")
    # What other errors say of a later time is our own advice to clients.
    after_s = error.retry_after_s if reason == "open" else None
    return Failure(reason, reached=error.sent, worked=error.sent, retry_after_s=after_s)


def failure_of_answer(
    status: int, headers: Iterable[tuple[bytes, bytes]], statuses: frozenset[int], *, wall_ms: int
) -> Failure | None:
    """Return what an answer's head says of the attempt; None where it is an answer to keep.

    llm-d says why it dropped a request: one that was evicted has been worked on (llm-d.md A4).
    """
    if status not in statuses:
        return None
    fields = {name.lower(): value for name, value in headers}
    evicted = fields.get(_DROPPED_REASON, b"").strip().lower().startswith(b"evicted")
    after_s = read_retry_after(fields.get(_RETRY_AFTER), wall_ms=wall_ms)
    return Failure(f"status_{status}", True, evicted or status not in NOT_TAKEN, after_s)


def read_retry_after(value: bytes | None, *, wall_ms: int) -> float | None:
    """Return the seconds of a Retry-After (RFC 9110 10.2.3); None for none, and for what is no such thing."""
    text = (value or b"")[:64].decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _RETRY_AFTER_MAX_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return min(max(0.0, at.timestamp() - wall_ms / 1000), _RETRY_AFTER_MAX_S)


def may_repeat(failure: Failure, repeats: Repeats, settings: RetrySettings) -> bool:
    """Tell whether the request may be sent again at all."""
    if not failure.reached or repeats is Repeats.KEYED:
        return True
    if repeats is Repeats.ONCE:
        return False
    return settings.after_send or not failure.worked


def pause_s(failure: Failure, attempt: int, settings: RetrySettings, chance: float) -> float:
    """Return how long to wait before the same backend is asked for the `attempt`-th time, 2 or more.

    Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"), and never before the backend
    wants to be asked again.
    """
    longest = min(settings.backoff_max_s, settings.backoff_s * 2.0 ** (attempt - 2))
    return max(chance * longest, failure.retry_after_s or 0.0)


class RetryBudget:
    """How many further attempts all requests together may make: a share of them, and a few a second."""

    __slots__ = ("_at_s", "_seen", "_settings", "tokens")

    def __init__(self, settings: RetrySettings, now_s: float) -> None:
        self._settings = settings
        self._at_s = now_s
        self._seen = 0
        self.tokens = bounds.RETRY_TOKENS_FIRST

    def refill(self, requests: int, now_s: float) -> None:
        """Add what the requests since the last look, and the time since then, have earned."""
        # An attempt is counted a moment before it is sent: what that takes away is not given twice.
        seen = max(self._seen, requests)
        earned = (seen - self._seen) * self._settings.budget_ratio
        earned += (now_s - self._at_s) * self._settings.budget_per_s
        self.tokens = min(bounds.RETRY_TOKENS_MAX, self.tokens + earned)
        self._seen, self._at_s = seen, now_s

    def take(self) -> bool:
        """Take one attempt out of the budget; False where there is none left."""
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
