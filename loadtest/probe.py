"""What the admin API says during a run: prices, limits, queue and mode; and the switch between the arms."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from controller.evaluate.arms.data import Moment, Told
from controller.evaluate.arms.words import epoch_words
from loadtest.client import Client, trouble
from loadtest.stage import StageError

PERIOD_S: Final = 0.5
READ_S: Final = 5.0
_RECEIVED: Final = re.compile(rb"^llm_d_epp_request_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


class Probe:
    """Reads one gateway's admin API."""

    def __init__(self, admin: Client) -> None:
        self.moments: list[Moment] = []
        self.told: list[Told] = []
        self._admin = admin
        self._mode = ""
        self._epochs: set[str] = set()

    async def control(self) -> dict[str, Any]:
        """Return `/admin/control`. Raise StageError: without it there is nothing to compare."""
        try:
            async with asyncio.timeout(READ_S):
                head, body = await self._admin.read("GET", "/admin/control")
        except (OSError, TimeoutError) as error:
            raise StageError(
                f"the admin API at {self._admin.origin.url} does not answer: {trouble(error)}",
                hint="name it with --admin-url; it is the gateway's admin listener, 8081 by default",
            ) from None
        if head.status == 404:
            raise StageError(
                f"the gateway at {self._admin.origin.url} has no controller",
                hint="it needs intents in its configuration: docs/loadtest.md shows one",
            )
        value = orjson.loads(body) if head.status == 200 else None
        if not isinstance(value, dict):
            raise StageError(f"the admin API at {self._admin.origin.url} answered {head.status}")
        return value

    async def set_mode(self, mode: str) -> None:
        """Set the controller's mode. Raise StageError."""
        try:
            async with asyncio.timeout(READ_S):
                head, _ = await self._admin.read("PUT", "/admin/control/mode", orjson.dumps({"mode": mode}))
        except (OSError, TimeoutError) as error:
            raise StageError(f"the controller's mode cannot be set: {trouble(error)}") from None
        if head.status != 200:
            raise StageError(f"the controller's mode cannot be set: the admin API answered {head.status}")

    async def follow(self, now_s: Callable[[], float]) -> None:
        """Take a sample twice a second until cancelled; a moment that cannot be read is left out."""
        due_s = now_s()
        while True:
            with contextlib.suppress(StageError):
                self.sample(await self.control(), now_s())
            due_s = max(due_s + PERIOD_S, now_s())
            await asyncio.sleep(due_s - now_s())

    def sample(self, control: dict[str, Any], at_s: float) -> None:
        """Keep one look at the controller, and what is new in it in words."""
        models = control["models"]
        mode = str(control["mode"])
        self.moments.append(
            Moment(
                at_s=at_s,
                mode=mode,
                queued=int(control["queued"]),
                in_flight=int(control["in_flight"]),
                prices={model["name"]: float(model["price"]) for model in models},
                limits={model["name"]: int(model["limit"]) for model in models},
            )
        )
        if self._mode and mode != self._mode:
            self.told.append(Told(at_s, "controller", "MODE", f"mode {self._mode} -> {mode}"))
        self._mode = mode
        for epoch in (*control["epochs_opened"], *control["epochs_closed"]):
            self._epoch(epoch, at_s)

    def _epoch(self, epoch: dict[str, Any], at_s: float) -> None:
        key = f"{epoch['epoch_id']}/{epoch['verdict']}"
        if key not in self._epochs:
            self._epochs.add(key)
            self.told.append(Told(at_s, "controller", "EPOCH", epoch_words(epoch)))


def received(page: bytes) -> int:
    """Return how many requests a simulator's metrics page says that it received."""
    return round(sum(float(value) for value in _RECEIVED.findall(page)))
