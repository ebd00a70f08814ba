"""`controller.intent.read`: plain data in, compiled intents or every problem with its pointer out."""

from __future__ import annotations

from typing import Any

import pytest

from controller.intent import Bias, InvalidIntentError, PressureAction, ServiceClass, read_intents
from tests.kit.control import catalogue

FULL: dict[str, Any] = {
    "apiVersion": "intent/v1",
    "kind": "Intent",
    "metadata": {"name": "support-chat"},
    "match": {"tenant": "acme", "app": "support", "route": "/v1/chat/completions", "model": "large"},
    "service_class": "critical",
    "priority": 7,
    "weight": 3.5,
    "latency": {
        "ttft_ms": 500,
        "tpot_ms": 35,
        "e2e_ms": 8000,
        "objective": {"target": 0.99, "window": "1h"},
        "max_queue_ms": 400,
        "hard": True,
    },
    "cost": {"max_usd_per_request": 0.02, "budget": {"usd": 50, "window": "1d", "hard": True}},
    "quality": {"models": ["large", "mid", "small"], "floor": "mid"},
    "output": {"max_tokens": 800, "reasoning_effort": "medium"},
    "on_pressure": ["cap_tokens", "downgrade", "defer", "shed"],
    "bias": "latency",
}


def problems_of(*items: Any) -> list[tuple[str, str]]:
    """Return (pointer, message) of every problem in a list of intents."""
    with pytest.raises(InvalidIntentError) as caught:
        read_intents(list(items), catalogue())
    return [(problem.pointer, problem.message) for problem in caught.value.problems]


def test_every_field_is_compiled() -> None:
    """The recommended intent comes out whole, with the ladder cut at its floor."""
    (intent,) = read_intents([FULL], catalogue()).intents
    assert (intent.name, intent.service_class, intent.priority, intent.weight) == (
        "support-chat", ServiceClass.CRITICAL, 7, 3.5,
    )  # fmt: skip
    assert intent.latency.target == 0.99
    assert intent.latency.window_s == 3600.0
    assert (intent.latency.ttft_ms, intent.latency.max_queue_ms, intent.latency.hard) == (500, 400, True)
    assert intent.budget is not None
    assert (intent.budget.usd, intent.budget.window_s, intent.budget.hard) == (50, 86400.0, True)
    assert intent.models == ("large", "mid")
    assert intent.max_tokens == 800
    assert intent.on_pressure == tuple(PressureAction)
    assert intent.bias is Bias.LATENCY


def test_a_name_alone_is_an_intent_that_changes_nothing() -> None:
    """Defaults: standard class, no targets, nothing permitted."""
    (intent,) = read_intents([{"name": "x"}], catalogue()).intents
    assert (intent.service_class, intent.priority, intent.on_pressure, intent.models) == (
        ServiceClass.STANDARD, 3, (), (),
    )  # fmt: skip


def test_service_tiers_name_classes() -> None:
    """OpenAI's tier names are understood as classes."""
    (intent,) = read_intents([{"name": "x", "service_class": "flex"}], catalogue()).intents
    assert intent.service_class is ServiceClass.BATCH


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"ttft": 5}, "/intents/0/ttft", "unknown field"),
        ({"weight": "much"}, "/intents/0/weight", "expected a number"),
        ({"weight": True}, "/intents/0/weight", "expected a number"),
        ({"weight": 0}, "/intents/0/weight", "outside"),
        ({"priority": 1.5}, "/intents/0/priority", "whole number"),
        ({"service_class": "vip"}, "/intents/0/service_class", "expected one of"),
        ({"latency": [1]}, "/intents/0/latency", "expected a mapping"),
        ({"latency": {"ttft_ms": float("nan")}}, "/intents/0/latency/ttft_ms", "expected a number"),
        ({"latency": {"ttft_ms": 900, "e2e_ms": 800}}, "/intents/0/latency/e2e_ms", "before its first token"),
        ({"latency": {"ttft_ms": 90, "max_queue_ms": 91}}, "/intents/0/latency/max_queue_ms", "misses"),
        ({"latency": {"objective": {"window": "soon"}}}, "/intents/0/latency/objective/window", "duration"),
        ({"latency": {"objective": {"window": "0s"}}}, "/intents/0/latency/objective/window", "no length"),
        ({"latency": {"hard": 1}}, "/intents/0/latency/hard", "true or false"),
        ({"cost": {"budget": {"usd": 5}}}, "/intents/0/cost/budget", "needs `usd` and `window`"),
        ({"cost": {"max_usd_per_request": 1e-6}}, "/intents/0", "not even one token"),
        ({"quality": {"models": ["large", "gone"]}}, "/intents/0/quality/models", "no model 'gone'"),
        ({"quality": {"models": ["large"], "floor": "mid"}}, "/intents/0/quality/floor", "not on the ladder"),
        ({"quality": {"models": ["mid", "large"]}}, "/intents/0", "best to worst"),
        ({"quality": {"models": ["mid", "mid"]}}, "/intents/0/quality/models", "twice"),
        ({"quality": {"models": "mid"}}, "/intents/0/quality/models", "expected a list"),
        ({"on_pressure": ["panic"]}, "/intents/0/on_pressure", "expected one of"),
        ({"output": {"max_tokens": 0}}, "/intents/0/output/max_tokens", "outside"),
        ({"match": {"a/b": "x"}}, "/intents/0/match/a~1b", "unknown field"),
        ({"name": "other", "metadata": {"name": "x"}}, "/intents/0/name", "differ"),
    ],
)
def test_each_fault_is_reported_where_it_is(change: dict[str, Any], pointer: str, says: str) -> None:
    """A wrong value names its pointer and what was expected."""
    base: dict[str, Any] = {"name": "x"}
    if "cost" in change and "max_usd_per_request" in change["cost"]:
        base["quality"] = {"models": ["large"]}
    found = problems_of({**base, **change})
    assert any(where.startswith(pointer) and says in message for where, message in found), found


def test_all_faults_are_reported_at_once() -> None:
    """Three faults in two intents give three problems, not the first."""
    found = problems_of({"name": "a", "bias": "none", "weight": -1}, {"match": {}})
    assert {pointer for pointer, _ in found} >= {"/intents/0/bias", "/intents/0/weight", "/intents/1"}


def test_same_match_or_same_name_is_a_conflict() -> None:
    """Two intents for the same requests, or of one name, are refused: neither could win."""
    match = {"tenant": "acme"}
    found = problems_of({"name": "a", "match": match}, {"name": "a", "match": match})
    assert [pointer for pointer, _ in found] == ["/intents/1/name", "/intents/1/match"]


def test_downgrade_without_a_second_rung_is_impossible() -> None:
    """A permission that can never be used is a mistake."""
    found = problems_of({"name": "x", "quality": {"models": ["large"]}, "on_pressure": ["downgrade"]})
    assert "one rung" in found[0][1]


@pytest.mark.parametrize("data", [None, "text", {"a": 1}, 7])
def test_what_is_no_list_is_refused(data: Any) -> None:
    """The document must be a list."""
    with pytest.raises(InvalidIntentError, match="expected a list"):
        read_intents(data, catalogue())


def test_the_digest_names_the_compiled_intents() -> None:
    """Equal intents have equal digests, other ones others."""
    one, same = read_intents([FULL], catalogue()), read_intents([FULL], catalogue())
    other = read_intents([{**FULL, "weight": 3}], catalogue())
    assert one.digest == same.digest
    assert one.digest != other.digest
    assert one.digest.startswith("sha256:")
