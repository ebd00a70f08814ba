"""Comparisons made by hand: a few requests whose figures can be counted on fingers."""

from __future__ import annotations

from typing import Any

from controller.evaluate.arms.data import Arm, Comparison, Offered, Service, Spans

SPANS = Spans(10.0, 10.0, 10.0)
PREMIUM = Service("premium", 1.0, 5.0, ("large",), usd_per_hour=6.0)
BATCH = Service("batch", 3.0, None, ("large", "small"), usd_per_hour=4.0)


def offered(number: int, at_s: float, **fields: Any) -> Offered:
    """Return a request; complete and in time where nothing else is said."""
    values: dict[str, Any] = {
        "request_id": f"r{number}",
        "service": "premium",
        "at_s": at_s,
        "status": "complete",
        "met": True,
        "model": "large",
        "ttft_s": 0.5,
        "e2e_s": 2.0,
        "cost_uusd": 100.0,
    }
    return Offered(**{**values, **fields})


def arm(name: str, *items: Offered, **fields: Any) -> Arm:
    """Return an arm."""
    return Arm(name, f"about {name}", items, **fields)


def comparison(*arms: Arm, **fields: Any) -> Comparison:
    """Return a live comparison over `SPANS`."""
    values: dict[str, Any] = {"title": "a run", "how": "live", "spans": SPANS, "services": (PREMIUM, BATCH)}
    return Comparison(**{**values, "arms": arms, **fields})


def missed(number: int, at_s: float, **fields: Any) -> Offered:
    """Return a request that was shed."""
    values: dict[str, Any] = {"status": "shed", "met": False, "model": "", "ttft_s": None, "e2e_s": None}
    return offered(number, at_s, **{**values, "cost_uusd": 0.0, **fields})
