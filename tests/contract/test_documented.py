"""What can be configured, go wrong and be measured is written down, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.config import (
    ActionConfig,
    BackendConfig,
    Config,
    KeyConfig,
    ModelConfig,
    OperatorConfig,
    PassthroughConfig,
    ToolConfig,
    load_config,
)
from gateway.config.mcp import McpServerConfig
from gateway.kernel import errors
from gateway.policy.document import read_document
from gateway.telemetry.metrics import ControlReading, ExchangeReading, Metrics, StoreReading
from gateway.telemetry.upstream import BackendReading, RetryReading

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config.example.yaml"
ENTRIES: dict[str, type[BaseModel]] = {
    "keys": KeyConfig,
    "backends": BackendConfig,
    "models": ModelConfig,
    "actions": ActionConfig,
    "operators": OperatorConfig,
    "tools": ToolConfig,
    "passthrough": PassthroughConfig,
}


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the dotted keys of a part of the schema."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            found |= keys_of(part, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def keys_in(value: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted keys of a document."""
    found: set[str] = set()
    for name, item in value.items():
        found |= keys_in(item, f"{prefix}{name}.") if isinstance(item, dict) else {prefix + name}
    return found


def parsed(text: str) -> dict[str, Any]:
    """Read YAML as the gateway does."""
    return dict(read_document(text.encode(), source="example").value)


def with_examples() -> str:
    """Return the example file with its example entries taken in."""
    text = re.sub(
        r"^( *(?:keys|backends|models|intents|actions|operators|tools|passthrough|servers)): \[\]$",
        r"\1:",
        EXAMPLE.read_text(),
        flags=re.MULTILINE,
    )
    return re.sub(r"^#(  +\S.*)$", r"\1", text, flags=re.MULTILINE)


def test_the_example_holds_every_key_and_no_other() -> None:
    """Each key of the schema stands in config.example.yaml, and each key there is one of the schema."""
    assert keys_in(parsed(EXAMPLE.read_text())) == keys_of(Config)


def test_the_example_is_the_defaults() -> None:
    """A gateway that is given the example behaves as one that is given nothing."""
    assert load_config(str(EXAMPLE), {}) == Config()


@pytest.mark.parametrize("name", ENTRIES)
def test_the_example_entries_are_whole(name: str) -> None:
    """The commented entries name every key of theirs with its default, and load."""
    full = parsed(with_examples())
    [entry] = full[name]
    model = ENTRIES[name]
    assert set(entry) == set(model.model_fields)
    for field_name, field in model.model_fields.items():
        if not field.is_required():
            assert getattr(model.model_validate(entry), field_name) == field.default, field_name
    Config.model_validate(full)


def test_the_example_server_is_whole() -> None:
    """The commented MCP server names every key of its with its default, and loads."""
    full = parsed(with_examples())
    [entry] = full["mcp"]["servers"]
    assert set(entry) == set(McpServerConfig.model_fields)
    for name, field in McpServerConfig.model_fields.items():
        if not field.is_required():
            assert getattr(McpServerConfig.model_validate(entry), name) == field.default, name
    Config.model_validate(full)


def test_every_key_has_its_reason() -> None:
    """No key of the example stands without a comment beside it or above it."""
    lines = with_examples().splitlines()
    for at, line in enumerate(lines):
        key = re.match(r" +(?:- )?([a-z_]+): *\S", line)
        if key:
            assert " # " in line, f"{key.group(1)} in line {at + 1} has no reason"


def test_the_examples_lines_can_be_read_without_scrolling() -> None:
    """Lines of the example are at most 130 characters."""
    assert max(map(len, EXAMPLE.read_text().splitlines())) <= 130


def error_tree() -> list[type[errors.GatewayError]]:
    """Return the errors of the gateway; the library's own error for callers is not among them."""
    tree = [errors.GatewayError]
    for kind in tree:
        tree += [below for below in kind.__subclasses__() if below.__module__ == errors.__name__]
    return tree


def error_codes() -> set[str]:
    """Return every code that the tree can give: defaults, and those its docstring lists."""
    tree = error_tree()
    defaults = {kind.default_code for kind in tree}
    listed = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", errors.__doc__ or ""))
    return defaults | listed


def test_every_error_code_is_documented() -> None:
    """docs/errors.md holds the codes of the error tree and of the sources, and no other."""
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE))
    raised = {
        code
        for file in (ROOT / "gateway").rglob("*.py")
        for code in re.findall(r'\bcode="([A-Z_]+)"', file.read_text())
    }
    assert error_codes() | raised == documented


def test_every_error_has_its_status() -> None:
    """The status in docs/errors.md is the one that the tree sends."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    documented = {code: int(status) for code, status in rows}
    for kind in error_tree():
        if not issubclass(kind, errors.SetupError | errors.RecordError):
            assert documented[kind.default_code] == kind.status, kind


def test_every_metric_is_documented() -> None:
    """docs/metrics.md holds every metric with its labels, and no other."""
    metrics = Metrics()
    metrics.watch_store(lambda: StoreReading(ready=True, queued=0, committed=0, last_commit_s=0.0))
    metrics.decision("decide", "TRUST")
    metrics.reload("policies", "applied")
    metrics.watch_backends(lambda: [BackendReading("b", "closed", 0, 0, {"answered": 1})])
    metrics.watch_retries(lambda: RetryReading(1.0, {"closed": 1}, {"budget": 1}))
    metrics.watch_control(
        lambda: ControlReading(
            "active", 0, {"m": (0.0, 1)}, {"i": {"attainment": 1.0, "spend_usd": 0.0, "shed": 0}}
        )
    )
    metrics.exchange(ExchangeReading("o", "m", "v", "f", "e", 1.0, 1.0, 1.0, 1.0, 1, 1))
    metrics.exchange(ExchangeReading("o", "", "v", "f", "e", 1.0, 1.0, None, None, None, None))
    metrics.repeated("REPLAYED")
    metrics.approval("asked")
    metrics.tool_call("TRUST", released=True)
    shown: dict[str, set[str]] = {}
    types: dict[str, str] = {}
    for family in metrics._registry.collect():
        if family.name.endswith("_created"):
            continue
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        shown[name], types[name] = labels, family.type
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE
    )
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in rows} == shown
    assert {name: kind for name, kind, _ in rows} == types
