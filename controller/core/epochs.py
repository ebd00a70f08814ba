"""Open and close epochs: which changes are worth a hypothesis, and what their outcome undoes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.core.deployment import Deployment
from controller.core.events import ModelAction
from controller.core.steps import Crossing, Mark, RollBack, crossings
from controller.plan import ActionKind
from controller.signals import SlidingSum
from controller.verify import Epoch, EpochBook

WINDOW_S: Final = 10.0
HORIZON_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class EpochTick:
    """What a tick opened, closed, rolled back and announced."""

    opened: tuple[Epoch, ...]
    closed: tuple[Epoch, ...]
    rolled_back: tuple[RollBack, ...]
    marks: tuple[Mark, ...]
    """As they were before the tick."""
    actions: tuple[ModelAction, ...]


class Epochs:
    """The epochs of all models, and the misses they are judged by."""

    __slots__ = ("_bad", "_marks", "_total", "book")

    def __init__(self) -> None:
        self.book = EpochBook()
        self._bad: dict[str, SlidingSum] = {}
        self._total: dict[str, SlidingSum] = {}
        self._marks: dict[str, Mark] = {}

    def outcome(self, model: str, *, met: bool, now_s: float) -> None:
        """Count a request whose first choice was `model`, wherever it was served."""
        total = self._total.get(model)
        if total is None:
            total = self._total[model] = SlidingSum(WINDOW_S)
            self._bad[model] = SlidingSum(WINDOW_S)
        total.add(1, now_s)
        if not met:
            self._bad[model].add(1, now_s)

    def tick(self, deployments: Mapping[str, Deployment], now_s: float) -> EpochTick:
        """Open and close what is due; a rolled-back price or limit is restored at once."""
        closed = tuple(self._close(epoch, deployments, now_s) for epoch in self.book.due(now_s))
        rolled_back = tuple(
            RollBack(epoch.model, epoch.kind, epoch.before) for epoch in closed if epoch.rolled_back
        )
        marks: list[Mark] = []
        opened: list[Epoch] = []
        actions: list[ModelAction] = []
        for name, deployment in deployments.items():
            limit, price = deployment.limit.value, deployment.price.value
            mark = self._marks.get(name) or Mark(name, 0, limit)
            marks.append(mark)
            self._marks[name], found = crossings(mark, price, deployment.load(now_s).unit, limit)
            for crossing in found:
                epoch = self._start(name, crossing, deployment, now_s)
                opened += [] if epoch is None else [epoch]
                if crossing.kind == "limit_down":
                    actions.append(_reduced(deployment, mark.limit, now_s))
        return EpochTick(tuple(opened), closed, rolled_back, tuple(marks), tuple(actions))

    def _start(self, name: str, crossing: Crossing, deployment: Deployment, now_s: float) -> Epoch | None:
        bad, total = self._misses(name, now_s)
        return self.book.start(
            model=name,
            kind=crossing.kind,
            now_s=now_s,
            horizon_s=HORIZON_S,
            hypothesis=crossing.hypothesis,
            before=crossing.before,
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
            self._marks[epoch.model] = replace(self._marks[epoch.model], limit=int(epoch.before))
        return judged

    def _misses(self, name: str, now_s: float) -> tuple[int, int]:
        if name not in self._total:
            return 0, 0
        return self._bad[name].total(now_s), self._total[name].total(now_s)


def _reduced(deployment: Deployment, before: int, now_s: float) -> ModelAction:
    name, limit = deployment.model.name, deployment.limit.value
    pace_s, target_s = deployment.tpot_s(now_s), deployment.tpot_target_s(now_s)
    why = "fewer requests use it"
    if pace_s is not None and target_s is not None and pace_s > target_s:
        why = f"{1000 * pace_s:.0f} ms per token where {1000 * target_s:.0f} ms are declared"
    return ModelAction(
        ActionKind.BATCHING_REDUCED,
        name,
        f"reduced batching on {name}: at most {limit} in flight instead of {before}, {why}",
    )
