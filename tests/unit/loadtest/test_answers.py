"""Answers become rows: complete, turned away and when to come again, decided."""

from __future__ import annotations

import pytest

from loadtest import answers
from loadtest.rows import Row
from loadtest.sse import Stream

ROW = Row("ask", "r1", "premium", 10.0, 0.0, "")


def read(ended: bool = True, error: str = "") -> Stream:
    """A stream that has been read."""
    stream = Stream()
    stream.first_s, stream.ended, stream.error = 12.5, ended, error
    stream.input_tokens, stream.output_tokens, stream.chunks = 7, 3, 5
    return stream


def test_latency_counts_from_the_due_time() -> None:
    """However late a request was sent, its first token is as late as it was for who waited."""
    row = answers.streamed(answers.seen(ROW, read(), 12.0), read(), 15.0, 12.0)
    assert (row.status, row.ttft_s, row.e2e_s, row.tokens_in, row.tokens_out, row.chunks) == (
        "complete", 0.5, 3.0, 7, 3, 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stream", "why"), [(read(ended=False), "the stream has no end mark"), (read(error="503"), "503")]
)
def test_an_answer_that_is_not_whole_failed(stream: Stream, why: str) -> None:
    """A stream without its end mark, or with an error in it, is no answer."""
    row = answers.streamed(ROW, stream, 15.0, 12.0)
    assert (row.status, row.error, row.e2e_s) == ("failed", why, None)


def test_headers_say_what_the_gateway_did() -> None:
    """Model, actions, verdict and decision; a model is served by an answer alone."""
    headers = {"x-lumyn-model": "m", "x-lumyn-actions": "SHED,QUEUED", "x-lumyn-decision-id": "D"}
    row = answers.headed(ROW, 200, headers)
    assert (row.model, row.actions, row.decision_id, row.http_status) == ("m", ("SHED", "QUEUED"), "D", 200)
    assert answers.headed(ROW, 429, headers).model == ""
    assert answers.headed(ROW, 200, {}).actions == ()


@pytest.mark.parametrize(
    ("status", "code", "found", "wait_s"),
    [
        (429, "SHED", "shed", 4.0),
        (503, "EXPIRED", "expired", 4.0),
        (429, "rate_limit", "rejected", 4.0),
        (500, "INTERNAL", "failed", None),
        (403, "SOME", "failed", None),
    ],
)
def test_refusals_have_their_words(status: int, code: str, found: str, wait_s: float | None) -> None:
    """Shed and expired are the gateway's; other 429 and 503 are a backend's; the rest is not worth a try."""
    body = b'{"error":{"code":"%s"}}' % code.encode()
    row, wait = answers.turned_away(answers.headed(ROW, status, {}), {"retry-after": "4"}, body)
    assert (row.status, row.error, wait) == (found, code, wait_s)


def test_retry_after_is_honoured() -> None:
    """A client is never back before the server asked for, and backs off from its own failures."""
    assert answers.pause_s(10.0, 1, 0.0) == 10.0
    assert answers.pause_s(0.0, 3, 0.5) == 4.0
    assert answers.retry_after_s({"retry-after": "7"}) == 7.0
    assert answers.retry_after_s({"retry-after": "9999"}) == answers.RETRY_AFTER_MAX_S
    assert answers.retry_after_s({"retry-after": "Fri, 21 Nov"}) == answers.retry_after_s({}) == 0.0


def test_a_tool_action_is_decided_or_failed() -> None:
    """The verdict and the record's id; an answer without them is none."""
    row = answers.decided(ROW, 200, b'{"verdict":"TRUST","decision_id":"D"}', 12.0, 11.5)
    assert (row.status, row.verdict, row.decision_id, row.e2e_s) == ("complete", "TRUST", "D", 0.5)
    assert answers.decided(ROW, 422, b'{"reason_code":"BAD"}', 12.0, 11.5).error == "BAD"
    assert answers.decided(ROW, 200, b"no json", 12.0, 11.5).status == "failed"
