"""What people run today, on the preferred model: nothing, limits, and fallback after failure.

Each has the published defaults of its origin, the same in-flight accounting, arrivals and sizes. None of
them knows classes; those that do are in `split`.
"""

from __future__ import annotations

import math
from typing import Final

from controller.core import Outcome
from controller.evaluate.policy import Command, Refuse, Send
from controller.plan import Request

COOLDOWN_S: Final = 5.0
"""LiteLLM's default."""


class Simple:
    """A policy with a list of commands and a count of what is in flight."""

    def __init__(self, name: str = "none") -> None:
        self.name = name
        self.in_flight = 0
        self.sent_s: dict[str, float] = {}
        self.out: list[Command] = []

    def arrive(self, request: Request, now_s: float) -> None:
        """Send it as it is."""
        self.send(request, now_s)

    def send(self, request: Request, now_s: float, model: str | None = None) -> None:
        """Send a request, and count it."""
        self.in_flight += 1
        self.sent_s[request.request_id] = now_s
        objective = request.intent.service_class.value if self.name == "llmd" else None
        self.out.append(Send(request.request_id, model or request.model, None, objective))

    def refuse(self, request: Request, retry_after_s: float = 1.0) -> None:
        """Refuse a request."""
        self.out.append(Refuse(request.request_id, "shed", retry_after_s))

    def first_token(self, request_id: str, now_s: float) -> None:
        """Nothing to learn."""

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:  # noqa: ARG002  the port's shape
        """Count it out."""
        self.in_flight -= 1
        self.sent_s.pop(request_id, None)

    def tick(self, now_s: float) -> None:
        """Nothing to do."""

    def take(self, now_s: float) -> list[Command]:  # noqa: ARG002  the port's shape
        """Return the commands."""
        out, self.out = self.out, []
        return out


class StaticLimit(Simple):
    """A token bucket at the measured capacity of the preferred model, with one second of burst."""

    def __init__(self, rate: float) -> None:
        super().__init__("static")
        self._rate, self._tokens, self._at_s = rate, rate, 0.0

    def arrive(self, request: Request, now_s: float) -> None:
        """Send it if the bucket holds a token."""
        self._tokens = min(self._rate, self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            self.send(request, now_s)
        else:
            self.refuse(request)


class Aimd(Simple):
    """Netflix concurrency-limits' AIMD: +1 when used by half, x0.9 on an answer slower than its timeout."""

    def __init__(self, timeout_s: float = 5.0, low: int = 20, high: int = 200) -> None:
        super().__init__("aimd")
        self._timeout_s, self._low, self._high, self._limit = timeout_s, low, high, 20.0

    def arrive(self, request: Request, now_s: float) -> None:
        """Send it while the limit holds."""
        if self.in_flight < int(self._limit):
            self.send(request, now_s)
        else:
            self.refuse(request)

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        """Adapt the limit to the answer's latency."""
        rtt_s = now_s - self.sent_s.get(request_id, now_s)
        if rtt_s > self._timeout_s or outcome.status != "complete":
            self._limit *= 0.9
        elif self.in_flight * 2 >= self._limit:
            self._limit += 1.0
        self._limit = min(max(self._limit, self._low), self._high)
        super().ended(request_id, outcome, now_s)


class Gradient2(Simple):
    """Netflix concurrency-limits' Gradient2 with its defaults, sampled over windows of a second."""

    def __init__(self, low: int = 20, high: int = 200) -> None:
        super().__init__("gradient")
        self._low, self._high, self._limit = low, high, 20.0
        self._long: float | None = None
        self._window: list[float] = []
        self._due_s = 1.0
        self._peak = 0

    def arrive(self, request: Request, now_s: float) -> None:
        """Send it while the limit holds."""
        if self.in_flight < int(self._limit):
            self.send(request, now_s)
            self._peak = max(self._peak, self.in_flight)
        else:
            self.refuse(request)

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        """Collect latencies."""
        self._window.append(now_s - self.sent_s.get(request_id, now_s))
        super().ended(request_id, outcome, now_s)

    def tick(self, now_s: float) -> None:
        """Move the limit once a window that has ten samples."""
        if now_s < self._due_s or len(self._window) < 10:
            return
        self._due_s = now_s + 1.0
        short = sum(self._window) / len(self._window)
        self._window.clear()
        self._long = short if self._long is None else self._long + (short - self._long) * 2.0 / 601.0
        if self._long / short > 2.0:
            self._long *= 0.95
        if self._peak < self._limit / 2:
            self._peak = 0
            return
        self._peak = 0
        gradient = max(0.5, min(1.0, 1.5 * self._long / short))
        wanted = self._limit * gradient + 4.0
        self._limit = min(max(self._limit * 0.8 + wanted * 0.2, self._low), self._high)


class Fallback(Simple):
    """LiteLLM's router in short: a failure or a slow first token cools a model down for five seconds.

    While it cools, requests go to the next rung that their floor allows. Kinder than the original, which
    also retries what was slow and leaves the abandoned attempt running.
    """

    def __init__(self) -> None:
        super().__init__("fallback")
        self._cool_until: dict[str, float] = {}
        self._model_of: dict[str, str] = {}

    def arrive(self, request: Request, now_s: float) -> None:
        """Send it to the first rung that is not cooling down."""
        rungs = request.intent.models
        model = next((name for name in rungs if now_s >= self._cool_until.get(name, -math.inf)), rungs[-1])
        self._model_of[request.request_id] = model
        self.send(request, now_s, model)

    def first_token(self, request_id: str, now_s: float) -> None:
        """A first token later than five seconds counts as a timeout: the model cools down."""
        if now_s - self.sent_s.get(request_id, now_s) > 5.0:
            self._cool_until[self._model_of[request_id]] = now_s + COOLDOWN_S

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        """A failure cools the model down."""
        model = self._model_of.pop(request_id, "")
        if outcome.status != "complete":
            self._cool_until[model] = now_s + COOLDOWN_S
        super().ended(request_id, outcome, now_s)
