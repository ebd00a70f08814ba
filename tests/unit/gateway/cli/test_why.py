"""`gateway.cli.why`: a control part in words."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.why import COLUMNS, came_true, option_rows, outcome_of, sentence


def line(model: str, refused_by: str = "", max_tokens: int | None = None) -> dict[str, Any]:
    """A line of the option table."""
    return {
        "model": model, "max_tokens": max_tokens, "quality": 0.9, "miss": 0.5, "wait_s": 0.25,
        "ttft_s": 0.2, "e2e_s": 3.0, "cost_uusd": 4, "work_s": 0.1, "gain": 1.0, "cost_term": 0.0,
        "load_term": 0.125, "utility": 0.875, "refused_by": refused_by,
    }  # fmt: skip


def part(**changes: Any) -> dict[str, Any]:
    """A control part without a table."""
    return {
        "intent": "chat",
        "service_class": "standard",
        "mode": "active",
        "plan": {"model": "b", "max_tokens": None},
        "actions": [],
        **changes,
    }


def done(*actions: tuple[str, str]) -> list[dict[str, str]]:
    """Actions with their reasons."""
    return [{"kind": kind, "reason": reason} for kind, reason in actions]


@pytest.mark.parametrize(
    ("control", "outcome", "said"),
    [
        (part(actions=done(("PASSED", "passed to b as asked"))), None,
         "passed to b as asked; no cap on the answer; no wait."),
        (part(actions=done(("MODEL_SWITCHED", "switched a -> b: why"), ("TOKENS_CAPPED", "capped at 9"),
                           ("QUEUED", "queued for b: work waits"))), {"queue_us": 420_000},
         "switched a -> b: why; capped at 9; waited 0.42 s (queued for b: work waits)."),
        (part(actions=done(("QUEUED", "queued for b")), plan={"model": "b", "max_tokens": 64}), None,
         "b as asked; no cap below the 64 tokens that were allowed; queued for b."),
        (part(actions=done(("SHED", "refused: no rung"))), None, "refused: no rung."),
        (part(actions=done(("QUEUED", "queued"), ("EXPIRED", "waited 1.50 s for b: too late"))),
         {"queue_us": 1_500_000}, "b as asked; no cap on the answer; waited 1.50 s for b: too late."),
    ],
)  # fmt: skip
def test_one_sentence(control: dict[str, Any], outcome: dict[str, Any] | None, said: str) -> None:
    """Model, cap and wait, each with its reason where it has one."""
    assert sentence(control, outcome) == said


def test_the_chosen_line_is_marked_and_reasons_stand_beside_those_that_were_out() -> None:
    """One row a line, a cell a column."""
    table = option_rows(part(options=[line("a", "its breaker is open"), line("b"), line("b", max_tokens=64)]))
    assert [row[0] for row in table] == ["", "*", ""]
    assert all(len(row) == len(COLUMNS) for row in table)
    assert (table[0][-1], table[1][-1], table[2][2]) == ("its breaker is open", "", "64")
    assert option_rows(part()) == []


def test_what_came_of_it() -> None:
    """Targets, then each time and the cost against its prediction; nothing before the outcome."""
    seen = {
        "met": False, "missed": ["ttft"], "ttft_us": 2_500_000, "predicted_ttft_us": 1_000_000,
        "e2e_us": 9_000_000, "cost_uusd": 700, "predicted_cost_uusd": 650,
    }  # fmt: skip
    record = {
        "decision_event_log": [
            {"type": "note", "data": {}},
            {"type": "outcome", "data": {"control": seen}},
        ]
    }
    assert came_true(outcome_of(record)) == [
        "missed ttft",
        "first token after 2.50 s, predicted 1.00 s",
        "whole answer after 9.00 s",
        "cost 700 micro-dollars, predicted 650",
    ]
    assert came_true(outcome_of({})) == []
    assert came_true({"fate": "failed"}) == []
