"""Stored decisions under another policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.engine.backtest import Backtest, redecide, with_policy
from gateway.engine.decide import EngineSettings, Stamp, decide
from gateway.kernel.errors import RecordError
from gateway.memory.types import NO_ADVICE, MemoryAdvice
from gateway.pipeline.policies import load_policy, policy_set
from gateway.policy.builtin import PACKS, SUPPORT
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.select import PolicySet
from tests.kit.refunds import refund

POLICIES = policy_set(SUPPORT, PACKS, default_packs=True)


def _stricter() -> CompiledPolicy:
    text = Path(SUPPORT).read_text().replace("refund_trust_usd: 25", "refund_trust_usd: 10")
    return compile_policy(text.encode())


def _record(value: float, advice: MemoryAdvice = NO_ADVICE, policies: PolicySet = POLICIES) -> dict:
    stamp = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000)
    settings = EngineSettings()
    return decide(refund(value), policies=policies, advice=advice, settings=settings, stamp=stamp).record


def test_nothing_flips_under_the_same_policy() -> None:
    """A record decided again under its own policy keeps its verdict."""
    assert redecide(_record(20), POLICIES) is None


def test_a_lower_limit_flips_what_lies_between() -> None:
    """Under a limit of 10 a trusted refund of 20 flips to the default, and one of 5 does not."""
    policies = with_policy(POLICIES, _stricter())
    flip = redecide(_record(20), policies)
    assert flip is not None
    assert (flip.was, flip.now, flip.now_codes) == ("TRUST", "ESCALATE", ("NO_MATCH_DEFAULT_ESCALATE",))
    assert redecide(_record(5), policies) is None


def test_memory_stays_as_it_was() -> None:
    """What memory said then speaks in the backtest too: a refund it held stays held under a higher limit."""
    held = _record(20, MemoryAdvice(1.0, (), "memory:1:" + "0" * 64))
    assert held["verdict"] == "ESCALATE"
    assert redecide(held, POLICIES) is None


def test_counts_are_by_the_reasons_that_are_new() -> None:
    """Flips are counted by verdicts and by the codes that speak now and did not before."""
    result = Backtest()
    result.add([_record(20), _record(15), _record(5)], with_policy(POLICIES, _stricter()))
    assert result.decided == 3
    assert result.by_reason() == [("TRUST", "ESCALATE", "NO_MATCH_DEFAULT_ESCALATE", 2)]


def test_a_record_that_cannot_be_read_is_counted_apart() -> None:
    """A damaged record neither stops the backtest nor counts as decided."""
    result = Backtest()
    damaged = _record(20) | {"request": {}}
    result.add([damaged, _record(20)], POLICIES)
    assert (result.decided, result.unreadable) == (1, ["01ARZ3NDEKTSV4RRFFQ69G5FAV"])


def test_a_record_without_an_action_is_an_error() -> None:
    """What names no action type cannot be decided again."""
    with pytest.raises(RecordError):
        redecide(_record(20) | {"request": None}, POLICIES)


def test_a_policy_takes_its_namesakes_place() -> None:
    """A pack replaces the pack of its id; a policy of a new id becomes the main one."""
    billing = load_policy("policies/packs/billing.v0.yml")
    replaced = with_policy(POLICIES, billing)
    assert replaced.main is POLICIES.main
    assert [pack.policy_id for pack in replaced.packs] == [pack.policy_id for pack in POLICIES.packs]
    assert with_policy(POLICIES, _stricter()).main.policy_hash == _stricter().policy_hash
