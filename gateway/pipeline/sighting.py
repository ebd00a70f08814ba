"""What an exchange came to: the facts of its outcome event, and the headers that tell the client of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.kernel.errors import GatewayError, RefusedError
from gateway.kernel.types import Fate, JSONObject, Verdict
from gateway.pipeline.ports import Admitted
from gateway.pipeline.relayed import Answer, Watch
from gateway.wire.api import MESSAGES


@dataclass(slots=True)
class Sighting:
    """Filled in as the exchange goes on. Times are seconds of the monotonic clock, None until they happen."""

    began_s: float
    decided_s: float | None = None
    queued_s: float = 0.0
    """How long a governor kept it waiting: its own choice, and no overhead of ours."""
    forwarded_s: float | None = None
    head_s: float | None = None
    first_content_s: float | None = None
    ended_s: float | None = None
    status: int | None = None
    bytes_out: int = 0
    usage: JSONObject | None = None
    fate: Fate | None = None
    error: GatewayError | None = None
    admitted: Admitted | None = None
    attempt: int = 1
    attempts: list[JSONObject] | None = None
    """Each attempt, where there was more than one; filled in for the outcome."""

    @property
    def overhead_s(self) -> float | None:
        """From its arrival to its forwarding, the queue left out; None where it was not forwarded."""
        return None if self.forwarded_s is None else self.forwarded_s - self.began_s - self.queued_s

    def goes_on(self, admitted: Admitted) -> Admitted:
        """Begin a further attempt: what the one before came to is not what the exchange comes to."""
        self.admitted = admitted
        self.attempt += 1
        self.error = self.status = self.head_s = None
        return admitted


class Observer(Protocol):
    """Who is told how an exchange ended: metrics, log, and later the controller."""

    def exchange_ended(self, sighting: Sighting) -> None:
        """Take note; called once an exchange, also for those that were never decided."""
        ...

    def internal_error(self, error: BaseException) -> None:
        """Take note of a fault of ours."""
        ...


def outcome_data(sighting: Sighting, fate: Fate, *, now_s: float, watch: Watch | None = None) -> JSONObject:
    """Return the data of an outcome event: the fate and what is known, durations in microseconds."""
    sent = sighting.forwarded_s
    admitted = sighting.admitted
    facts: JSONObject = {
        "answer": None if watch is None else watch.findings,
        "attempts": sighting.attempts,
        "backend": admitted.backend.name if admitted is not None and sent is not None else None,
        "bytes_out": sighting.bytes_out or None,
        "duration_us": micros(sighting.began_s, now_s),
        "error": None if sighting.error is None else sighting.error.code,
        "fate": fate.value,
        "first_byte_us": micros(sent, sighting.head_s),
        "model": admitted.model if admitted is not None and sent is not None else None,
        "queue_us": round(sighting.queued_s * 1_000_000) or None,
        "status": sighting.status,
        "ttft_us": micros(sent, sighting.first_content_s),
        "usage": sighting.usage,
    }
    return {name: value for name, value in facts.items() if value is not None}


def own_headers(sighting: Sighting, *, request_id: str) -> list[tuple[str, str]]:
    """Return the few headers of ours that every answer carries."""
    headers = [("x-request-id", request_id)]
    admitted = sighting.admitted
    if admitted is None:
        return headers
    if sighting.head_s is None and admitted.api is MESSAGES:
        # Anthropic's clients read it under this name; where a backend answers, it says its own.
        headers.append(("request-id", request_id))
    headers.append(("x-lumyn-decision-id", admitted.decision.decision_id))
    headers.append(("x-lumyn-verdict", admitted.decision.verdict.value))
    if admitted.model:
        headers.append(("x-lumyn-model", _printable(admitted.model)))
    if admitted.actions:
        headers.append(("x-lumyn-actions", ",".join(admitted.actions)))
    if sighting.attempt > 1:
        headers.append(("x-lumyn-attempts", str(sighting.attempt)))
    if sighting.queued_s:
        headers.append(("x-lumyn-queue-ms", f"{sighting.queued_s * 1000:.3f}"))
    if (overhead_s := sighting.overhead_s) is not None:
        headers.append(("x-lumyn-overhead-ms", f"{overhead_s * 1000:.3f}"))
    return headers


_REFUSALS = {
    Verdict.ABSTAIN: "the policy does not allow this request",
    Verdict.ESCALATE: "a person must approve this request",
    Verdict.QUERY: "the policy needs more evidence",
    Verdict.TRUST: "the policy does not allow this request",
}


def refusal(admitted: Admitted) -> RefusedError:
    """Return the error that tells a client of a verdict: which, why, and where to look."""
    decision = admitted.decision
    asked = ", ".join(query["field"] for query in decision.record.get("queries", ()))
    text = _REFUSALS[decision.verdict] + (f": {asked}" if asked else "")
    return RefusedError(
        f"{text} ({', '.join(decision.reason_codes)})",
        code=decision.reason_codes[0],
        hint=f"decision {decision.decision_id} says why",
    )


def micros(start_s: float | None, end_s: float | None) -> int | None:
    """Return a duration in whole microseconds, or None while an end is not known."""
    return None if start_s is None or end_s is None else round((end_s - start_s) * 1_000_000)


def content_length(answer: Answer) -> int | None:
    """Return the length that the backend declared, or None where it sends chunks."""
    if answer.status in {204, 304}:
        return 0
    for name, value in answer.headers:
        if len(name) == len(b"content-length") and name.lower() == b"content-length":
            return int(value)
    return None


def watch_for(admitted: Admitted, answer: Answer, *, streamed: bool) -> Watch | None:
    """Return what looks at an answer: as the request's own protocol has it, else its API's for streams."""
    if admitted.opaque:
        return None
    if admitted.watch is not None:
        return admitted.watch(answer)
    make = admitted.api.watch if streamed else None
    return None if make is None else make()


def is_event_stream(answer: Answer) -> bool:
    """Tell whether the answer is a stream of server-sent events."""
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in answer.headers
    )


def _printable(text: str) -> str:
    """Model names are the client's words: in a header only visible ASCII may stand."""
    return "".join(char if " " < char < "\x7f" else "?" for char in text[:128])
