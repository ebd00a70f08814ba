"""`controller.ports`: the shell asks for no more than the ports offer, and the real parts offer that."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from controller.core import Controller, ControllerConfig
from controller.intent import IntentSet
from controller.loop import Loop
from controller.plan import Mode
from controller.ports import Clock, Journal, SignalSource
from gateway.kernel.clock import Clock as GatewayClock
from gateway.system import SystemClock
from tests.kit.control import catalogue, intent, request


def members(port: type) -> dict[str, inspect.Signature]:
    """Return the public members of a protocol with their signatures."""
    return {
        name: inspect.signature(member)
        for name, member in vars(port).items()
        if not name.startswith("_") and callable(member)
    }


class Bare:
    """Clock, journal and source in one: exactly the ports' members, which refuses to offer anything else."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.kinds: list[str] = []
        self.text = "vllm:num_requests_running 3\n"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the shell asked for {name}, which no port offers")

    def monotonic_s(self) -> float:
        """Stand still."""
        self.used.add("monotonic_s")
        return 1.0

    async def metrics_text(self) -> str:
        """Return one gauge."""
        self.used.add("metrics_text")
        return self.text

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Keep the kind."""
        self.used.add("note")
        assert isinstance(body, Mapping)
        self.kinds.append(kind)


@pytest.mark.parametrize("part", [SystemClock, GatewayClock])
def test_the_gateways_clock_is_a_clock(part: type) -> None:
    """What the composition root has by way of a clock can be handed to the loop as it is."""
    offered = members(part)
    for name, wanted in members(Clock).items():
        assert list(offered[name].parameters) == list(wanted.parameters)
        assert offered[name].return_annotation == wanted.return_annotation


def test_time_never_goes_back() -> None:
    """A thousand readings of the real clock are in order."""
    clock: Clock = SystemClock()
    read = [clock.monotonic_s() for _ in range(1000)]
    assert read == sorted(read)


async def test_the_shell_uses_every_member_and_no_other() -> None:
    """A loop runs on parts that have nothing but the ports' members, and each of those is needed."""
    bare = Bare()
    chat = intent()
    controller = Controller(ControllerConfig(catalogue(), IntentSet([chat])), 0.0)
    loop = Loop(controller, bare, bare, {"large": bare})
    assert (await loop.admit(request(chat, arrived_s=1.0))).admitted
    loop.set_mode(Mode.BYPASS)
    running = asyncio.get_running_loop().create_task(loop.run())
    for _ in range(5):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bare.used == {name for port in (Clock, SignalSource, Journal) for name in members(port)}
    assert bare.kinds == ["mode"]
    assert loop.scraped["large"].running == 3.0


@pytest.mark.parametrize("fault", [OSError("refused"), TimeoutError("slow")])
async def test_a_source_may_raise_what_its_port_allows(fault: Exception) -> None:
    """The two errors that the port names leave the signal unknown and the loop ticking."""

    class Faulty(Bare):
        async def metrics_text(self) -> str:
            """Raise."""
            self.used.add("metrics_text")
            raise fault

    source = Faulty()
    loop = Loop(
        Controller(ControllerConfig(catalogue(), IntentSet([intent()])), 0.0),
        Bare(),
        Bare(),
        {"large": source},
    )
    running = asyncio.get_running_loop().create_task(loop.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert source.used == {"metrics_text"}
    assert loop.scraped == {}
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
