"""The observer: an ended exchange becomes counts in closed words, and a line where it was asked for."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import UpstreamBrokenError
from gateway.kernel.types import Fate
from gateway.pipeline.observe import ExchangeObserver
from gateway.pipeline.sighting import Sighting
from gateway.telemetry.log import LOG
from gateway.telemetry.metrics import ExchangeReading
from tests.kit.playbook import verdict


class Counted:
    """Metrics that only remember."""

    def __init__(self) -> None:
        self.readings: list[ExchangeReading] = []
        self.faults = 0

    def exchange(self, reading: ExchangeReading) -> None:
        self.readings.append(reading)

    def fault(self) -> None:
        self.faults += 1


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What the log was told."""
    monkeypatch.setattr(LOG, "propagate", True)
    caplog.set_level("INFO", logger="lumyn")
    return caplog


def observed(sighting: Sighting, *, log_decisions: bool = False) -> ExchangeReading:
    """Return the reading of one exchange."""
    metrics = Counted()
    observer = ExchangeObserver(metrics, models={"m"}, log_decisions=log_decisions)  # type: ignore[arg-type]
    observer.exchange_ended(sighting)
    [reading] = metrics.readings
    return reading


def test_an_exchange_that_was_never_decided() -> None:
    """It is counted under words that say so."""
    reading = observed(Sighting(1.0))
    assert (reading.operation, reading.model, reading.verdict, reading.fate) == (
        "none",
        "other",
        "none",
        "none",
    )
    assert (reading.error, reading.duration_s) == ("", 0.0)
    assert (reading.overhead_s, reading.ttft_s, reading.input_tokens) == (None, None, None)


def test_a_whole_exchange() -> None:
    """Its verdict, fate, durations and tokens."""
    sighting = Sighting(
        1.0,
        forwarded_s=1.25,
        first_content_s=1.75,
        ended_s=3.0,
        usage={"prompt_tokens": 12, "completion_tokens": 9},
        fate=Fate.CUT,
        error=UpstreamBrokenError("x"),
        admitted=verdict(),
    )
    assert observed(sighting) == ExchangeReading(
        "llm.chat_completion", "m", "TRUST", "cut", "UPSTREAM_BROKEN", 2.0, 0.25, 0.0, 0.5, 12, 9
    )


@pytest.mark.parametrize("model", [None, "a text that a client chose"])
def test_an_unknown_model_is_other(model: str | None) -> None:
    """No label ever holds what a client made up."""
    assert observed(Sighting(1.0, admitted=verdict(model=model))).model == "other"


def test_a_line_an_exchange_where_it_was_asked_for(log: pytest.LogCaptureFixture) -> None:
    """It names the decision and what became of it; undecided requests and quiet gateways write none."""
    observed(Sighting(1.0, admitted=verdict()))
    observed(Sighting(1.0), log_decisions=True)
    assert log.records == []
    admitted = verdict()
    observed(Sighting(1.0, ended_s=1.5, fate=Fate.COMPLETE, admitted=admitted), log_decisions=True)
    [line] = log.records
    assert line.facts == {  # type: ignore[attr-defined]
        "decision_id": admitted.decision.decision_id,
        "verdict": "TRUST",
        "reason_codes": ["LLM_REQUEST_OK"],
        "fate": "complete",
        "duration_ms": 500.0,
    }


def test_a_line_says_what_the_governor_did_and_why(log: pytest.LogCaptureFixture) -> None:
    """In words, beside the decision that holds the numbers."""
    admitted = verdict(actions=("MODEL_SWITCHED",), reason="switched large -> small: it is full")
    observed(Sighting(1.0, ended_s=1.5, fate=Fate.COMPLETE, admitted=admitted), log_decisions=True)
    [line] = log.records
    assert line.facts["actions"] == ["MODEL_SWITCHED"]  # type: ignore[attr-defined]
    assert line.facts["reason"].startswith("switched large -> small")  # type: ignore[attr-defined]


def test_a_fault_is_counted_and_named_without_its_words(log: pytest.LogCaptureFixture) -> None:
    """The log says what and where, never what a request said."""
    metrics = Counted()
    ExchangeObserver(metrics, models=(), log_decisions=False).internal_error(ValueError("a secret"))  # type: ignore[arg-type]
    assert metrics.faults == 1
    assert "secret" not in str(vars(log.records[0]))


def test_a_line_says_how_many_attempts_there_were(log: pytest.LogCaptureFixture) -> None:
    """From the second on; one attempt is not worth a word."""
    for attempt in (1, 2):
        ended = Sighting(1.0, ended_s=1.5, fate=Fate.COMPLETE, admitted=verdict(), attempt=attempt)
        observed(ended, log_decisions=True)
    assert [line.facts.get("attempts") for line in log.records] == [None, 2]  # type: ignore[attr-defined]
