"""Says in the log what the controller does, in words: a few lines a second of each kind, the rest counted.

Under pressure a controller acts on every request. The records hold each action; the log is for people, and a
line a request would only slow the gateway down at the worst moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.kernel.clock import Clock
from gateway.telemetry.log import LOG

WORDS: Final[Mapping[str, str]] = {
    "MODEL_SWITCHED": "switched model",
    "TOKENS_CAPPED": "capped tokens",
    "BATCHING_HINTED": "hinted batching",
    "BATCHING_REDUCED": "reduced batching",
    "QUEUED": "queued",
    "EXPIRED": "expired",
    "SHED": "shed",
}
"""What a line is called, by the control action; `PASSED` is no action, and has no line."""
LINES_PER_S: Final = 5
"""Of each kind: enough to see what happens and why; `unsaid` counts the others."""


class Announcer:
    """Writes lines of the controller's actions."""

    __slots__ = ("_clock", "_lines", "_second", "_unsaid")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = 0
        self._lines: dict[str, int] = {}
        self._unsaid: dict[str, int] = {}

    def say(self, actions: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
        """Say each action, `kind` and `reason`, with the facts about what it was done to."""
        for action in actions:
            words = WORDS.get(action["kind"])
            if words is not None and self._may(action["kind"]):
                self._write(words, action["kind"], {**facts, "reason": action["reason"]})

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Say what a control record holds that people want to know."""
        if kind == "tick":
            for action in body.get("actions", ()):
                self.say((action,), {"model": action["model"]})
        elif kind == "mode":
            facts = {name: body[name] for name in ("before", "after", "share", "reason")}
            LOG.warning("changed mode", extra={"facts": facts})
        elif kind == "intents" and body["before"] is not None:
            facts = {name: body[name] for name in ("before", "after")}
            LOG.info("changed intents", extra={"facts": facts})
        elif kind == "epoch" and body["rolled_back"]:
            facts = {name: body[name] for name in ("model", "kind", "verdict", "hypothesis")}
            LOG.warning("rolled back", extra={"facts": facts})

    def _may(self, kind: str) -> bool:
        second = int(self._clock.monotonic_s())
        if second != self._second:
            self._second = second
            self._lines.clear()
        lines = self._lines.get(kind, 0)
        self._lines[kind] = lines + 1
        if lines < LINES_PER_S:
            return True
        self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
        return False

    def _write(self, words: str, kind: str, facts: dict[str, Any]) -> None:
        unsaid = self._unsaid.pop(kind, 0)
        if unsaid:
            facts["unsaid"] = unsaid
        LOG.info(words, extra={"facts": facts})
