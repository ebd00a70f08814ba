"""What an exchange came to, in words: the outcome's facts, our headers, and the refusal."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import UpstreamBrokenError
from gateway.kernel.types import Fate, Verdict
from gateway.pipeline.sighting import (
    Sighting,
    content_length,
    is_event_stream,
    micros,
    outcome_data,
    own_headers,
    refusal,
)
from tests.kit.playbook import Head, verdict


def test_an_outcome_says_only_what_is_known() -> None:
    """Of an exchange that was never forwarded there is a fate and a duration, and no backend."""
    sighting = Sighting(1.0, admitted=verdict())
    assert outcome_data(sighting, Fate.REFUSED, now_s=1.5) == {"fate": "refused", "duration_us": 500_000}


def test_a_whole_outcome() -> None:
    """Every fact has its place; durations are counted from where they begin."""
    sighting = Sighting(
        1.0,
        forwarded_s=1.25,
        head_s=1.5,
        first_content_s=1.75,
        status=200,
        bytes_out=7,
        usage={"prompt_tokens": 1},
        error=UpstreamBrokenError("cut"),
        admitted=verdict(),
    )
    assert outcome_data(sighting, Fate.CUT, now_s=2.0) == {
        "fate": "cut",
        "backend": "pool-a",
        "model": "m",
        "status": 200,
        "bytes_out": 7,
        "usage": {"prompt_tokens": 1},
        "error": "UPSTREAM_BROKEN",
        "duration_us": 1_000_000,
        "first_byte_us": 250_000,
        "ttft_us": 500_000,
    }


def test_our_headers() -> None:
    """Before a decision only the request id; after it what was decided; after forwarding what it cost."""
    assert own_headers(Sighting(0.0), request_id="r") == [("x-request-id", "r")]
    admitted = verdict()
    named = dict(own_headers(Sighting(0.0, admitted=admitted), request_id="r"))
    assert named == {
        "x-request-id": "r",
        "x-lumyn-decision-id": admitted.decision.decision_id,
        "x-lumyn-verdict": "TRUST",
        "x-lumyn-model": "m",
    }
    named = dict(own_headers(Sighting(0.0, forwarded_s=0.0012345, admitted=admitted), request_id="r"))
    assert named["x-lumyn-overhead-ms"] == "1.234"
    assert "x-lumyn-queue-ms" not in named


def test_a_wait_for_its_turn_is_no_overhead() -> None:
    """The queue is the controller's choice: it has a header and a fact of its own."""
    waited = Sighting(10.0, queued_s=1.5, forwarded_s=11.502, admitted=verdict())
    named = dict(own_headers(waited, request_id="r"))
    assert (named["x-lumyn-queue-ms"], named["x-lumyn-overhead-ms"]) == ("1500.000", "2.000")
    assert waited.overhead_s == pytest.approx(0.002)
    assert outcome_data(waited, Fate.COMPLETE, now_s=12.0)["queue_us"] == 1_500_000
    assert Sighting(10.0, queued_s=1.5).overhead_s is None


@pytest.mark.parametrize(
    ("model", "shown"), [("a\r\nb: c", "a??b:?c"), ("modèle", "mod?le"), ("m" * 200, "m" * 128)]
)
def test_a_model_name_cannot_break_a_header(model: str, shown: str) -> None:
    """A model name is the client's word: only visible ASCII of bounded length stands in a header."""
    named = dict(own_headers(Sighting(0.0, admitted=verdict(model=model)), request_id="r"))
    assert named["x-lumyn-model"] == shown


def test_no_model_no_header() -> None:
    """A request that names no model has no such header."""
    assert "x-lumyn-model" not in dict(
        own_headers(Sighting(0.0, admitted=verdict(model=None)), request_id="r")
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Verdict.ABSTAIN, "does not allow"),
        (Verdict.ESCALATE, "a person must approve"),
        (Verdict.QUERY, "needs more evidence: evidence.order_id"),
    ],
)
def test_a_refusal_says_which_and_why(kind: Verdict, words: str) -> None:
    """The verdict in words, the reason codes, and the decision to look at."""
    admitted = verdict(kind)
    error = refusal(admitted)
    assert words in error.message
    assert "LLM_TOKENS_OVER_LIMIT" in error.message
    assert error.code == "LLM_TOKENS_OVER_LIMIT"
    assert admitted.decision.decision_id in (error.hint or "")


def test_durations() -> None:
    """Whole microseconds, and None while an end is missing."""
    assert micros(1.0, 1.0000015) in {1, 2}
    assert micros(None, 1.0) is None
    assert micros(1.0, None) is None


def test_lengths() -> None:
    """The declared length whatever its spelling, none where there is none, zero where there is no body."""
    assert content_length(Head(headers=((b"CONTENT-length", b"12"),))) == 12
    assert content_length(Head(headers=((b"content-type", b"x"), (b"transfer-encodi", b"1")))) is None
    assert content_length(Head(status=204, headers=((b"content-length", b"12"),))) == 0


def test_event_streams() -> None:
    """Told by the media type, whatever its case and parameters."""
    assert is_event_stream(Head(headers=((b"Content-Type", b"Text/Event-Stream; charset=utf-8"),)))
    assert not is_event_stream(Head(headers=((b"content-type", b"application/json"),)))
    assert not is_event_stream(Head(headers=()))


def test_further_attempts_are_told() -> None:
    """The client is told how many there were, from the second on; what the first came to is forgotten."""
    sighting = Sighting(0.0, admitted=verdict(), status=503, head_s=1.0, error=UpstreamBrokenError("x"))
    other = verdict(model="other")
    assert sighting.goes_on(other) is other
    assert (sighting.admitted, sighting.attempt) == (other, 2)
    assert (sighting.status, sighting.head_s, sighting.error) == (None, None, None)
    assert dict(own_headers(sighting, request_id="r"))["x-lumyn-attempts"] == "2"
    sighting.attempts = [{"n": 1}, {"n": 2}]
    assert outcome_data(sighting, Fate.COMPLETE, now_s=2.0)["attempts"] == [{"n": 1}, {"n": 2}]
