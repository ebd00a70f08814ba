"""`gateway.governing`: what a controller is made with, and other intents while it runs."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from controller.llmd.translate import Dialect, Engine, EnginePriority
from gateway.config import Config, load_config
from gateway.governing import control_config, engines_of, reload_intents, warnings_of
from gateway.kernel.errors import InvalidConfigError
from gateway.kernel.types import EVERY_TENANT
from gateway.store.port import ControlFilter, ControlRecord
from gateway.telemetry.log import LOG
from tests.kit.gateways import RunningGateway, running_gateway

BASE = """\
backends: [{name: pool, url: "http://127.0.0.1:1/v1", dialect: vllm, engine_priority: vllm}]
models:
  - {name: m, backend: pool, price_in: 0.6, quality: 0.9, in_flight_max: 32, reasoning: true}
  - {name: s, backend: pool, quality: 0.5}
"""


def written(tmp_path: Path, intents: str) -> Config:
    """Read a configuration with these intents from a file."""
    path = tmp_path / "lumyn.yaml"
    path.write_text(BASE + intents)
    return load_config(str(path), {})


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """The lines that were written."""
    monkeypatch.setattr(LOG, "propagate", True)
    caplog.set_level(logging.INFO, LOG.name)
    return caplog


def test_models_and_engines_are_as_configured(tmp_path: Path) -> None:
    """What the planner knows of a model, and what is set for its engine."""
    config = written(tmp_path, "intents: [{name: chat, quality: {models: [m, s]}}]\n")
    made = control_config(config)
    assert made is not None
    assert (made.catalogue["m"].reasoning, made.catalogue["m"].in_flight_max) == (True, 32)
    assert not made.catalogue["s"].reasoning
    assert engines_of(config) == {"pool": Engine(Dialect.VLLM, EnginePriority.VLLM, isolate_cache=False)}
    assert control_config(written(tmp_path, "")) is None


def test_a_problem_is_said_with_its_place(tmp_path: Path) -> None:
    """Line, column, pointer and reason of each; a configuration from no file has pointers alone."""
    bad = "intents:\n  - name: chat\n    latency: {ttft_ms: -1}\n    quality: {models: [x]}\n"
    with pytest.raises(InvalidConfigError) as caught:
        control_config(written(tmp_path, bad))
    assert "- line 7, column 24, /intents/0/latency/ttft_ms: -1 is outside" in caught.value.message
    assert "- line 8, column 23, /intents/0/quality/models: no model 'x'" in caught.value.message
    bare = Config.model_validate({"intents": [{"name": "chat", "quality": {"models": ["x"]}}]})
    with pytest.raises(InvalidConfigError, match=r"\n- /intents/0/quality/models: no model"):
        control_config(bare)


def test_what_no_model_can_meet_is_a_warning(tmp_path: Path) -> None:
    """With its place; the gateway starts all the same, for the speeds may be wrong."""
    config = written(
        tmp_path, "intents:\n  - name: chat\n    latency: {ttft_ms: 2}\n    quality: {models: [m]}\n"
    )
    control = control_config(config)
    assert control is not None
    [line] = warnings_of(config, control)
    assert line.startswith("line 7, column 24, /intents/0/latency/ttft_ms: 2 ms cannot be met")


class Governed:
    """A governor that takes intents."""

    def __init__(self, config: Config) -> None:
        control = control_config(config)
        assert control is not None
        self.catalogue = control.catalogue
        self.digests = [control.intents.digest]

    def replace_intents(self, intents: Any) -> bool:
        """Take them."""
        changed = intents.digest != self.digests[-1]
        self.digests.append(intents.digest)
        return changed


async def test_good_intents_are_followed_and_bad_ones_leave_the_last(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """A set is taken whole; where one thing is wrong, or the file is none, the log says what and where."""
    first = written(tmp_path, "intents: [{name: chat, quality: {models: [m]}}]\n")
    governor: Any = Governed(first)

    async def again(intents: str) -> bool:
        return await reload_intents(governor, lambda: written(tmp_path, intents))

    assert await again("intents: [{name: chat, quality: {models: [m, s]}}]\n")
    assert await again("intents: [{name: chat, quality: {models: [m, s]}}]\n")
    taken = list(governor.digests)
    assert len(set(taken)) == 2
    assert not await again("intents: [{name: a, quality: {models: [m]}}, {name: a}]\n")
    assert not await again("intents: [{name\n")
    assert not await again("")
    assert governor.digests == taken
    told = [(line.getMessage(), getattr(line, "facts", {}).get("reason", "")) for line in log.records]
    assert [words for words, _ in told] == [
        "intents reloaded",
        "intents reloaded: nothing changed",
        *["intents not reloaded: the last good ones stay"] * 3,
    ]
    assert "line 5, column 53, /intents/1/name: the name 'a' is taken" in told[2][1]
    assert "line 6, column 1: not YAML" in told[3][1]
    assert "restart" in log.records[-1].facts["hint"]  # type: ignore[attr-defined]


async def test_without_a_governor_nothing_can_be_followed(tmp_path: Path) -> None:
    """A gateway that began without intents has no controller to give them to."""
    config = written(tmp_path, "intents: [{name: chat, quality: {models: [m]}}]\n")
    assert not await reload_intents(None, lambda: config)


async def records(one: RunningGateway) -> tuple[ControlRecord, ...]:
    """Return the records of both sets of intents; nobody waits for the commit of the second."""
    while True:
        wanted = ControlFilter(control_type="intents")
        page = await one.store.control(EVERY_TENANT, wanted, after=0, limit=10)
        if len(page) == 2:
            return page
        await asyncio.sleep(0.005)


async def test_a_running_gateway_follows_and_records_the_change(tmp_path: Path) -> None:
    """Reports name the new intent, the ledger holds both sets, and everything replays at the end."""
    config = written(tmp_path, "intents: [{name: chat, quality: {models: [m]}}]\n")
    parts = config.model_dump(mode="json")
    settings = {name: parts[name] for name in ("backends", "models", "intents")}
    async with running_gateway(tmp_path, **settings) as one:
        new = written(tmp_path, "intents: [{name: gold, quality: {models: [m, s]}}]\n")
        assert await one.gateway.follow_intents(lambda: new)
        governor = one.gateway._governor
        assert governor is not None
        assert [report["intent"] for report in governor.intents()] == ["gold"]
        page = await records(one)
        first, second = (orjson.loads(record.entry.body) for record in page)
        assert (first["before"], second["before"]) == (None, first["after"])
        assert [intent["name"] for intent in second["intents"]] == ["gold"]
