"""`lumyn demo` and its story."""

from __future__ import annotations

import orjson


def test_three_records_of_a_fresh_workspace(lumyn) -> None:
    """A refund escalated, one asked about, an update trusted; all three are stored."""
    told = lumyn("demo")
    records = orjson.loads(told.out)
    assert [record["verdict"] for record in records] == ["ESCALATE", "QUERY", "TRUST"]
    assert records[1]["reason_codes"] == ["MISSING_EVIDENCE_REFUND", "REFUND_OVER_ESCALATION_LIMIT"]
    for record in records:
        assert lumyn("show", record["decision_id"]).code == 0


def test_the_story_shows_a_failure_learnt_from_in_one_screen(lumyn) -> None:
    """Trusted, labelled a failure, and a similar one escalated because of it; told a second time too."""
    for _ in range(2):
        told = lumyn("demo", "--story")
        lines = told.out.splitlines()
        assert len(lines) <= 24
        assert lines[0] == "Lumyn demo story"
        assert [line[0] for line in lines if line[1:2] == ")"] == ["1", "2", "3"]
        verdicts = [line.split()[-1] for line in lines if line.strip().startswith("verdict:")]
        assert verdicts == ["TRUST", "ESCALATE"]
        assert "   reason_codes: FAILURE_MEMORY_SIMILAR_ESCALATE, REFUND_SMALL_LOW_RISK" in lines
        assert "   failure_similarity.score: 1.0" in lines
