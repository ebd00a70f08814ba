"""Rows: written, read back, and turned into what a comparison has."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.rows import Row, called, offered, read_rows, summary
from tests.kit.arms import BATCH, PREMIUM

ASK = Row(
    "ask", "r2", "premium", 2.0, 0.01, "complete", 200, 0.5, 2.0, 1000, 100, 100, "large",
    ("QUEUED", "TOKENS_CAPPED"), "TRUST", "D2",
)  # fmt: skip
ACT = Row("act", "t1", "", 1.0, 0.0, "complete", 200, None, 0.01, verdict="ESCALATE", decision_id="D1")


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    """A line each; read in order of their due times."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ASK.line() + ACT.line())
    assert read_rows(path) == (ACT, ASK)


@pytest.mark.parametrize("line", [b"no json\n", b'{"kind":"ask"}\n', b'{"other":1}\n'])
def test_what_is_no_row_is_said(tmp_path: Path, line: bytes) -> None:
    """With the line's number."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ASK.line() + line)
    with pytest.raises(ValueError, match="line 2"):
        read_rows(path)


def test_requests_are_judged_by_their_class() -> None:
    """Targets, prices and causes come from outside; a late answer is no good one."""
    [one] = offered((ASK, ACT), (PREMIUM, BATCH), {"large": (0.6, 0.8)}, {"D2": "lat_price"})
    assert (one.met, one.capped, one.cause, one.lag_s) == (True, True, "lat_price", 0.01)
    assert one.cost_uusd == 1000 * 0.6 + 100 * 0.8
    late = Row(**{**{name: getattr(ASK, name) for name in Row.__slots__}, "ttft_s": 1.5})
    [one] = offered((late,), (PREMIUM,), {}, {})
    assert (one.met, one.cost_uusd, one.cause) == (False, 0.0, "")


def test_tool_actions_are_called() -> None:
    """They are no LLM requests, and LLM requests are none of them."""
    [one] = called((ASK, ACT))
    assert (one.at_s, one.latency_s, one.verdict, one.decision_id) == (1.0, 0.01, "ESCALATE", "D1")


def test_a_summary_counts() -> None:
    """By kind and status."""
    assert summary((ASK, ACT, ACT)) == {"ask": {"complete": 1}, "act": {"complete": 2}}
