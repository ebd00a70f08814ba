"""What a controller's part of a record says to a person: one sentence, the options, what came of it.

Text out of stored values; nothing is decided or read here. A part of an older version may lack a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gateway.kernel.types import JSONObject

COLUMNS: Final = (
    "", "model", "max_tokens", "quality", "P(miss)", "wait", "first token", "answer", "cost", "gain",
    "money", "load", "utility", "out",
)  # fmt: skip


def sentence(control: JSONObject, outcome: JSONObject | None) -> str:
    """Return why this model, this cap, this wait, in one sentence."""
    reasons = {action["kind"]: action["reason"] for action in control["actions"]}
    plan = control["plan"]
    refused = reasons.get("SHED")
    if refused is not None:
        return f"{refused}."
    model = reasons.get("MODEL_SWITCHED") or reasons.get("PASSED") or f"{plan['model']} as asked"
    parts = [model, _cap(plan, reasons.get("TOKENS_CAPPED")), _wait(reasons, outcome)]
    return "; ".join(part for part in parts if part) + "."


def _cap(plan: JSONObject, reason: str | None) -> str:
    if reason is not None:
        return reason
    most = plan.get("max_tokens")
    return "no cap on the answer" if most is None else f"no cap below the {most} tokens that were allowed"


def _wait(reasons: JSONObject, outcome: JSONObject | None) -> str:
    waited_us = None if outcome is None else outcome.get("queue_us")
    expired: str | None = reasons.get("EXPIRED")
    if expired is not None:
        return expired
    why = reasons.get("BATCHING_HINTED") or reasons.get("QUEUED")
    if not waited_us:
        return why or "no wait"
    return f"waited {waited_us / 1e6:.2f} s" + (f" ({why})" if why else "")


def option_rows(control: JSONObject) -> list[Sequence[str]]:
    """Return the rows of the option table, the chosen line marked; none where it was not stored."""
    plan = control["plan"]
    chosen = (plan.get("model"), plan.get("max_tokens"))
    return [_row(line, chosen) for line in control.get("options", ())]


def _row(line: JSONObject, chosen: tuple[Any, Any]) -> tuple[str, ...]:
    most = line["max_tokens"]
    return (
        "*" if (line["model"], most) == chosen else "",
        line["model"],
        "-" if most is None else str(most),
        f"{line['quality']:.2f}",
        f"{line['miss']:.2f}",
        f"{line['wait_s']:.2f} s",
        f"{line['ttft_s']:.2f} s",
        f"{line['e2e_s']:.1f} s",
        f"{line['cost_uusd']} uUSD",
        f"{line['gain']:.3f}",
        f"{line['cost_term']:.3f}",
        f"{line['load_term']:.3f}",
        f"{line['utility']:.3f}",
        line["refused_by"],
    )


def came_true(outcome: JSONObject | None) -> list[str]:
    """Return prediction against observation, a line each; none while there is no outcome."""
    seen = None if outcome is None else outcome.get("control")
    if not seen:
        return []
    targets = "met every target" if seen.get("met") else f"missed {', '.join(seen.get('missed', ()))}"
    lines = [targets]
    for name, words in (("ttft", "first token"), ("e2e", "whole answer")):
        got, said = seen.get(f"{name}_us"), seen.get(f"predicted_{name}_us")
        if got is not None:
            told = "" if said is None else f", predicted {said / 1e6:.2f} s"
            lines.append(f"{words} after {got / 1e6:.2f} s{told}")
    cost, said = seen.get("cost_uusd"), seen.get("predicted_cost_uusd")
    if cost is not None:
        told = "" if said is None else f", predicted {said}"
        lines.append(f"cost {cost} micro-dollars{told}")
    return lines


def outcome_of(record: JSONObject) -> JSONObject | None:
    """Return the data of the record's outcome event, None where there is none yet."""
    for event in record.get("decision_event_log", ()):
        if event["type"] == "outcome":
            data: JSONObject = event["data"]
            return data
    return None
