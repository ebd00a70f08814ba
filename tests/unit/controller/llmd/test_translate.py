"""`controller.llmd.translate`: vectors/translate, and the facts that no vector shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.catalogue import Catalogue
from controller.intent import read_intents
from controller.intent.types import CLASS_PRIORITY
from controller.llmd.sim.intent import read_intent
from controller.llmd.translate import (
    CONTROL_HEADERS,
    Constraints,
    Dialect,
    Endpoint,
    EnginePriority,
    Surroundings,
    objective_manifests,
    read_queue_ms,
    read_refusal,
    translate,
)
from controller.plan import Cause, Disposition, Plan, Prediction

PATH = Path("vectors/translate/cases.json")
CASES = json.JSONDecoder().decode(PATH.read_text())["cases"] if PATH.exists() else []


def build(case: dict[str, Any]) -> Constraints:
    """Return what `translate` makes of a case."""
    (intent,) = read_intents([case["intent"]], Catalogue(())).intents
    around = dict(case["surroundings"])
    around["dialect"] = Dialect(around["dialect"])
    around["endpoint"] = Endpoint(around.get("endpoint", "chat_completions"))
    around["engine_priority"] = EnginePriority(around.get("engine_priority", "off"))
    plan = Plan(
        request_id="r", intent=intent.name, tick=0, disposition=Disposition.PASS, cause=Cause.IDENTITY,
        model=case["plan"]["model"], max_tokens=case["plan"]["max_tokens"], priority=intent.priority,
        deadline_s=1.0, expires=False, hold_until_s=0.0, work_s=0.1, reserve_uusd=1,
        prediction=Prediction(0.0, 0.1, 0.2, 1.0, 1, 10.0), actions=(), options=(), margin=0.0,
    )  # fmt: skip
    return translate(plan, intent, Surroundings(**around))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_vectors(case: dict[str, Any]) -> None:
    """Each golden case gives exactly its headers, fields and removals."""
    made = build(case)
    assert {
        "headers": dict(made.headers),
        "set_fields": dict(made.set_fields),
        "remove_fields": list(made.remove_fields),
    } == case["expected"]


@pytest.mark.parametrize(
    ("dialect", "version"),
    [("llm-d>=0.11", "0.11"), ("llm-d-0.9", "0.9"), ("gaie", "gaie")],
)
def test_the_simulated_picker_reads_what_is_sent(dialect: str, version: Any) -> None:
    """Objective, tenant and targets arrive in each router version under the names that it knows."""
    case = next(
        case
        for case in CASES
        if case["surroundings"]["dialect"] == dialect and case["name"].startswith("full")
    )
    read = read_intent(build(case).headers, version)
    assert (read.objective, read.fairness_id, read.ttft_ms, read.tpot_ms) == ("critical", "acme", 379, 35)
    assert read.ttl_s == (0.179 if version == "0.11" else None)


def test_every_header_we_send_is_stripped_from_clients() -> None:
    """Nothing that steers the picker can come from outside, whatever the dialect in use."""
    for case in CASES:
        assert set(build(case).headers) <= set(CONTROL_HEADERS)
    assert all(name == name.lower() for name in CONTROL_HEADERS)


def test_manifests_create_every_objective_that_is_named() -> None:
    """deploy/inference-objectives.yaml holds one objective per class, with the class's priority."""
    text = Path("deploy/inference-objectives.yaml").read_text()
    made = objective_manifests("llm-d", "llm-d-pool")
    assert text.endswith(made)
    for service_class, priority in CLASS_PRIORITY.items():
        assert f"  name: {service_class.value}\n" in made
        assert f"  priority: {priority}\n" in made


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason", "gpu", "back_off"),
    [
        (
            429,
            {"x-llm-d-request-dropped-reason": "rejected-saturated"},
            "",
            "rejected-saturated",
            False,
            True,
        ),
        (429, {"x-llm-d-request-dropped-reason": "evicted"}, "", "evicted", True, False),
        (
            503,
            {"x-llm-d-request-dropped-reason": "rejected-no-endpoints"},
            "",
            "rejected-no-endpoints",
            False,
            False,
        ),
        (429, {}, "", "saturated", False, True),
        (503, {}, "", "unavailable", False, True),
        (500, {}, "request cannot be admitted: slo", "not-admitted", False, True),
    ],
)
def test_refusals_are_understood(
    status: int, headers: dict[str, str], body: str, reason: str, gpu: bool, back_off: bool
) -> None:
    """The header is trusted over the status; only saturation narrows a window."""
    dropped = read_refusal(status, headers, body)
    assert dropped is not None
    assert (dropped.reason, dropped.gpu_spent, dropped.back_off) == (reason, gpu, back_off)


def test_other_statuses_are_no_refusal_for_load() -> None:
    """A plain 500 or 400 says nothing about load."""
    assert read_refusal(500, {}, "oops") is None
    assert read_refusal(400, {}) is None


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("17", 17), ("-1", None), ("1.5", None), ("", None), ("²", None)]
)
def test_queue_durations(text: str, value: int | None) -> None:
    """Zero is a real value; anything but digits is unknown."""
    assert read_queue_ms({"x-llm-d-flow-queue-duration-ms": text}) == value
