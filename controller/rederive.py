"""Makes every control decision of a ledger again: plans, ticks, epochs, changes of mode and of intents. Pure.

Feed the control records in the order of their commit, and the control parts of decisions in any order. A plan
whose tick has not come yet waits for it. What differs by a bit is named; what cannot be read is a fault, and
never a crash.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from controller.catalogue import Catalogue, Model
from controller.core import ControllerConfig, Tuning
from controller.core.replay import TickReplayed, replay_plan, replay_tick
from controller.core.steps import TickStep
from controller.guard import ModeChange
from controller.intent import Intent, IntentSet
from controller.plan import (
    TickState,
    digest,
    from_plain,
    request_from_plain,
    snapshot_from_plain,
    tick_from_plain,
)
from controller.stored import seen, stored_plan
from controller.verify import EPOCHS_OPEN_MAX, Epoch, EpochBook

FAULTS_MAX: Final = 100
"""Faults that are spelt out; beyond them the count says enough."""
TICKS_HELD: Final = 8192
"""Ticks whose states are held for the plans that name them: an hour under pressure, some 40 MB."""
WAITING_MAX: Final = 8192
"""Plans that wait for their tick: it is written when they leave the queue, and a deferred one waits long."""
_UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)

Tell = Callable[[str], None]


class Rederive:
    """The control decisions of a ledger, made again."""

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        """Decisions made again, by part: plan, shadow plan, tick, epoch, mode, intents."""
        self.untabled = 0
        """Plans without pressure: stored without what they were made from, by design."""
        self.faults: list[str] = []
        self.fault_count = 0
        self._given_up = 0
        self._ticks: OrderedDict[str, TickState] = OrderedDict()
        self._waiting: OrderedDict[tuple[str, str, str], Mapping[str, Any]] = OrderedDict()
        self._chains: dict[str, _Chain] = {}

    @property
    def total(self) -> int:
        """Return how many decisions were made again."""
        return sum(self.checked.values())

    @property
    def unheld(self) -> int:
        """Return how many plans name a tick that was not handed in (yet)."""
        return self._given_up + len(self._waiting)

    def record(self, writer: str, kind: str, name: str, body: Mapping[str, Any]) -> None:
        """Make one control record again; `name` is what faults call it."""
        chain = self._chains.get(writer)
        if chain is None:
            chain = self._chains[writer] = _Chain(self.checked, self._fault)
        if kind == "tick":
            self.hold(name, body)
        try:
            chain.record(kind, name, body)
        except _UNREADABLE as error:
            self._fault(f"{kind} {name} cannot be read: {type(error).__name__}: {error}")

    def hold(self, name: str, body: Mapping[str, Any]) -> None:
        """Take the state of a tick's record for the plans that name it, and nothing else of it."""
        try:
            state = tick_from_plain(body["state"])
            if digest(state) != body["digest"]:
                self._fault(f"tick {name}: its state is not the one that its digest names")
            self._ticks[body["digest"]] = state
        except _UNREADABLE as error:
            self._fault(f"tick {name} cannot be read: {type(error).__name__}: {error}")
            return
        if len(self._ticks) > TICKS_HELD:
            self._ticks.popitem(last=False)
        for key in [key for key in self._waiting if key[0] == body["digest"]]:
            self._plan(key[1], key[2], self._waiting.pop(key))

    def plan(self, name: str, control: Mapping[str, Any]) -> None:
        """Make the plan of one decision's control part again, and that of its shadow."""
        shadow = control.get("shadow")
        for part, stored in (("plan", control), ("shadow plan", shadow)):
            if stored is not None:
                self._plan(part, name, stored)

    def _plan(self, part: str, name: str, control: Mapping[str, Any]) -> None:
        if "options" not in control:
            self.untabled += part == "plan"
            return
        try:
            tick_digest = control["snapshot"]["tick_digest"]
            tick = self._ticks.get(tick_digest)
            if tick is not None:
                self._compare(part, name, control, tick)
                return
        except _UNREADABLE as error:
            self._fault(f"{part} {name} cannot be read: {type(error).__name__}: {error}")
            return
        self._waiting[tick_digest, part, name] = control
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)
            self._given_up += 1

    def _compare(self, part: str, name: str, control: Mapping[str, Any], tick: TickState) -> None:
        stored = control["snapshot"]
        snapshot = snapshot_from_plain(stored, tick)
        self.checked[part] += 1
        named = control.get("snapshot_digest")
        if named is not None and digest(seen(snapshot, stored["tick_digest"])) != named:
            self._fault(f"{part} {name}: its snapshot is not the one that its digest names")
        replayed = replay_plan(request_from_plain(control["request"]), snapshot, stored_plan(control))
        if not replayed.same:
            self._fault(f"{part} {name} differs in {', '.join(replayed.differs)}")

    def _fault(self, text: str) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(text)


