"""Backends are joined as configured; without one the simulator stands in, and is gone after the close."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from gateway import upstreams
from gateway.config import Config
from gateway.kernel.errors import SetupError, UpstreamError
from gateway.upstream.catalogue import ModelCatalogue
from gateway.upstreams import Upstreams
from tests.kit.entries import CountedRandomness, StillClock
from tests.kit.gateways import eventually, running_gateway


async def test_without_a_backend_the_simulator_stands_in() -> None:
    """Its models are known at once, and nothing of it is left after the close."""
    joined = await Upstreams.connect(Config(), clock=StillClock(), randomness=CountedRandomness())
    assert [backend.name for backend in joined.backends] == ["embedded"]
    assert len(joined.catalogue.known()) >= 3
    assert joined.embedded is not None
    await joined.close()
    embedded = joined.backends[0]
    with pytest.raises(UpstreamError):
        await embedded.send("GET", "/v1/models", (), b"", first_byte_s=1.0)


async def test_a_backend_that_is_down_keeps_nobody_from_starting() -> None:
    """A configured backend is not asked before it is needed, and its named models are known."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        joined = await Upstreams.connect(
            Config.model_validate(
                {"backends": [{"name": "b", "url": address}], "models": [{"name": "m", "backend": "b"}]}
            ),
            clock=StillClock(),
            randomness=CountedRandomness(),
        )
        assert joined.embedded is None
        assert joined.catalogue.known() == ["m"]
        await joined.close()


async def test_an_address_that_is_none_is_named() -> None:
    """What is wrong is said with its place in the configuration."""
    config = Config.model_validate({"backends": [{"name": "b", "url": "ftp://somewhere"}]})
    with pytest.raises(SetupError, match=r"backends\.b\.url"):
        await Upstreams.connect(config, clock=StillClock(), randomness=CountedRandomness())


async def test_a_backends_new_model_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of models is asked for again and again."""
    monkeypatch.setattr(upstreams, "_CATALOGUE_REFRESH_S", 0.001)
    asked = []
    real = ModelCatalogue.refresh

    async def counted(self: Any) -> None:
        asked.append(1)
        await real(self)

    monkeypatch.setattr(ModelCatalogue, "refresh", counted)
    async with running_gateway(tmp_path):
        assert await eventually(lambda: len(asked) > 3)


async def test_each_backend_has_its_breaker_and_its_share() -> None:
    """Weights and orders of the file are those of the choice, and each backend shows how it stands."""
    backends = [{"name": name, "url": f"http://127.0.0.1:{port}"} for name, port in (("a", 1), ("b", 2))]
    models = [
        {"name": "m", "backend": [{"name": "a", "order": 1}, "b"]},
        {"name": "n", "backend": "a"},
    ]
    value = {"backends": backends, "models": models, "breaker": {"failures": 1, "open_s": 7}}
    joined = await Upstreams.connect(
        Config.model_validate(value), clock=StillClock(), randomness=CountedRandomness()
    )
    chosen = [joined.catalogue.backend_of(model) for model in ("m", "m", "n")]
    assert [one.name for one in chosen if one is not None] == ["b", "b", "a"]
    b = joined.backends[1]
    b.breaker.failed(b.breaker.sent(0.0), 0.0)
    again = joined.catalogue.backend_of("m")
    assert again is joined.backends[0]
    assert [(one.name, one.state, one.openings, one.in_flight) for one in joined.readings()] == [
        ("a", "closed", 0, 0),
        ("b", "open", 1, 0),
    ]
    assert 7 <= b.breaker.due_in_s(0.0) < 9
    await joined.close()


async def test_further_attempts_are_as_configured() -> None:
    """Settings, budget and pause come from the file; the budget knows how many requests were sent."""
    retries = {"attempts_max": 2, "statuses": [529], "budget_ratio": 0.5, "budget_per_s": 0}
    config = Config.model_validate(
        {"backends": [{"name": "a", "url": "http://127.0.0.1:1"}], "retries": retries}
    )
    joined = await Upstreams.connect(config, clock=StillClock(), randomness=CountedRandomness())
    shared = joined.retries(config.retries, lambda: 0.5)
    assert (shared.settings.attempts_max, shared.settings.statuses) == (2, frozenset({529}))
    while shared.afford():
        shared.made["closed"] += 1
    joined.backends[0].results["answered"] += 100
    assert joined.sent() == 100
    assert shared.afford()
    assert shared.reading().budget == 10 + 0.5 * (100 - 10) - 10 - 1
    await joined.close()
