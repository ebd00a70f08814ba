"""`controller.loop`: waiting, waking, cancelling, ticking."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from controller.core import Controller, ControllerConfig, Outcome
from controller.intent import IntentSet
from controller.loop import Loop
from controller.plan import Mode
from tests.kit.control import catalogue, intent, request

ONLY = intent(models=("large",))


class ManualClock:
    """A clock that a test moves."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        """Return the time that was set."""
        return self.now_s


class Notes:
    """A journal that keeps what it is told."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Mapping[str, Any]]] = []

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Keep it."""
        self.kept.append((kind, body))


@pytest.fixture
def loop() -> Loop:
    """Return a loop over a controller that lets four requests through."""
    controller = Controller(ControllerConfig(catalogue(), IntentSet([ONLY])), 0.0)
    controller.deployments["large"].limit.restore(4)
    controller.tick(0.0)
    return Loop(controller, ManualClock(), Notes())


def ask(name: str) -> Any:
    """Return a request at time 0."""
    return request(ONLY, request_id=name, arrived_s=0.0)


async def filled(loop: Loop) -> asyncio.Task[Any]:
    """Fill every slot and return a fifth request that waits."""
    for index in range(4):
        assert (await loop.admit(ask(f"r{index}"))).admitted
    task = asyncio.get_running_loop().create_task(loop.admit(ask("waits")))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_free_slot_wakes_the_next(loop: Loop) -> None:
    """A request waits until one before it ends, and then leaves with its waiting time."""
    task = await filled(loop)
    loop._clock.now_s = 0.5  # type: ignore[attr-defined]
    loop.first_token("r0")
    loop.finish("r0", Outcome("complete", 5))
    admission = await task
    assert (admission.admitted, admission.waited_s, admission.queued_s) == (True, 0.5, 0.5)
    assert admission.release is not None


async def test_a_cancelled_caller_leaves_nothing(loop: Loop) -> None:
    """Its place in the queue is free, and conservation holds."""
    task = await filled(loop)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (loop.controller.queued, loop.controller.in_flight) == (0, 4)
    assert loop.controller.counts["cancelled"] == 1


async def test_a_caller_cancelled_after_its_release_gives_the_slot_back(loop: Loop) -> None:
    """Between release and wake-up the client goes: the slot does not leak."""
    task = await filled(loop)
    loop.finish("r0", Outcome("complete", 5))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (loop.controller.queued, loop.controller.in_flight) == (0, 3)


async def test_the_tick_refuses_what_is_too_late(loop: Loop) -> None:
    """A request whose deadline passed is told so, with the reason."""
    task = await filled(loop)
    loop._clock.now_s = 30.0  # type: ignore[attr-defined]
    loop.tick()
    admission = await task
    assert not admission.admitted
    assert "deadline" in admission.reason


async def test_pressure_is_journalled_and_quiet_is_not(loop: Loop) -> None:
    """An idle tick leaves no record; one with a queue does, and so does the operator's hand."""
    loop.tick()
    notes: Notes = loop._journal  # type: ignore[assignment]
    assert notes.kept == []
    task = await filled(loop)
    loop._clock.now_s = 0.5  # type: ignore[attr-defined]
    loop.tick()
    loop.set_mode(Mode.BYPASS)
    loop.replace_intents(IntentSet([intent("new")]))
    assert {kind for kind, _ in notes.kept} >= {"tick", "mode", "intents"}
    task.cancel()


class Broken:
    """Metrics that cannot be had."""

    async def metrics_text(self) -> str:
        """Raise as a refused connection does."""
        raise OSError("refused")


async def test_the_loop_runs_without_metrics() -> None:
    """A source that fails leaves the signal unknown and the loop running."""
    controller = Controller(ControllerConfig(catalogue(), IntentSet([ONLY])), 0.0)
    loop = Loop(controller, ManualClock(), Notes(), {"large": Broken()})
    running = asyncio.get_running_loop().create_task(loop.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not running.done()
    assert loop.scraped == {}
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
