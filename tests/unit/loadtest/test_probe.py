"""The probe: what the admin API says, once each, and clear words where it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from loadtest import probe
from loadtest.client import Client, read_origin
from loadtest.probe import Probe, received
from loadtest.stage import StageError
from tests.kit.loads import answering, plain
from tests.kit.rawpeer import Message, raw_server


def control(mode: str = "active", **fields: Any) -> dict:
    """A page of `/admin/control`."""
    models = [{"name": "large", "price": 1.5, "limit": 32}]
    page = {"mode": mode, "queued": 2, "in_flight": 7, "models": models}
    return {**page, "epochs_opened": [], "epochs_closed": [], **fields}


EPOCH = {
    "epoch_id": 1, "model": "large", "kind": "price_up", "verdict": None, "hypothesis": "fewer misses",
    "miss_before": 0.0, "miss_after": 0.0, "basis": "", "rolled_back": False,
}  # fmt: skip


def silent_probe() -> Probe:
    """A probe that is only given pages."""
    return Probe(Client(read_origin("http://127.0.0.1:1")))


def test_moments_hold_prices_and_limits() -> None:
    """One a look."""
    one = silent_probe()
    one.sample(control(), 0.5)
    [moment] = one.moments
    assert (moment.at_s, moment.mode, moment.queued, moment.in_flight) == (0.5, "active", 2, 7)
    assert (moment.prices, moment.limits) == ({"large": 1.5}, {"large": 32})


def test_news_is_told_once() -> None:
    """An epoch that stands on two pages is one; a change of mode is told, its first value is not."""
    one = silent_probe()
    one.sample(control(epochs_opened=[EPOCH]), 0.5)
    one.sample(control(epochs_opened=[EPOCH]), 1.0)
    one.sample(control("guarded", epochs_closed=[{**EPOCH, "verdict": "helped", "basis": "model"}]), 1.5)
    assert [(told.at_s, told.text) for told in one.told] == [
        (0.5, "large price up: epoch 1 opened, promise: fewer misses"),
        (1.5, "mode active -> guarded"),
        (1.5, "large price up: epoch 1 helped (model), misses 0.00 -> 0.00"),
    ]


def test_what_reached_the_simulator_is_counted() -> None:
    """Over all series of the picker's counter, and nothing else."""
    page = (
        b'# TYPE x counter\nllm_d_epp_request_total{model_name="a"} 3\n'
        b'llm_d_epp_request_total{model_name="b"} 4\nllm_d_epp_request_error_total{m="a"} 9\n'
    )
    assert received(page) == 7
    assert received(b"") == 0


async def test_it_follows_and_sets_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice a second until it is told to end; a page that fails is left out."""
    monkeypatch.setattr(probe, "PERIOD_S", 0.01)
    asked: list[str] = []

    def answer(message: Message) -> bytes:
        asked.append(message.start)
        if message.start.startswith("PUT"):
            return plain(control("bypass"))
        return plain(control()) if len(asked) % 3 else plain({}, 500)

    async with raw_server(answering(answer)) as server:
        admin = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        one = Probe(admin)
        await one.set_mode("bypass")
        following = asyncio.get_running_loop().create_task(one.follow(lambda: 0.01 * len(asked)))
        async with asyncio.timeout(5.0):
            while len(one.moments) < 4:
                await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.wait([following])
        admin.close()
    assert asked[0] == "PUT /admin/control/mode HTTP/1.1"


@pytest.mark.parametrize(("status", "words"), [(404, "has no controller"), (500, "answered 500")])
async def test_a_gateway_without_a_controller_is_said(status: int, words: str) -> None:
    """With what to do about it."""
    async with raw_server(answering(lambda _: plain({}, status))) as server:
        admin = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        with pytest.raises(StageError, match=words):
            await Probe(admin).control()
        with pytest.raises(StageError, match=f"answered {status}"):
            await Probe(admin).set_mode("active")
        admin.close()


async def test_an_admin_api_that_is_not_there_is_said() -> None:
    """For reading and for setting."""
    async with raw_server(answering(lambda _: None)) as server:
        admin = Client(read_origin(f"http://127.0.0.1:{server.port}"))
    with pytest.raises(StageError, match="does not answer: connection refused") as caught:
        await Probe(admin).control()
    assert "--admin-url" in caught.value.hint
    with pytest.raises(StageError, match="cannot be set"):
        await Probe(admin).set_mode("active")
