"""Functions behind the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.kernel.canon import digest
from lumyn import Lumyn, LumynConfig, NotTrustedError, gate

CALM = {
    "ticket_id": "T",
    "order_id": "O",
    "customer_id": "C",
    "payment_instrument_risk": "low",
    "chargeback_risk": 0.1,
    "previous_refund_count_90d": 0,
    "customer_age_days": 300,
}


def _config(path: Path, **more: Any) -> LumynConfig:
    return LumynConfig(store_path=path / "a.db", **more)


def _usd(arguments: Any) -> dict[str, Any]:
    return {"value": arguments["usd"], "currency": "USD"}


def _only(path: Path) -> dict[str, Any]:
    """Return the one stored decision with its events."""
    import asyncio

    from gateway.kernel.types import EVERY_TENANT
    from gateway.store.port import DecisionFilter
    from gateway.store.sqlite import open_sqlite
    from gateway.system import SystemClock, SystemRandomness

    async def find() -> str:
        async with await open_sqlite(
            path / "a.db", clock=SystemClock(), randomness=SystemRandomness()
        ) as store:
            page = await store.decisions(EVERY_TENANT, DecisionFilter(), limit=5, cursor=None)
            (entry,) = page.decisions
            return entry.entry_id

    with Lumyn(_config(path)) as lumyn:
        return lumyn.get(asyncio.run(find()))  # type: ignore[return-value]


def test_a_trusted_call_runs_and_its_outcome_is_appended(tmp_path: Path) -> None:
    """The function's result is the caller's, and the decision ends in `complete`."""

    @gate("support.refund", amount=_usd, evidence=CALM, config=_config(tmp_path))
    def pay(order: str, usd: float) -> str:
        """Pay it."""
        return f"paid {usd} for {order}"

    assert pay("O", usd=20) == "paid 20 for O"
    assert pay.__doc__ == "Pay it."
    record = _only(tmp_path)
    assert record["verdict"] == "TRUST"
    assert [event["data"] for event in record["decision_event_log"]] == [{"fate": "complete"}]


def test_what_is_not_trusted_does_not_run(tmp_path: Path) -> None:
    """A call over the limit raises with its record, and the function was not entered."""
    ran = []

    @gate("support.refund", amount=_usd, evidence=CALM, config=_config(tmp_path))
    def pay(usd: float) -> None:
        ran.append(usd)

    with pytest.raises(NotTrustedError) as caught:
        pay(500)
    assert ran == []
    assert caught.value.record["verdict"] == "ESCALATE"
    assert caught.value.code == "REFUND_OVER_ESCALATION_LIMIT"
    assert "decision_event_log" not in _only(tmp_path)


def test_an_exception_is_the_callers_and_the_record_says_failed(tmp_path: Path) -> None:
    """What the function raises comes through, and the outcome names its type and not its words."""

    @gate("support.refund", amount=_usd, evidence=CALM, config=_config(tmp_path))
    def pay(usd: float) -> None:
        raise KeyError(f"secret {usd}")

    with pytest.raises(KeyError, match="secret"):
        pay(20)
    (event,) = _only(tmp_path)["decision_event_log"]
    assert event["data"] == {"fate": "failed", "error": "KeyError"}


def test_arguments_that_are_json_are_the_evidence(tmp_path: Path) -> None:
    """Without `evidence` the JSON arguments are it, defaults included; other objects stay out."""

    @gate("demo.act", intent=lambda call: f"act on {call['ticket']}", config=_config(tmp_path))
    def act(client: object, ticket: str, *, times: int = 2) -> None:
        del client, ticket, times

    with pytest.raises(NotTrustedError) as caught:
        act(object(), "T-9")
    request = caught.value.record["request"]
    assert request["evidence"] == {"ticket": "T-9", "times": 2}
    assert request["action"]["intent"] == "act on T-9"
    assert request["context"]["digest"] == digest({"ticket": "T-9", "times": 2})
    assert request["subject"] == {"type": "service", "id": f"{__name__}.{act.__qualname__}"}


def test_advisory_lets_it_pass_and_a_failed_store_does_not(tmp_path: Path) -> None:
    """Advisory mode runs what it would not trust; where nothing can be recorded nothing runs."""
    ran = []

    def act() -> None:
        ran.append(1)

    gate("demo.act", config=_config(tmp_path, mode="advisory"))(act)()
    assert ran == [1]
    broken = LumynConfig(store_path=tmp_path / "no/such/a.db", mode="advisory")
    with pytest.raises(NotTrustedError) as caught:
        gate("demo.act", config=broken)(act)()
    assert caught.value.code == "STORAGE_UNAVAILABLE"
    assert ran == [1]


async def test_coroutine_functions_are_awaited(tmp_path: Path) -> None:
    """A gated coroutine function stays one, and its outcome is appended too."""

    @gate("support.refund", amount=_usd, evidence=CALM, config=_config(tmp_path))
    async def pay(usd: float) -> float:
        return usd

    assert await pay(20) == 20
    with pytest.raises(NotTrustedError):
        await pay(500)
