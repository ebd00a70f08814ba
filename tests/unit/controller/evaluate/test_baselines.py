"""`controller.evaluate.baselines` and `split`: each does what its origin documents."""

from __future__ import annotations

from controller.core import Outcome
from controller.evaluate.baselines import Aimd, Fallback, Gradient2, Simple, StaticLimit
from controller.evaluate.policy import Refuse, Send
from controller.evaluate.split import candidates, priority_only
from controller.evaluate.world import KINDS, LARGE, MID
from controller.plan import Request

PREMIUM, STANDARD, BATCH = (kind.intent for kind in KINDS)


def ask(name: str, now_s: float = 0.0, kind: object = STANDARD) -> Request:
    """Return a request."""
    return Request(name, kind, LARGE, 100, now_s)  # type: ignore[arg-type]


def test_nothing_sends_everything() -> None:
    """Pass-through: the preferred model, no cap, no objective; only llm-d's own arm names objectives."""
    policy = Simple()
    policy.arrive(ask("a"), 0.0)
    assert policy.take(0.0) == [Send("a", LARGE, None, None)]
    assert policy.take(0.0) == []
    native = Simple("llmd")
    native.arrive(ask("a", kind=PREMIUM), 0.0)
    assert native.take(0.0) == [Send("a", LARGE, None, "critical")]


def test_a_static_limit_holds_its_rate() -> None:
    """Of a hundred at once the bucket's five pass; a second later five more."""
    policy = StaticLimit(5.0)
    for index in range(100):
        policy.arrive(ask(f"a{index}"), 0.0)
    assert sum(isinstance(command, Send) for command in policy.take(0.0)) == 5
    for index in range(100):
        policy.arrive(ask(f"b{index}"), 1.0)
    assert sum(isinstance(command, Send) for command in policy.take(1.0)) == 5


def test_aimd_backs_off_after_a_slow_answer() -> None:
    """Slow answers shrink the limit to its floor of 20, beyond which requests are refused."""
    policy = Aimd()
    for index in range(25):
        policy.arrive(ask(f"a{index}"), 0.0)
    commands = policy.take(0.0)
    assert sum(isinstance(command, Refuse) for command in commands) == 5
    for index in range(20):
        policy.ended(f"a{index}", Outcome("complete", 5), 1.0)
    for index in range(25):
        policy.arrive(ask(f"b{index}"), 1.0)
    assert sum(isinstance(command, Send) for command in policy.take(1.0)) > 20


def test_gradient_shrinks_when_latency_rises() -> None:
    """A fourfold latency lowers the limit towards its floor."""
    policy = Gradient2()
    now_s = 0.0
    for wave in range(40):
        now_s += 1.0
        for index in range(20):
            policy.arrive(ask(f"{wave}/{index}"), now_s)
        latency_s = 0.5 if wave < 20 else 2.0
        for command in policy.take(now_s):
            if isinstance(command, Send):
                policy.ended(command.request_id, Outcome("complete", 5), now_s + latency_s)
        policy.tick(now_s + latency_s)
    policy.arrive(ask("last"), now_s)
    assert 20 <= policy._limit <= 200


def test_fallback_cools_a_failed_model_for_five_seconds() -> None:
    """After a failure requests go to the next rung their floor allows, then come back."""
    policy = Fallback()
    policy.arrive(ask("a"), 0.0)
    policy.ended("a", Outcome("failed"), 1.0)
    policy.arrive(ask("b", 2.0), 2.0)
    policy.arrive(ask("p", 2.0, PREMIUM), 2.0)
    policy.arrive(ask("c", 7.0), 7.0)
    models = [command.model for command in policy.take(7.0) if isinstance(command, Send)]
    assert models == [LARGE, MID, LARGE, LARGE]


def test_a_priority_queue_serves_the_urgent_first() -> None:
    """Beyond its fixed limit requests wait, and premium leaves first."""
    policy = priority_only()
    for index in range(70):
        policy.arrive(ask(f"a{index}", kind=BATCH), 0.0)
    policy.take(0.0)
    policy.arrive(ask("low", kind=BATCH), 0.0)
    policy.arrive(ask("high", kind=PREMIUM), 0.0)
    assert policy.take(0.0) == []
    policy.ended("a0", Outcome("complete", 5), 1.0)
    assert [command.request_id for command in policy.take(1.0)] == ["high"]


def test_the_search_covers_all_large_to_all_small() -> None:
    """48 different splits, each with shares that add up."""
    tried = list(candidates())
    assert len(tried) == 48
    for split in tried:
        assert all(abs(sum(shares) - 1.0) < 1e-9 for shares in split.shares.values())
