"""Replay: make a stored decision again from what it was made from, and compare every bit. Pure.

Plans are made again from request and snapshot; a tick's prices, limits, weights and mode from its step. What
was measured is a fact of the record; what was decided from it is derived anew by the code that decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from controller.core.account import account_after
from controller.core.steps import Crossing, ModelStep, TickStep, batch_nominal, crossings
from controller.guard import Guard, ModeChange
from controller.plan import (
    Mode,
    ModelState,
    Plan,
    Request,
    Snapshot,
    TickState,
    digest,
    make_plan,
    plain,
    request_from_plain,
    snapshot_from_plain,
)
from controller.prices import LIMIT_MIN, limit_after, price_after


@dataclass(frozen=True, slots=True)
class Replayed:
    """The plan made anew, and the names of the fields in which it differs from the stored one."""

    plan: Plan
    differs: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Tell whether every bit is the same."""
        return not self.differs


def replay(request: Any, snapshot: Any, stored_plan: Any) -> Replayed:
    """Re-derive a plan from plain data (as `plain` made it) and compare it with the stored one."""
    return replay_plan(request_from_plain(request), snapshot_from_plain(snapshot), stored_plan)


def replay_plan(request: Request, snapshot: Snapshot, stored_plan: Any) -> Replayed:
    """Re-derive a plan and compare it with the stored one, which is plain data."""
    plan = make_plan(request, snapshot)
    fresh = plain(plan)
    differs = tuple(name for name in fresh if _spelt(fresh[name]) != _spelt(_known(stored_plan, name)))
    return Replayed(plan, differs)


@dataclass(frozen=True, slots=True)
class TickReplayed:
    """In which of its decisions a tick differs from what its step leads to."""

    differs: tuple[str, ...]
    """Such as `llama-70b.price` or `mode`."""
    crossings: tuple[tuple[str, Crossing], ...]
    """By model: the changes of weight that an epoch should have been opened for."""


def replay_tick(state: TickState, step: TickStep, mode_change: ModeChange | None) -> TickReplayed:
    """Re-derive a tick's decisions and compare them with its state."""
    guard = Guard(step.guard)
    change = guard.tick(step.vitals, state.at_s)
    mode = Mode.BYPASS if step.operator_mode is Mode.BYPASS else Mode(guard.mode.value)
    differs = [] if change == mode_change else ["mode_change"]
    differs += [] if mode is state.mode else ["mode"]
    calmed = change is not None and change.after is not change.before
    found: list[tuple[str, Crossing]] = []
    if [model.name for model in state.models] != [part.model for part in step.models]:
        differs.append("models")
    else:
        for index, (model, part) in enumerate(zip(state.models, step.models, strict=True)):
            names, crossed = _replay_model(model, part, step, index, calmed=calmed)
            differs += [f"{model.name}.{name}" for name in names]
            found += [(model.name, crossing) for crossing in crossed]
    differs += [
        f"intent {account.intent}"
        for account in step.intents
        if account_after(account) != state.intent(account.intent)
    ]
    return TickReplayed(tuple(differs), tuple(found))


def _replay_model(
    state: ModelState, part: ModelStep, step: TickStep, index: int, *, calmed: bool
) -> tuple[list[str], tuple[Crossing, ...]]:
    price, error = (0.0, 0.0) if part.price is None else price_after(part.price)
    limit = state.limit if part.limit is None else int(limit_after(part.limit))
    for back in step.rolled_back:
        if back.model == state.name and back.kind == "price_up":
            price = max(0.0, back.to)
        elif back.model == state.name and part.limit is not None:
            limit = _restored(int(back.to), part.limit.ceiling)
    crossed: tuple[Crossing, ...] = ()
    if part.price is not None:
        mark = step.marks[index]
        _, crossed = crossings(mark, price, part.price.load.unit, limit)
    if part.relief is not None and part.relief.due and part.limit is not None:
        limit = _restored(part.relief.opens_to, part.limit.ceiling)
    if calmed:
        price = 0.0
    derived: dict[str, Any] = {"price": price, "limit": limit, "load_error": error}
    if part.limit is not None:
        derived["tpot_s"] = part.limit.tpot_s
        derived["batch_nominal"] = batch_nominal(
            state.coefficients, limit, part.limit.ceiling, state.replicas, part.limit.tpot_target_s
        )
    return [name for name, value in derived.items() if getattr(state, name) != value], crossed


def _restored(limit: int, ceiling: int) -> int:
    return min(max(limit, LIMIT_MIN), ceiling)


_MISSING: Final = "missing"


def _spelt(value: Any) -> str:
    return digest(_integral(value))


def _integral(value: Any) -> Any:
    # a record is canonical JSON (RFC 8785), which prints 1.0 as 1
    if isinstance(value, dict):
        return {name: _integral(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _known(stored: Any, name: str) -> Any:
    # a field that is missing in the record differs from every value
    return stored.get(name, {_MISSING: name})
