"""Policies of the client's side in a live run: what people put before a gateway today.

The objects are those of the evaluation; this drives one of them with the real clock. What they refuse never
reaches the gateway, and so has no record there.
"""

from __future__ import annotations

import asyncio
from typing import Final

from controller.core import Outcome
from controller.core.config import TICK_S
from controller.evaluate.policy import Command, Policy, Refuse, Send
from controller.plan import Request
from loadtest.schedule import Ask


class PolicyGate:
    """One policy for one arm. Belongs to one event loop."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._waiting: dict[str, asyncio.Future[Command]] = {}
        self._open: set[str] = set()

    async def admit(self, ask: Ask, now_s: float) -> Send | Refuse:
        """Return what the policy does with a request, when it does it."""
        future: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        self._waiting[ask.request_id] = future
        job = ask.job
        self._policy.arrive(
            Request(
                request_id=ask.request_id,
                intent=job.kind.intent,
                model=ask.model,
                input_tokens=job.input_tokens,
                arrived_s=now_s,
                max_tokens=job.max_tokens,
                route=job.route,
            ),
            now_s,
        )
        self._take(now_s)
        try:
            command = await future
        finally:
            self._waiting.pop(ask.request_id, None)
        if isinstance(command, Send):
            self._open.add(ask.request_id)
        return command

    def first_token(self, request_id: str, now_s: float) -> None:
        """Tell the policy of a first token."""
        self._policy.first_token(request_id, now_s)
        self._take(now_s)

    def ended(self, request_id: str, outcome: Outcome, now_s: float) -> None:
        """Tell the policy of an end, once."""
        if request_id in self._open:
            self._open.discard(request_id)
            self._policy.ended(request_id, outcome, now_s)
            self._take(now_s)

    def tick(self, now_s: float) -> None:
        """Let the policy look at the time."""
        self._policy.tick(now_s)
        self._take(now_s)

    def _take(self, now_s: float) -> None:
        for command in self._policy.take(now_s):
            future = self._waiting.get(command.request_id)
            if future is not None and not future.done():
                future.set_result(command)
            elif isinstance(command, Send):
                # whoever asked is gone between its turn and ours: the slot is free again
                self._policy.ended(command.request_id, Outcome("client_gone"), now_s)


PERIOD_S: Final = TICK_S
"""How often `tick` is due."""