class _Chain:
    """What the control records of one writer build upon each other."""

    def __init__(self, checked: Counter[str], tell: Tell) -> None:
        self._checked = checked
        self._fault = tell
        self._last: TickState | None = None
        self._due: list[tuple[str, str]] = []
        self._book: EpochBook | None = None
        self._open: dict[int, Epoch] = {}
        self._mode_change: ModeChange | None = None
        self._config_digest: str | None = None

    def record(self, kind: str, name: str, body: Mapping[str, Any]) -> None:
        """Make one record again; a kind of a later version is left alone."""
        if kind == "tick":
            if body.get("step") is not None:
                self._tick(name, body)
        elif kind == "epoch":
            self._epoch(name, from_plain(Epoch, body))
        elif kind == "mode":
            self._mode(name, from_plain(ModeChange, body))
        elif kind == "intents":
            self._intents(name, body)

    # --- ticks -----------------------------------------------------------------------------------

    def _tick(self, name: str, body: Mapping[str, Any]) -> None:
        self._checked["tick"] += 1
        self._end_crossings()
        state, step = tick_from_plain(body["state"]), from_plain(TickStep, body["step"])
        change = body["mode_change"]
        self._mode_change = None if change is None else from_plain(ModeChange, change)
        replayed = replay_tick(state, step, self._mode_change)
        if replayed.differs:
            self._fault(f"tick {name} differs in {', '.join(replayed.differs)}")
        if self._config_digest not in {None, state.config_digest}:
            self._fault(f"tick {name} was made under a configuration that is not the recorded one")
        self._go_on(name, state, step)
        self._expect(name, replayed)
        self._last = state

    def _go_on(self, name: str, state: TickState, step: TickStep) -> None:
        """Hold what a tick began with against what the tick before it ended with, where both are there."""
        last = self._last
        if last is None or last.number + 1 != state.number or last.config_digest != state.config_digest:
            return
        for before, part in zip(last.models, step.models, strict=True):
            if part.price is not None and part.price.before != before.price:
                self._fault(f"tick {name}: {part.model}.price does not go on from the tick before")
            if part.limit is not None and int(part.limit.before) != before.limit:
                self._fault(f"tick {name}: {part.model}.limit does not go on from the tick before")
        for account in step.intents:
            held = last.intent(account.intent)
            if held.name and (account.burn_before, account.price_before) != (held.burn, held.cost_price):
                self._fault(f"tick {name}: intent {account.intent} does not go on from the tick before")

    # --- epochs ----------------------------------------------------------------------------------

    def _expect(self, name: str, replayed: TickReplayed) -> None:
        """Remember which epochs the tick's crossings open; where one of its kind is open none is."""
        opened = {(epoch.model, epoch.kind) for epoch in self._open.values()}
        if len(opened) < EPOCHS_OPEN_MAX:
            self._due = [
                (f"{model}/{crossing.kind}/{crossing.hypothesis}", name)
                for model, crossing in replayed.crossings
                if (model, crossing.kind) not in opened
            ]

    def _end_crossings(self) -> None:
        for crossing, name in self._due:
            self._fault(f"tick {name}: no epoch stands in the ledger for {crossing}")
        self._due = []

    def _epoch(self, name: str, epoch: Epoch) -> None:
        self._checked["epoch"] += 1
        if self._book is None and epoch.epoch_id == 1:
            self._book = EpochBook()
        if epoch.verdict is None:
            self._opened(name, epoch)
        else:
            self._closed(name, epoch)

    def _opened(self, name: str, epoch: Epoch) -> None:
        self._open[epoch.epoch_id] = epoch
        key = f"{epoch.model}/{epoch.kind}/{epoch.hypothesis}"
        self._due = [due for due in self._due if due[0] != key]
        if self._book is None:
            return  # the ledger begins later than the controller: what came before is not known
        again = self._book.start(
            model=epoch.model,
            kind=epoch.kind,
            now_s=epoch.opened_s,
            horizon_s=epoch.horizon_s,
            hypothesis=epoch.hypothesis,
            before=epoch.before,
            miss=epoch.miss_before,
            samples=epoch.samples_before,
            load=epoch.load_before,
        )
        if again != epoch:
            self._fault(f"epoch {name} is not the one that its book opens")

    def _closed(self, name: str, epoch: Epoch) -> None:
        begun = self._open.pop(epoch.epoch_id, None)
        bare = replace(epoch, verdict=None, basis="", rolled_back=False)
        as_opened = replace(bare, miss_after=0.0, samples_after=0, load_after=0.0, demand=0.0)
        if begun not in {None, as_opened}:
            self._fault(f"epoch {name} is not the one that was opened")
        book = self._book or EpochBook()
        again = book.close(bare, epoch.opened_s + epoch.horizon_s)
        if self._book is None:
            # without the epochs before it only the verdict follows from the record
            again = replace(again, rolled_back=epoch.rolled_back)
        if again != epoch:
            self._fault(f"epoch {name} differs in its verdict")

    # --- modes and intents -----------------------------------------------------------------------

    def _mode(self, name: str, change: ModeChange) -> None:
        self._checked["mode"] += 1
        if not change.reason.endswith("by the operator") and change != self._mode_change:
            self._fault(f"mode {name} is not the change that the tick before it voted for")

    def _intents(self, name: str, body: Mapping[str, Any]) -> None:
        self._checked["intents"] += 1
        config = ControllerConfig(
            Catalogue(from_plain(Model, model) for model in body["models"]),
            IntentSet(from_plain(Intent, intent) for intent in body["intents"]),
            tuple(float(length) for length in body["lengths_prior"]),
            from_plain(Tuning, body["tuning"]),
        )
        if (config.intents.digest, config.digest) != (body["after"], body["config_digest"]):
            self._fault(f"intents {name} are not those that their digest names")
        self._config_digest = body["config_digest"]
