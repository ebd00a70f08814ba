"""One call from its inspection to what an exchange gets: what goes, what is held, what is claimed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.kernel.errors import ClaimTakenError, InternalError, ProtocolError
from gateway.kernel.types import Verdict
from gateway.live import Live
from gateway.pipeline.approvals import Approvals
from gateway.pipeline.pins import Standing
from gateway.policy.compile import compile_policy
from gateway.policy.select import PolicySet
from gateway.proxy.mcp.call import STATE_SPACE, CallBench, CallJudge
from gateway.proxy.mcp.hold import Holder
from gateway.proxy.mcp.reply import AnsweredError
from gateway.wire.mcp.answers import EVIDENCE_KEY
from tests.kit.entries import CountedRandomness
from tests.kit.mcp import POLICY
from tests.unit.gateway.pipeline.conftest import desk, policies  # noqa: F401 - fixtures


class Known:
    """A learner that knows what it was given."""

    def __init__(self, standing: Standing) -> None:
        self.known = standing
        self.pins = self
        self.asked = 0

    def standing(self, *names: Any) -> Any:
        if len(names) == 2:
            return self.known  # as pins tell it

        async def learn() -> Standing:
            self.asked += 1
            return self.known

        return learn()


@pytest.fixture
def bench(desk, sealer, pin) -> CallBench:  # noqa: F811 - the fixture
    """A bench under the shop's policy, on a real store."""
    policies_of_shop = PolicySet(compile_policy(POLICY.encode()))
    live = Live(replace(desk.live.snapshot, policies=policies_of_shop))
    holder = Holder(sealer, desk.clock, CountedRandomness(), 60_000)
    learner: Any = Known(Standing(pin, current=pin.digest))
    return CallBench(live, learner, Approvals(desk.store, desk.clock), holder, desk.ids)


async def judged(bench: CallBench, ask: Any, contradiction: ProtocolError | None = None) -> Any:
    """What an exchange would get of a call."""
    judge = CallJudge(bench, ask)
    await judge.prepare(contradiction)
    admitted = judge.decide(b"")
    assert judge.decision_id == admitted.decision.decision_id
    return admitted


async def test_a_trusted_call_goes_with_the_judged_bytes(bench, make_ask) -> None:
    """One decision that awaits its outcome; nothing is claimed, and nothing of ours is in it."""
    ask = make_ask(arguments={"amount": 5})
    admitted = await judged(bench, ask)
    assert admitted.decision.verdict is Verdict.TRUST
    assert admitted.body is ask.body
    assert (admitted.method, admitted.path, admitted.steps, admitted.refusal) == ("POST", "/mcp", (), None)
    [entry] = admitted.entries
    assert entry.awaits_outcome
    assert (b"x-request-id", b"r-1") in admitted.headers
    assert not admitted.approved


async def test_a_call_names_a_tool(bench, make_ask) -> None:
    """One that does not cannot be decided."""
    for name in (5, None, "", ["refund"]):
        with pytest.raises(ProtocolError) as caught:
            await judged(bench, make_ask(name))
        assert caught.value.code == "MCP_PARAMS_INVALID"


@pytest.mark.parametrize("name", ["x" * 500, "a\x00b", "\x1b[2Jrefund"])
async def test_a_name_that_no_tool_can_have_is_asked_about_nowhere(bench, make_ask, name: str) -> None:
    """It is unknown, and its record holds no more of it than a name may have."""
    admitted = await judged(bench, make_ask(name))
    assert admitted.refusal.code == "MCP_TOOL_UNKNOWN"
    assert bench.learner.asked == 0
    target = admitted.decision.record["request"]["action"]["target"]
    assert len(target["resource_id"]) <= 128
    assert admitted.decision.action_type == "mcp.shop__unknown"


async def test_a_contradiction_is_decided_without_asking_anybody(bench, make_ask) -> None:
    """Its server is not worth a question; the error is the one that was found."""
    found = ProtocolError("x", code="MCP_HEADER_MISMATCH")
    admitted = await judged(bench, make_ask(), found)
    assert admitted.refusal is found
    assert admitted.decision.reason_codes == ("TOOL_CALL_CONTRADICTORY",)
    assert bench.learner.asked == 0


