"""`lumyn explain`: say why a decision fell as it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli import options
from gateway.cli.render import say, say_facts, verdict
from gateway.cli.stored import stored_record

if TYPE_CHECKING:
    from gateway.kernel.types import JSONObject


def explain_command(
    decision_id: options.DecisionId,
    *,
    markdown: options.Markdown = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Say why a decision fell as it did: the rules that matched, what they read, what follows."""
    record = stored_record(decision_id, workspace, config)
    if markdown:
        from gateway.records.markdown import record_markdown

        say(record_markdown(record).rstrip("\n"))
        return
    _say_plainly(record)


def _say_plainly(record: JSONObject) -> None:
    say_facts(
        {
            "decision_id": record["decision_id"],
            "created_at": record["created_at"],
            "verdict": verdict(record["verdict"]),
            "reason_codes": ", ".join(record["reason_codes"]),
        }
    )
    explanation = record.get("explanation")
    if explanation:
        say(f"summary: {explanation['summary']}")
        for line in explanation["details"]:
            say(f"  - {line}")
    _say_control(record.get("extensions", {}).get("control"))
    say("matched_rules:")
    for rule in record["matched_rules"]:
        reasons = ", ".join(rule["reason_codes"])
        say(f"  - {rule['stage']}:{rule['rule_id']} effect={rule['effect']} reasons=[{reasons}]")
    _say_list("queries", [f"{query['field']}: {query['question']}" for query in record["queries"]])
    titles = [f"{one.get('type', '')}: {one.get('title', '')}" for one in record["obligations"]]
    _say_list("obligations", titles)


def _say_control(control: JSONObject | None) -> None:
    """Say why this model, this cap, this wait, and what else there was to choose from."""
    if control is None:
        return
    _say_list("control", [f"{action['kind']}: {action['reason']}" for action in control["actions"]])
    rows = [
        f"{line['model']} max_tokens={line['max_tokens']} utility={line['utility']:.3f} "
        f"miss={line['miss']:.2f} first_token={line['ttft_s']:.2f}s cost={line['cost_uusd']}"
        + (f" out: {line['refused_by']}" if line["refused_by"] else "")
        for line in control.get("options", ())
    ]
    _say_list("options", rows)


def _say_list(name: str, lines: list[str]) -> None:
    if lines:
        say(f"{name}:")
    for line in lines:
        say(f"  - {line}")
