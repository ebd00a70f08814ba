"""Gather the guard's vital signs from all models and intents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.core.account import Account
from controller.core.deployment import Deployment
from controller.core.epochs import Epochs
from controller.core.state import Tally
from controller.guard import SELF_QUEUE_S, Vitals

HARMED_WINDOW_S: Final = 300.0
MISSES_COUNT_MIN: Final = 20


def vitals_of(
    deployments: Mapping[str, Deployment],
    accounts: Mapping[str, Account],
    epochs: Epochs,
    tally: Tally,
    now_s: float,
) -> Vitals:
    """Return the worst of each sign over all models."""
    ratios = [ratio for d in deployments.values() if (ratio := d.check.median_ratio()) is not None]
    coverages = [share for d in deployments.values() if (share := d.check.coverage) is not None]
    misses = [account.miss_share(now_s) for account in accounts.values()]
    bad, total = sum(bad for bad, _ in misses), sum(total for _, total in misses)
    # every model is looked at: the look itself opens a limit that is too low
    inflicted = [d.relieve(now_s, SELF_QUEUE_S) for d in deployments.values()]
    return Vitals(
        median_ratio=max(ratios, key=lambda ratio: abs(ratio - 1.0), default=None),
        coverage=min(coverages, default=None),
        signals_age_s=min((d.signal_age_s(now_s) for d in deployments.values() if d.in_flight), default=0.0),
        little_broken=any(d.in_flight < 0 or d.prefill_tokens < 0 for d in deployments.values()),
        self_inflicted=any(inflicted),
        harmed_epochs=epochs.book.harmed_within(HARMED_WINDOW_S, now_s),
        overloaded=any(d.demand(now_s) > 1.0 for d in deployments.values()),
        exception_share=tally.exception_share,
        decision_p99_s=tally.p99_s,
        miss_share=bad / total if total >= MISSES_COUNT_MIN else None,
    )
