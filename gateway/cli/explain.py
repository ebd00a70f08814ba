"""`lumyn explain`: say why a decision fell as it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli import options
from gateway.cli.render import say, say_facts, table, verdict
from gateway.cli.stored import stored_record
from gateway.cli.why import COLUMNS, came_true, option_rows, outcome_of, sentence

if TYPE_CHECKING:
    from gateway.kernel.types import JSONObject


def explain_command(
    decision_id: options.DecisionId,
    *,
    markdown: options.Markdown = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Say why a decision fell as it did: the rules that matched, what they read, what follows.

    Of a governed LLM request also why this model, this cap and this wait, and the options there were.
    """
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
    _say_control(record)
    say("matched_rules:")
    for rule in record["matched_rules"]:
        reasons = ", ".join(rule["reason_codes"])
        say(f"  - {rule['stage']}:{rule['rule_id']} effect={rule['effect']} reasons=[{reasons}]")
    _say_list("queries", [f"{query['field']}: {query['question']}" for query in record["queries"]])
    titles = [f"{one.get('type', '')}: {one.get('title', '')}" for one in record["obligations"]]
    _say_list("obligations", titles)


def _say_control(record: JSONObject) -> None:
    """Say why this model, this cap, this wait, and what else there was to choose from."""
    control = record.get("extensions", {}).get("control")
    if control is None:
        return
    outcome = outcome_of(record)
    say(f"why: {sentence(control, outcome)}")
    say_facts({name: control[name] for name in ("intent", "service_class", "mode") if name in control})
    _say_list("control", [f"{action['kind']}: {action['reason']}" for action in control["actions"]])
    _say_list("came_true", came_true(outcome))
    rows = option_rows(control)
    if rows:
        say("options:")
        table(COLUMNS, rows)
    else:
        say("options: not stored, nothing pressed")


def _say_list(name: str, lines: list[str]) -> None:
    if lines:
        say(f"{name}:")
    for line in lines:
        say(f"  - {line}")
