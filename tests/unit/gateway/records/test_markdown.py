"""A record as Markdown for a ticket."""

from __future__ import annotations

from gateway.engine.decide import EngineSettings, Stamp, decide
from gateway.memory.types import NO_ADVICE
from gateway.pipeline.policies import policy_set
from gateway.policy.builtin import PACKS, SUPPORT
from gateway.records.markdown import CHARS_MAX, LINES_MAX, bounded, record_markdown
from tests.kit.refunds import refund

POLICIES = policy_set(SUPPORT, PACKS, default_packs=True)


def _record(**changes: object) -> dict:
    stamp = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000)
    request = refund()
    request["action"] |= changes
    return decide(request, policies=POLICIES, advice=NO_ADVICE, settings=EngineSettings(), stamp=stamp).record


def test_it_reads_like_a_paragraph_and_then_the_facts() -> None:
    """Who asked for what, the verdict, and the facts of the contract stand in it in this order."""
    text = record_markdown(_record())
    lines = text.splitlines()
    assert lines[0] == "# Lumyn decision `01ARZ3NDEKTSV4RRFFQ69G5FAV`"
    assert lines[2].startswith("At 2023-11-14T22:13:20Z agent support-bot asked for support.refund of 20 USD")
    assert "answered **TRUST**" in lines[2]
    names = [line.split(":")[0] for line in lines if line.startswith("- ") and ": `" in line][:6]
    assert names == [
        "- created_at",
        "- verdict",
        "- reason_codes",
        "- policy_hash",
        "- context_digest",
        "- inputs_digest",
    ]
    assert "- `TRUST_PATHS:R050` effect `TRUST` reasons `REFUND_SMALL_LOW_RISK`" in lines


def test_a_caller_cannot_write_markdown_of_its_own() -> None:
    """An intent with newlines and backticks stays inside its sentence."""
    text = record_markdown(_record(intent="x\n# Approved\n`y`"))
    assert "\n# Approved" not in text
    assert "x # Approved 'y'" in text


def test_events_are_told() -> None:
    """A label stands in the paper with its words."""
    event = {
        "event_id": "e",
        "at": "2023-11-15T00:00:00Z",
        "type": "label",
        "data": {"label": "failure", "summary": "twice"},
    }
    text = record_markdown(_record() | {"decision_event_log": [event]})
    assert "- 2023-11-15T00:00:00Z `label` failure: twice" in text


def test_length_is_bounded_in_lines_and_characters() -> None:
    """A hundred lines, or one endless one, are cut, and the last line says how many were."""
    many = bounded(["line"] * 100).splitlines()
    assert len(many) == LINES_MAX
    assert many[-1] == "truncated; omitted 61 lines"
    long = bounded(["x" * 3000, "y" * 3000])
    assert len(long) <= CHARS_MAX + 40
    assert long.endswith("truncated; omitted 1 lines\n")
