"""What a policy is to the runner, and the intent controller as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from controller.core import Controller, ControllerConfig, Expiry, Outcome, Submission, TickReport
from controller.plan import Disposition, Plan, Request


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request to a model now."""

    request_id: str
    model: str
    max_tokens: int | None
    objective: str | None = None
    """The llm-d objective, for clusters with flow control."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse a request: it was shed or it expired."""

    request_id: str
    status: str
    retry_after_s: float


Command = Send | Refuse


class Policy(Protocol):
    """What the runner drives. `take` is called after every event."""

    name: str

    def arrive(self, request: Request, now_s: float) -> None:
        """Take a request in."""
        ...

    def first_token(self, request_id: str, now_s: float) -> None:
        """A request's first token came."""
        ...

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        """A request that was sent ended."""
        ...

    def tick(self, now_s: float) -> None:
        """Half a second has passed."""
        ...

    def take(self, now_s: float) -> list[Command]:
        """Return what to do now."""
        ...


class Controlled:
    """The intent controller, unchanged, as a policy."""

    def __init__(
        self, config: ControllerConfig, name: str = "controlled", *, keep_plans: bool = False
    ) -> None:
        self.name = name
        self.controller = Controller(config, 0.0)
        self.ticks: list[TickReport] = []
        self.submissions: list[Submission] = []
        self.plans: dict[str, Plan] = {}
        self._keep = keep_plans
        self._out: list[Command] = []

    def arrive(self, request: Request, now_s: float) -> None:
        """Plan it; what passes is sent at once."""
        submission = self.controller.submit(request, now_s)
        plan = submission.plan
        self.plans[request.request_id] = plan
        if self._keep:
            self.submissions.append(submission)
        if plan.disposition is Disposition.PASS:
            self._send(plan)
        elif plan.disposition is Disposition.SHED:
            self._out.append(Refuse(request.request_id, "shed", plan.retry_after_s))

    def first_token(self, request_id: str, now_s: float) -> None:
        """Hand on."""
        self.controller.first_token(request_id, now_s)

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        """Hand on."""
        self.controller.finish(request_id, outcome, now_s)

    def tick(self, now_s: float) -> None:
        """Tick, and refuse what has expired."""
        self.ticks.append(self.controller.tick(now_s))
        for expiry in self.controller.expire(now_s):
            self._out.append(Refuse(expiry.request_id, "expired", 1.0))

    def take(self, now_s: float) -> list[Command]:
        """Return what is due."""
        for item in self.controller.poll(now_s):
            if isinstance(item, Expiry):
                self._out.append(Refuse(item.request_id, "expired", 1.0))
            else:
                self.plans[item.request_id] = item.plan
                self._send(item.plan)
        out, self._out = self._out, []
        return out

    def _send(self, plan: Plan) -> None:
        self._out.append(Send(plan.request_id, plan.model, plan.max_tokens))
