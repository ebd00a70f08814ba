"""`controller.rederive`: a ledger's control decisions come out the same, and any change is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controller import rederive
from controller.evaluate.scenarios import SCENARIOS
from controller.rederive import Rederive
from tests.kit.controlledger import Kept, recorded


@pytest.fixture(scope="module")
def kept() -> Kept:
    """The ledger of the first eight seconds of a spike."""
    return recorded(replace(SCENARIOS["spike6"], end_s=108.0), 11)


def again(kept: Kept, change: Callable[[Kept], None] | None = None) -> Rederive:
    """Make a ledger's decisions again, after a change to a copy of it."""
    ledger = kept
    if change is not None:
        ledger = Kept(list(kept.records), list(kept.controls))
        change(ledger)
    made = Rederive()
    for index, (kind, body) in enumerate(ledger.records):
        made.record("w", kind, str(index), body)
    for name, control in ledger.controls:
        made.plan(name, control)
    return made


def nth(kept: Kept, kind: str, number: int = 0, **holds: Any) -> Any:
    """Return a copy, in its place, of the body of a record of a kind, of those that hold something."""
    places = [
        place
        for place, (known, body) in enumerate(kept.records)
        if known == kind and all(body[name] == value for name, value in holds.items())
    ]
    body = copy.deepcopy(kept.records[places[number]][1])
    kept.records[places[number]] = (kind, body)
    return body


def closed(kept: Kept) -> Any:
    """Return the first epoch that has its verdict."""
    verdict = next(body["verdict"] for kind, body in kept.records if kind == "epoch" and body["verdict"])
    return nth(kept, "epoch", verdict=verdict)


def pressed(kept: Kept) -> Any:
    """Return a copy, in its place, of a control part that has its table."""
    place, (name, control) = next(
        (place, part) for place, part in enumerate(kept.controls) if len(part[1].get("options", ())) > 1
    )
    kept.controls[place] = (name, copy.deepcopy(control))
    return kept.controls[place][1]


def test_five_hundred_decisions_without_a_difference() -> None:
    """Plans, ticks, epochs and intents, through canonical JSON and back, to the bit."""
    kept = recorded(replace(SCENARIOS["spike6"], end_s=125.0), 11)
    made = again(kept)
    assert made.faults == []
    assert made.total >= 500
    assert {"plan", "tick", "epoch", "intents"} <= set(made.checked)
    assert made.checked["plan"] + made.untabled == len(kept.controls)
    assert made.unheld == 0


@pytest.mark.long
def test_ten_thousand_decisions_without_a_difference() -> None:
    """Four spikes, a slow model, one that fails and one that is overspent."""
    made = Rederive()
    for name in ("spike4", "spike6", "spike9", "slow3", "errors", "budget", "burst5"):
        ledger = recorded(SCENARIOS[name], 11)
        for index, (kind, body) in enumerate(ledger.records):
            made.record(name, kind, f"{name}/{index}", body)
        for request, control in ledger.controls:
            made.plan(f"{name}/{request}", control)
    assert made.faults == []
    assert made.total >= 10_000


def test_plans_may_come_before_their_ticks(kept: Kept) -> None:
    """They wait for them, and are compared when the tick is there."""
    made = Rederive()
    for name, control in kept.controls:
        made.plan(name, control)
    waiting = made.unheld
    assert waiting > 50
    for index, (kind, body) in enumerate(kept.records):
        made.record("w", kind, str(index), body)
    assert (made.checked["plan"], made.unheld, made.faults) == (waiting, 0, [])


