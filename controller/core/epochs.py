"""Open and close epochs: which changes are worth a hypothesis, and what their outcome undoes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.core.deployment import Deployment
from controller.signals import SlidingSum
from controller.verify import Epoch, EpochBook

WINDOW_S: Final = 10.0
BANDS: Final = (0.02, 0.1, 0.3, 1.0)
"""Edges of the price, in typical values per typical work: crossing one is a change worth proving."""
LIMIT_STEP: Final = 0.2
"""A limit that moved by a fifth since its last epoch is another limit."""
HORIZON_S: Final = 20.0


class Epochs:
    """The epochs of all models, and the misses they are judged by."""

    __slots__ = ("_bad", "_band", "_limit", "_total", "book")

    def __init__(self) -> None:
        self.book = EpochBook()
        self._bad: dict[str, SlidingSum] = {}
        self._total: dict[str, SlidingSum] = {}
        self._band: dict[str, int] = {}
        self._limit: dict[str, int] = {}

    def outcome(self, model: str, *, met: bool, now_s: float) -> None:
        """Count a request whose first choice was `model`, wherever it was served."""
        total = self._total.get(model)
        if total is None:
            total = self._total[model] = SlidingSum(WINDOW_S)
            self._bad[model] = SlidingSum(WINDOW_S)
        total.add(1, now_s)
        if not met:
            self._bad[model].add(1, now_s)

    def tick(
        self, deployments: Mapping[str, Deployment], now_s: float
    ) -> tuple[tuple[Epoch, ...], tuple[Epoch, ...]]:
        """Return the epochs opened and closed now; a rolled-back price or limit is restored at once."""
        closed = tuple(self._close(epoch, deployments, now_s) for epoch in self.book.due(now_s))
        opened: list[Epoch] = []
        for name, deployment in deployments.items():
            found = (self._price_epoch(name, deployment, now_s), self._limit_epoch(name, deployment, now_s))
            opened += [epoch for epoch in found if epoch is not None]
        return tuple(opened), closed

    def _price_epoch(self, name: str, deployment: Deployment, now_s: float) -> Epoch | None:
        load = deployment.load(now_s)
        unit = load.value_mean / max(load.work_mean_s, 1e-6)
        band = sum(1 for edge in BANDS if deployment.price.value > edge * unit)
        before = self._band.get(name, 0)
        self._band[name] = band
        if band == before:
            return None
        kind = "price_up" if band > before else "price_down"
        hypothesis = (
            f"with a price on {name} fewer of the requests that prefer it miss their targets"
            if kind == "price_up"
            else f"giving {name} back to those who prefer it does not raise their misses"
        )
        edge = BANDS[before - 1] * unit if before else 0.0
        return self._start(name, kind, hypothesis, edge, deployment, now_s)

    def _limit_epoch(self, name: str, deployment: Deployment, now_s: float) -> Epoch | None:
        limit = deployment.limit.value
        before = self._limit.setdefault(name, limit)
        if abs(limit - before) <= LIMIT_STEP * before:
            return None
        self._limit[name] = limit
        if limit > before:
            return None
        hypothesis = f"with at most {limit} in flight on {name} instead of {before} fewer miss their pace"
        return self._start(name, "limit_down", hypothesis, float(before), deployment, now_s)

    def _start(
        self, name: str, kind: str, hypothesis: str, before: float, deployment: Deployment, now_s: float
    ) -> Epoch | None:
        bad, total = self._misses(name, now_s)
        return self.book.start(
            model=name,
            kind=kind,
            now_s=now_s,
            horizon_s=HORIZON_S,
            hypothesis=hypothesis,
            before=before,
            miss=bad / total if total else 0.0,
            samples=total,
            load=deployment.demand(now_s),
        )

    def _close(self, epoch: Epoch, deployments: Mapping[str, Deployment], now_s: float) -> Epoch:
        deployment = deployments[epoch.model]
        bad, total = self._misses(epoch.model, now_s)
        demand = deployment.demand(now_s)
        judged = self.book.close(
            replace(
                epoch,
                miss_after=bad / total if total else 0.0,
                samples_after=total,
                load_after=demand,
                demand=demand,
            ),
            now_s,
        )
        if judged.rolled_back and epoch.kind == "price_up":
            deployment.price.reset(epoch.before)
        elif judged.rolled_back and epoch.kind == "limit_down":
            deployment.limit.restore(int(epoch.before))
            self._limit[epoch.model] = int(epoch.before)
        return judged

    def _misses(self, name: str, now_s: float) -> tuple[int, int]:
        if name not in self._total:
            return 0, 0
        return self._bad[name].total(now_s), self._total[name].total(now_s)