async def test_a_definition_that_has_changed_is_not_called(bench, make_ask, pin) -> None:
    """The mapped type stays, so that the record is found where people look."""
    bench.learner.known = Standing(pin, current="sha256:other")
    admitted = await judged(bench, make_ask(arguments={"amount": 5}))
    assert admitted.decision.reason_codes == ("TOOL_DEFINITION_CHANGED",)
    assert admitted.decision.action_type == "shop.refund"
    assert isinstance(admitted.refusal, AnsweredError)


async def brought_back(bench: CallBench, make_ask: Any) -> Any:
    """A call of `close` that comes back with its answer."""
    first = await judged(bench, make_ask("close", elicitation={}))
    state = first.refusal.result["requestState"]
    reply = {EVIDENCE_KEY: {"action": "accept", "content": {"confirmed": "yes"}}}
    return make_ask("close", elicitation={}, requestState=state, inputResponses=reply)


@pytest.fixture
def closing(server, bench, make_ask):
    """The tool `close`, mapped to the action that asks whether it is confirmed."""
    from gateway.wire.toolmap import ToolMap, ToolRule

    mapped = replace(server, tools=ToolMap([ToolRule("close", "shop.close")], prefix="mcp.shop_"))
    return lambda *args, **more: replace(make_ask(*args, **more), server=mapped)


async def test_a_state_is_claimed_in_the_commit_of_its_decision(bench, closing, desk) -> None:  # noqa: F811
    """The second commit is refused by the store, and becomes a recorded refusal under the same id."""
    ask = await brought_back(bench, closing)
    one, other = await judged(bench, ask), await judged(bench, ask)
    assert one.decision.verdict is Verdict.TRUST
    [step] = one.steps
    assert (step.claim.space, step.over) == (STATE_SPACE, None)
    await desk.store.submit(one.entries, steps=one.steps)
    with pytest.raises(ClaimTakenError) as clash:
        await desk.store.submit(other.entries, steps=other.steps)
    late = other.overtaken(clash.value)
    assert late.decision.decision_id == other.decision.decision_id
    assert late.decision.reason_codes == ("TOOL_STATE_INVALID",)
    assert (late.steps, late.approved, late.refusal.code) == ((), False, "MCP_STATE_INVALID")
    assert not late.decision.forwardable


async def test_an_approval_is_opened_once_and_used_once(bench, make_ask, desk) -> None:  # noqa: F811
    """Opened with the first decision, used with the one that goes; who comes second is refused."""
    ask = make_ask(arguments={"amount": 500})
    first = await judged(bench, ask)
    assert first.decision.record["extensions"]["approval"]["state"] == "pending"
    assert len(first.entries) == 2
    await desk.store.submit(first.entries, steps=first.steps)
    await bench.approvals.resolve(first.decision.decision_id, approve=True, by="ann", reason="r")
    one, other = await judged(bench, ask), await judged(bench, ask)
    assert one.approved
    assert one.decision.verdict is Verdict.ESCALATE
    await desk.store.submit(one.entries, steps=one.steps)
    with pytest.raises(ClaimTakenError) as clash:
        await desk.store.submit(other.entries, steps=other.steps)
    late = other.overtaken(clash.value)
    assert not late.approved
    assert late.decision.record["extensions"]["approval"]["refused"] == "APPROVAL_USED"


async def test_an_approval_is_for_a_definition(bench, make_ask, desk, pin) -> None:  # noqa: F811
    """Where an operator has accepted another one since, a person is asked anew."""
    ask = make_ask(arguments={"amount": 500})
    first = await judged(bench, ask)
    await desk.store.submit(first.entries, steps=first.steps)
    await bench.approvals.resolve(first.decision.decision_id, approve=True, by="ann", reason="r")
    newer = replace(pin, digest="sha256:" + "e" * 64)
    bench.learner.known = Standing(newer, current=newer.digest)
    again = await judged(bench, ask)
    assert not again.approved
    assert again.decision.record["extensions"]["approval"]["state"] == "pending"


async def test_nothing_of_a_call_is_governed(bench, make_ask) -> None:
    """Load is the controller's business, and tools have none."""
    judge = CallJudge(bench, make_ask(arguments={"amount": 5}))
    await judge.prepare(None)
    admitted = judge.decide(b"")
    assert judge.asked(admitted, arrived_s=0.0) is None
    with pytest.raises(InternalError):
        judge.planned(admitted, None)  # type: ignore[arg-type]
    assert judge.resumable() is False
    assert orjson.loads(admitted.body)["id"] == 7