def test_what_waits_is_bounded(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans beyond the bound are given up and counted, never forgotten."""
    monkeypatch.setattr(rederive, "WAITING_MAX", 10)
    made = Rederive()
    for name, control in kept.controls:
        made.plan(name, control)
    assert len(made._waiting) == 10
    assert made.unheld == sum("options" in control for _, control in kept.controls)


def test_ticks_are_forgotten_in_order(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan whose tick is no longer held is counted, and is no difference."""
    monkeypatch.setattr(rederive, "TICKS_HELD", 1)
    made = again(kept)
    assert made.faults == []
    assert made.unheld > 0


CHANGES: dict[str, tuple[Callable[[Kept], None], str]] = {
    "the price of a tick": (
        lambda kept: nth(kept, "tick", 9)["state"]["models"][0].update(price=9.5),
        "differs in llama-70b.price",
    ),
    "the limit of a tick": (
        lambda kept: nth(kept, "tick", 9)["state"]["models"][0].update(limit=77),
        "differs in llama-70b.limit",
    ),
    "the load that moved a price": (
        lambda kept: nth(kept, "tick", 9)["step"]["models"][0]["price"]["load"].update(arrival_rate=0.0),
        "differs in llama-70b.price, llama-70b.load_error",
    ),
    "where a price came from": (
        lambda kept: nth(kept, "tick", 12)["step"]["models"][0]["price"].update(before=0.01),
        "llama-70b.price does not go on",
    ),
    "the weight of an intent": (
        lambda kept: nth(kept, "tick", 9)["state"]["intents"][0].update(burn=1.4),
        "differs in intent premium",
    ),
    "the mode": (
        lambda kept: nth(kept, "tick", 9)["state"].update(mode="guarded"),
        "differs in mode",
    ),
    "a vital sign": (
        lambda kept: nth(kept, "tick", 9)["step"]["vitals"].update(signals_age_s=9),
        "differs in mode_change, mode",
    ),
    "a model that is gone": (
        lambda kept: nth(kept, "tick", 9)["step"]["models"].pop(),
        "differs in models",
    ),
    "an epoch's verdict": (
        lambda kept: closed(kept).update(verdict="harmed"),
        "differs in its verdict",
    ),
    "an epoch's beginning": (
        lambda kept: closed(kept).update(load_before=0.123),
        "is not the one that was opened",
    ),
    "an epoch's number": (
        lambda kept: nth(kept, "epoch", verdict=None).update(epoch_id=999),
        "is not the one that its book opens",
    ),
    "an epoch that is gone": (
        lambda kept: kept.records.remove(("epoch", nth(kept, "epoch", verdict=None))),
        "no epoch stands in the ledger for llama-70b/",
    ),
    "an intent": (
        lambda kept: nth(kept, "intents")["intents"][0].update(weight=5.0),
        "are not those that their digest names",
    ),
    "the configuration's name": (
        lambda kept: nth(kept, "intents").update(config_digest="sha256:0"),
        "under a configuration that is not the recorded one",
    ),
    "the model of a plan": (
        lambda kept: pressed(kept)["plan"].update(model="llama-1b"),
        "differs in model",
    ),
    "a line of a table": (
        lambda kept: pressed(kept)["options"][0].update(utility=0.25),
        "differs in options",
    ),
    "a request": (
        lambda kept: pressed(kept)["request"].update(input_tokens=1),
        "differs in ",
    ),
    "a snapshot": (
        lambda kept: pressed(kept)["snapshot"].update(now_s=999.5),
        "its snapshot is not the one that its digest names",
    ),
    "what cannot be read": (
        lambda kept: pressed(kept)["snapshot"].pop("live"),
        "cannot be read: KeyError",
    ),
    "a tick that cannot be read": (
        lambda kept: nth(kept, "tick", 3)["state"].update(models=7),
        "cannot be read: TypeError",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found(kept: Kept, what: str) -> None:
    """Whatever is changed, a fault names it, and its words say what it was."""
    change, told = CHANGES[what]
    made = again(kept, change)
    assert any(told in fault for fault in made.faults), made.faults[:5]


def test_a_mode_that_nobody_voted_for_is_found() -> None:
    """The operator's hand is a fact; the guard's must follow from its signs."""
    made = Rederive()
    change = {"before": "active", "after": "bypass", "share": 1, "reason": "set to bypass by the operator"}
    made.record("w", "mode", "m1", {**change, "at_s": 3})
    assert made.faults == []
    made.record("w", "mode", "m2", {**change, "reason": "no signal for 7 s", "at_s": 3})
    assert made.faults == ["mode m2 is not the change that the tick before it voted for"]


def test_faults_are_counted_beyond_those_that_are_spelt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger of another program does not fill the memory with complaints."""
    monkeypatch.setattr(rederive, "FAULTS_MAX", 3)
    made = Rederive()
    for index in range(10):
        made.record("w", "epoch", str(index), {})
    assert (len(made.faults), made.fault_count) == (3, 10)


def test_a_kind_of_a_later_version_is_left_alone() -> None:
    """Neither counted nor a fault."""
    made = Rederive()
    made.record("w", "something", "x", {"a": 1})
    assert (made.total, made.faults) == (0, [])
