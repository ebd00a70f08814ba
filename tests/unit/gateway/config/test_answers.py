"""What can be configured of answers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config import Config, PassthroughConfig, ToolCallsConfig

TWO = [{"name": "a", "url": "http://a"}, {"name": "b", "url": "http://b"}]


@pytest.mark.parametrize(
    "path", ["/v1/audio/speech", "/v1/audio/*", "/v1/files/**", "/v1/**", "/v1/files/*/content"]
)
def test_patterns(path: str) -> None:
    """Segments, one of any name, or the rest."""
    assert PassthroughConfig(path=path).methods == ("GET", "POST")


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v2/x",
        "/v1/../x",
        "/v1/a**",
        "/v1/**/x",
        "/v1/a/",
        "/admin/x",
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/a b",
        "/v1/x\n",
    ],
)
def test_wrong_patterns(path: str) -> None:
    """What could reach outside of `/v1`, or what is served with care, is no pattern."""
    with pytest.raises(ValidationError):
        PassthroughConfig(path=path)


def test_a_pattern_knows_its_backend() -> None:
    """With one backend it is that one; with several it must be said, and be there."""
    passed: dict[str, Any] = {"path": "/v1/audio/*"}
    Config.model_validate({"passthrough": [passed]})
    Config.model_validate({"backends": TWO[:1], "passthrough": [passed]})
    Config.model_validate({"backends": TWO, "passthrough": [{**passed, "backend": "b"}]})
    for wrong in ({}, {"backend": "c"}):
        with pytest.raises(ValidationError, match="backend"):
            Config.model_validate({"backends": TWO, "passthrough": [{**passed, **wrong}]})


@pytest.mark.parametrize("section", ["tools", "passthrough"])
def test_nothing_stands_there_twice(section: str) -> None:
    """Nobody could say which one counts."""
    entry = {"tools": {"name": "x", "action": "a.b"}, "passthrough": {"path": "/v1/x"}}[section]
    with pytest.raises(ValidationError, match="twice"):
        Config.model_validate({section: [entry, entry]})


@pytest.mark.parametrize(
    "wrong", [{"gate": "maybe"}, {"on_refusal": "drop"}, {"held_s": 0}, {"held_bytes_max": -1}, {"x": 1}]
)
def test_wrong_switches(wrong: dict[str, Any]) -> None:
    """Values outside of what there is are errors."""
    with pytest.raises(ValidationError):
        ToolCallsConfig.model_validate(wrong)
