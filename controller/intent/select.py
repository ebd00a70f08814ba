"""Choose the intent that covers a request: the one it names, if it may, else the most specific match."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from controller.intent.types import (
    CLASS_PRIORITY,
    CLASS_WEIGHT,
    TIER_CLASS,
    Intent,
    Subject,
    digest_of,
)

DEFAULT_INTENT = Intent(name="default")
"""For requests that no intent covers: no targets, no actions, so nothing is ever changed."""


class IntentSet:
    """Compiled intents and their digest. Immutable; replaced as a whole."""

    __slots__ = ("_by_name", "_ordered", "digest", "intents")

    def __init__(self, intents: Iterable[Intent]) -> None:
        self.intents = tuple(intents)
        self.digest = digest_of(self.intents)
        self._by_name = {intent.name: intent for intent in self.intents}
        # sorted() is stable, so of equally specific intents the first in the document wins
        self._ordered = sorted(self.intents, key=lambda intent: intent.match.specificity, reverse=True)

    def get(self, name: str) -> Intent | None:
        """Return the intent of that name, or None."""
        return self._by_name.get(name)

    def select(
        self,
        subject: Subject,
        *,
        wanted: str | None = None,
        permitted: Collection[str] = (),
        service_tier: str | None = None,
    ) -> Intent:
        """Return the intent for a request.

        `wanted` is the client's `x-lumyn-intent`, followed only if the key's `permitted` intents hold it.
        A key that has permitted intents is matched among those alone. `service_tier` may move the request
        to a lower class than its intent's; a higher one it may only take when the intent has that class.
        """
        chosen = self._chosen(subject, wanted, permitted)
        return _with_tier(chosen, service_tier)

    def _chosen(self, subject: Subject, wanted: str | None, permitted: Collection[str]) -> Intent:
        if wanted is not None and wanted in permitted and wanted in self._by_name:
            return self._by_name[wanted]
        for intent in self._ordered:
            if (not permitted or intent.name in permitted) and intent.match.covers(subject):
                return intent
        return DEFAULT_INTENT


def _with_tier(intent: Intent, service_tier: str | None) -> Intent:
    service_class = TIER_CLASS.get(service_tier or "auto") if service_tier != "auto" else None
    if service_class is None or CLASS_PRIORITY[service_class] >= intent.priority:
        return intent
    # a client may always ask for less than its contract gives, never for more
    return replace(
        intent,
        service_class=service_class,
        priority=CLASS_PRIORITY[service_class],
        weight=min(intent.weight, CLASS_WEIGHT[service_class]),
    )
