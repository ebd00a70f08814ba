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
from tests.kit.gateways import eventually, running_gateway


async def test_without_a_backend_the_simulator_stands_in() -> None:
    """Its models are known at once, and nothing of it is left after the close."""
    joined = await Upstreams.connect(Config(), created_s=0)
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
            created_s=0,
        )
        assert joined.embedded is None
        assert joined.catalogue.known() == ["m"]
        await joined.close()


async def test_an_address_that_is_none_is_named() -> None:
    """What is wrong is said with its place in the configuration."""
    config = Config.model_validate({"backends": [{"name": "b", "url": "ftp://somewhere"}]})
    with pytest.raises(SetupError, match=r"backends\.b\.url"):
        await Upstreams.connect(config, created_s=0)


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
