"""Turns the end of an exchange into what metrics count and the log says."""

from __future__ import annotations

from collections.abc import Container

from gateway.pipeline.sighting import Sighting
from gateway.telemetry.log import LOG, name_fault
from gateway.telemetry.metrics import ExchangeReading, Metrics


class ExchangeObserver:
    """Implements `pipeline.sighting.Observer`."""

    __slots__ = ("_log_decisions", "_metrics", "_models")

    def __init__(self, metrics: Metrics, *, models: Container[str], log_decisions: bool) -> None:
        """`models` are those that somebody serves: any other is counted as `other`."""
        self._metrics = metrics
        self._models = models
        self._log_decisions = log_decisions

    def exchange_ended(self, sighting: Sighting) -> None:
        """Count the exchange; say it in one line where the configuration asks for that."""
        reading = self._reading(sighting)
        self._metrics.exchange(reading)
        if self._log_decisions and sighting.admitted is not None:
            facts = {
                "decision_id": sighting.admitted.decision.decision_id,
                "verdict": reading.verdict,
                "reason_codes": list(sighting.admitted.decision.reason_codes),
                "fate": reading.fate,
                "duration_ms": round(reading.duration_s * 1000, 3),
            }
            if sighting.attempt > 1:
                facts["attempts"] = sighting.attempt
            if sighting.admitted.actions:
                facts["actions"] = list(sighting.admitted.actions)
                facts["reason"] = sighting.admitted.reason
            LOG.info("exchange", extra={"facts": facts})

    def internal_error(self, error: BaseException) -> None:
        """Count a fault of ours and say where it was."""
        self._metrics.fault()
        LOG.error("internal error", extra={"facts": name_fault(error)})

    def _reading(self, sighting: Sighting) -> ExchangeReading:
        admitted = sighting.admitted
        model = None if admitted is None else admitted.model
        usage = sighting.usage or {}
        sent = sighting.forwarded_s
        ended = sighting.began_s if sighting.ended_s is None else sighting.ended_s
        content = sighting.first_content_s
        return ExchangeReading(
            operation="none" if admitted is None else admitted.decision.action_type,
            model=model if model is not None and model in self._models else "other",
            verdict="none" if admitted is None else admitted.decision.verdict.value,
            fate="none" if sighting.fate is None else sighting.fate.value,
            error="" if sighting.error is None else sighting.error.code,
            duration_s=ended - sighting.began_s,
            overhead_s=sighting.overhead_s,
            queued_s=sighting.queued_s,
            ttft_s=None if content is None or sent is None else content - sent,
            input_tokens=usage.get("prompt_tokens"),
            output_tokens=usage.get("completion_tokens"),
        )
