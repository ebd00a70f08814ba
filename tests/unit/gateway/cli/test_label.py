"""`lumyn label`."""

from __future__ import annotations

import orjson
import pytest

from tests.kit.refunds import refund


@pytest.mark.parametrize(
    "words",
    [
        ("--label", "failure", "--summary", "twice"),
        ("--failure", "--note", "twice"),
        ("--label", " FAILURE "),
    ],
)
def test_both_spellings_of_a_label(lumyn, decision_id: str, words: tuple[str, ...]) -> None:
    """However it is spelt, the next like refund is escalated, and the event says where it came from."""
    told = lumyn("label", decision_id, *words)
    assert [line.split(":")[0] for line in told.out.splitlines()] == ["event_id", "memory_id"]
    record = orjson.loads(lumyn("decide", stdin=orjson.dumps(refund(19))).out)
    assert record["verdict"] == "ESCALATE"
    (event,) = orjson.loads(lumyn("show", decision_id).out)["decision_event_log"]
    assert (event["data"]["label"], event["data"]["source"]) == ("failure", "cli")


def test_a_label_that_is_none(lumyn, decision_id: str) -> None:
    """Another word ends with 1; none, or two, with 2."""
    assert lumyn("label", decision_id, "--label", "good").code == 1
    assert lumyn("label", decision_id).code == 2
    assert lumyn("label", decision_id, "--failure", "--success").code == 2
