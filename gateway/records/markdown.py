"""A Decision Record as Markdown: what one pastes into an incident ticket. Pure, and bounded in length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.kernel.types import JSONObject

LINES_MAX: Final = 40
CHARS_MAX: Final = 4_000
"""Both as in the reference (contract 6): a ticket's first screen."""


def record_markdown(record: JSONObject, *, heading: str = "Lumyn decision") -> str:
    """Return a paragraph in words, then the facts, then the rules and obligations."""
    return bounded(_lines(record, heading))


def bounded(lines: Iterable[str]) -> str:
    """Join lines, cut where they are too many, with a last line that says so."""
    every = [line for text in lines for line in text.split("\n")]
    kept: list[str] = []
    room = CHARS_MAX
    for line in every:
        room -= len(line) + 1
        if len(kept) >= LINES_MAX - 1 or room < 0:
            break
        kept.append(line)
    if omitted := len(every) - len(kept):
        kept.append(f"truncated; omitted {omitted} lines")
    return "\n".join(kept) + "\n"


def _lines(record: JSONObject, heading: str) -> Iterator[str]:
    yield f"# {heading} `{record['decision_id']}`"
    yield ""
    yield _paragraph(record)
    yield ""
    codes = ", ".join(record["reason_codes"]) or "(none)"
    facts = {
        "created_at": record["created_at"],
        "verdict": record["verdict"],
        "reason_codes": codes,
        "policy_hash": record["policy"]["policy_hash"],
        "context_digest": record["request"]["context"]["digest"],
        "inputs_digest": record["determinism"]["inputs_digest"],
    }
    for name, value in facts.items():
        yield f"- {name}: `{value}`"
    yield from _rules(record)
    yield from _obligations(record)
    yield from _events(record)


def _paragraph(record: JSONObject) -> str:
    """Say in sentences who wanted what, what was decided and why."""
    request = record["request"]
    subject, action, policy = request["subject"], request["action"], record["policy"]
    amount = action.get("amount", {})
    money = f" of {amount['value']} {amount.get('currency', '')}".rstrip() if "value" in amount else ""
    explanation = record.get("explanation", {})
    details = " ".join(f"{line.rstrip('.')}." for line in explanation.get("details", []))
    mode = (
        "Advisory mode let it pass." if policy["mode"] == "advisory" and record["verdict"] != "TRUST" else ""
    )
    who = _plain(f"{subject['type']} {subject['id']}")
    asked = f'asked for {action["type"]}{money} ("{_plain(action["intent"])}").'
    sentences = (
        f"At {record['created_at']} {who} {asked}",
        f"Policy {policy['policy_id']} {policy['policy_version']} answered **{record['verdict']}**.",
        _plain(explanation.get("summary", "")),
        _plain(details),
        mode,
    )
    return " ".join(sentence for sentence in sentences if sentence)


def _rules(record: JSONObject) -> Iterator[str]:
    if record["matched_rules"]:
        yield from ("", "## Matched rules", "")
    for rule in record["matched_rules"]:
        reasons = ", ".join(rule["reason_codes"])
        yield f"- `{rule['stage']}:{rule['rule_id']}` effect `{rule['effect']}` reasons `{reasons}`"


def _obligations(record: JSONObject) -> Iterator[str]:
    if record["obligations"]:
        yield from ("", "## Obligations", "")
    for obligation in record["obligations"]:
        source = obligation.get("source", {})
        place = f"{source.get('stage', '')}:{source.get('rule_id', '')}"
        title = _plain(str(obligation.get("title", "")))
        details = f" {_plain(str(obligation['details']))}" if "details" in obligation else ""
        yield f"- `{obligation.get('type', '')}` {title}{details} (`{place}`)"


def _events(record: JSONObject) -> Iterator[str]:
    events = record.get("decision_event_log", [])
    if events:
        yield from ("", "## Events", "")
    for event in events:
        data = event["data"]
        words = data.get("label") or data.get("fate") or data.get("kind") or ""
        summary = f": {_plain(str(data['summary']))}" if data.get("summary") else ""
        yield f"- {event['at']} `{event['type']}` {_plain(str(words))}{summary}"


def _plain(text: str) -> str:
    """Return text that stays in its line and cannot begin Markdown of its own."""
    return " ".join(text.split()).replace("`", "'")
