"""What passes between an exchange and its governor. The governor fails open, the gate fails closed.

Nothing here may let a fault of the governor reach an exchange: it is told to the observer, and the request
goes on as if nobody governed.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.kernel.errors import ExpiredError, LoadError, ShedError
from gateway.kernel.types import Fate, JSONObject
from gateway.pipeline.announce import Announcer
from gateway.pipeline.exchange import Event
from gateway.pipeline.ports import Asked, Ending, Governor, Headers, Terms
from gateway.pipeline.relayed import Watch
from gateway.pipeline.sighting import Observer, Sighting

TURNED_AWAY = {"shed": Event.SHED, "expired": Event.EXPIRED}
"""What happened where the governor did not admit a request."""
UNTOUCHED = ("PASSED",)
"""The actions of a request that went as it came."""
_RETRY_MIN_S = 1.0
"""Load does not vanish sooner: the controller itself looks twice a second."""


def turned_away(terms: Terms, decision_id: str) -> LoadError:
    """Return the error that tells a client why its request was not forwarded, and when to come again."""
    kind = ShedError if terms.turn == "shed" else ExpiredError
    return kind(
        terms.reason or "there is no room for the request now",
        hint=f"try again later; decision {decision_id} says why",
        retry_after_s=max(terms.retry_after_s, _RETRY_MIN_S),
    )


def ending_of(asked: Asked, sighting: Sighting, fate: Fate | None, watch: Watch | None) -> Ending:
    """Return how an exchange ended, as far as it is known."""
    usage = sighting.usage or {}
    # Backends send about one event a token; usage is only sent where the client asked for it.
    seen = 0 if watch is None else watch.events
    output_tokens = usage.get("completion_tokens", seen)
    return Ending(
        fate=None if fate is None else fate.value,
        forwarded=sighting.forwarded_s is not None,
        status=sighting.status,
        error=None if sighting.error is None else sighting.error.code,
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=output_tokens,
        cached_tokens=usage.get("cached_tokens", 0),
        truncated=asked.max_tokens is not None and output_tokens >= asked.max_tokens * asked.choices,
    )


class _Net:
    """Swallows any exception but cancellation, and tells the observer."""

    __slots__ = ("_observer",)

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._observer.internal_error(error)
        return True


class FailOpen:
    """A governor whose faults cost nobody an answer."""

    __slots__ = ("_announcer", "_governor", "_net")

    def __init__(self, governor: Governor, observer: Observer, announcer: Announcer | None = None) -> None:
        self._governor = governor
        self._announcer = announcer
        self._net = _Net(observer)

    async def admit(self, asked: Asked) -> Terms | None:
        """Return the terms, or None where the governor failed. Raises only cancellation."""
        with self._net:
            terms = await self._governor.admit(asked)
            self._announce(asked, terms)
            return terms
        return None

    def _announce(self, asked: Asked, terms: Terms) -> None:
        if self._announcer is not None and terms.actions != UNTOUCHED:
            facts = {"decision_id": asked.ticket, "intent": terms.intent, "planned_model": terms.model}
            self._announcer.say(terms.control["actions"], facts)

    def first_rung(self, asked: Asked) -> str | None:
        """Return the model that the intent of a request prefers; None without one."""
        with self._net:
            return self._governor.first_rung(asked)
        return None

    def first_token(self, asked: Asked) -> None:
        """Say that the first content went by."""
        with self._net:
            self._governor.first_token(asked.ticket)

    def headers(self, asked: Asked) -> Headers | None:
        """Return the headers of a further attempt, or None where those that there are must do."""
        with self._net:
            return self._governor.headers(asked)
        return None

    def detour(self, asked: Asked, without: Collection[str]) -> Terms | None:
        """Return the terms of another model, or None where there is none."""
        with self._net:
            return self._governor.detour(asked, without)
        return None

    def diverted(self, asked: Asked, terms: Terms, ending: Ending) -> None:
        """Say that another model serves it."""
        with self._net:
            self._governor.diverted(asked, terms, ending)
            self._announce(asked, terms)

    def ended(self, asked: Asked, ending: Ending) -> JSONObject | None:
        """Say how it ended; return prediction against observation, where there is any."""
        with self._net:
            return self._governor.ended(asked.ticket, ending)
        return None
