"""One `tools/call` as a decision: inspected, decided, and held or let go, before any of it leaves.

Everything that must be waited for (the definition of a tool nobody has listed, an approval) is asked for
first, so that the exchange itself decides at once. What the gateway finds by itself (an unknown tool, headers
that contradict the body, a forged state) is decided by the gate's own policy and recorded like any refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from gateway.engine.decide import Decision, Stamp, decide
from gateway.kernel.bounds import TOOL_NAME_CHARS_MAX
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import ClaimTakenError, GatewayError, InternalError, ProtocolError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSONObject, Verdict
from gateway.live import Live, Snapshot
from gateway.pipeline.approvals import Answer, Approvals, Ruling, Standing, overtaken, rule
from gateway.pipeline.gatehouse import Finding, decide_finding
from gateway.pipeline.journal import decision_entry
from gateway.pipeline.pins import Pin
from gateway.pipeline.pins import Standing as Pinned
from gateway.pipeline.ports import Admitted, Asked
from gateway.pipeline.ports import Terms as GovernorTerms
from gateway.pipeline.relayed import Answer as BackendAnswer
from gateway.pipeline.relayed import Watch
from gateway.proxy.mcp.answers import CallAnswer, CallBackend, Rewrite
from gateway.proxy.mcp.ask import Ask, decision_request
from gateway.proxy.mcp.hold import Holder, forwarded_body
from gateway.proxy.mcp.inspect import Inspection, inspect, unknown_tool
from gateway.proxy.mcp.learn import Learner
from gateway.proxy.mcp.sight import is_hidden
from gateway.records.approvals import Call
from gateway.store.claims import Claim, ClaimStep
from gateway.wire.mcp.answers import Refusal
from gateway.wire.mcp.forward import forwarded_headers
from gateway.wire.mcp.listing import is_tool_name
from gateway.wire.mcp.revision import Era
from gateway.wire.mcp.state import refused_state
from gateway.wire.toolmap import MappedCall

STATE_SPACE: Final = "mcp_state"
"""Of the claims that make a `requestState` single-use."""
_SPENT: Final = "spent"
_REASONS: Final = {
    Finding.DEFINITION_CHANGED: "the tool's definition has changed, and an operator must accept it first",
    Finding.WITHDRAWN: "the question about it was declined",
}


@dataclass(frozen=True, slots=True)
class CallBench:
    """What every judgement of a call shares."""

    live: Live
    learner: Learner
    approvals: Approvals
    holder: Holder
    ids: IdSource


@dataclass(frozen=True, slots=True)
class _Case:
    """One call, read and ready to be decided."""

    ask: Ask
    tool: str
    pin: Pin | None
    seen: Inspection
    snapshot: Snapshot
    stamp: Stamp

    @property
    def request(self) -> JSONObject:
        """The DecisionRequest."""
        trusted = self.pin is not None and self.ask.server.trusted and self.seen.finding is None
        hints = self.pin.hints if self.pin is not None and trusted else {}
        return decision_request(self.ask, self.tool, self.seen.mapped, {**self.seen.answers, **hints})


class CallJudge:
    """Judges one call. `prepare` it, then hand it to an exchange; implements `pipeline.ports.Judge`."""

    __slots__ = ("_admitted", "_ask", "_bench")

    def __init__(self, bench: CallBench, ask: Ask) -> None:
        self._bench = bench
        self._ask = ask
        self._admitted: Admitted | None = None

    @property
    def decision_id(self) -> str | None:
        """The decision, once it is made."""
        return None if self._admitted is None else self._admitted.decision.decision_id

    def resumable(self) -> bool:
        """Tell whether a client may ask for what follows the last event of the answer."""
        backend = None if self._admitted is None else self._admitted.backend
        answer = backend.answer if isinstance(backend, CallBackend) else None
        ended = answer is not None and answer.resumable and answer.complete
        return ended and self._ask.era is Era.SESSIONS

    async def prepare(self, contradiction: ProtocolError | None) -> None:
        """Decide the call. `contradiction` is what headers and body disagree in, where they do.

        Raises ProtocolError for a call that names no tool, UpstreamError where the server must be asked for
        its tools and does not answer, StoreError.
        """
        ask, bench = self._ask, self._bench
        tool = ask.tool
        if not isinstance(tool, str) or not tool:
            raise ProtocolError("`params.name` must name a tool", code="MCP_PARAMS_INVALID")
        standing = await self._standing(tool) if contradiction is None else self._known(tool)
        pin = standing.in_force
        at_ms = bench.holder.clock.wall_ms()
        unknown = MappedCall(ask.server.unknown_type, {}, None)
        if contradiction is not None:
            known = unknown if pin is None else MappedCall(ask.server.tools.action_type(tool), {}, None)
            seen = Inspection(known, finding=Finding.HEADER_MISMATCH, error=contradiction)
        elif pin is not None:
            seen = inspect(ask, tool, pin, bench.holder.sealer, now_ms=at_ms)
        elif standing.pin is None:
            seen = Inspection(unknown, finding=Finding.TOOL_UNKNOWN, error=unknown_tool(tool))
        else:
            known = MappedCall(ask.server.tools.action_type(tool), {}, None)
            seen = Inspection(known, finding=Finding.DEFINITION_CHANGED)
        stamp = Stamp(bench.ids.new(), at_ms)
        case = _Case(ask, tool[:TOOL_NAME_CHARS_MAX], pin, seen, bench.live.snapshot, stamp)
        self._admitted = self._found(case) if seen.finding is not None else await self._judged(case)

    async def _standing(self, tool: str) -> Pinned:
        return await self._bench.learner.standing(self._ask) if is_tool_name(tool) else Pinned(None)

    def _known(self, tool: str) -> Pinned:
        """A call that contradicts itself is not worth a question to its server."""
        return self._bench.learner.pins.standing(self._ask.server.name, tool)

    def decide(self, body: bytes) -> Admitted:
        """Return what `prepare` has decided."""
        del body
        assert self._admitted is not None
        return self._admitted

    def asked(self, admitted: Admitted, *, arrived_s: float) -> Asked | None:
        """Nothing of a tool call is governed."""
        del admitted, arrived_s
        return None

    def planned(self, admitted: Admitted, terms: GovernorTerms) -> Admitted:
        """Nothing of a tool call is governed."""
        del admitted, terms
        raise InternalError

    # --- what the gate finds by itself -----------------------------------------------------------

    def _found(self, case: _Case) -> Admitted:
        finding = case.seen.finding
        assert finding is not None
        decision = decide_finding(case.request, finding, case.stamp, extensions=self._extensions(case))
        refusal = case.seen.error
        if refusal is None:
            refusal = self._answer(case, decision, reason=_REASONS.get(finding))
        return self._admit(case, decision, refusal=refusal, steps=self._state_steps(case))

    # --- what the policy says --------------------------------------------------------------------

    async def _judged(self, case: _Case) -> Admitted:
        decision = self._decide(case, {})
        if decision.forwardable:
            return self._admit(case, decision, steps=self._state_steps(case))
        if decision.verdict is not Verdict.ESCALATE:
            refusal = self._refusal(case, decision)
            return self._admit(case, decision, refusal=refusal, steps=self._state_steps(case))
        held = case.seen.held
        if held is not None and held.approval_id and held.released_under == decision.policy_hash:
            approval = {"approval_id": held.approval_id, "continues": held.decision_id, "state": "used"}
            released = self._decide(case, {"approval": approval})
            return self._admit(case, released, approval=held.approval_id, steps=self._state_steps(case))
        return await self._escalated(case, decision)

    async def _escalated(self, case: _Case, decision: Decision) -> Admitted:
        bench, seen = self._bench, case.seen
        assert case.pin is not None
        call = Call(
            tenant=case.ask.tenant,
            principal=case.ask.principal.name,
            action_type=decision.action_type,
            target=case.pin.target,
            arguments_digest=case.ask.text.arguments_digest(seen.answers),
        )
        named = None if seen.held is None else seen.held.approval_id
        standing = await bench.approvals.standing(call, named=named)
        ruling = rule(
            standing,
            decision_id=decision.decision_id,
            policy_hash=decision.policy_hash,
            at_ms=case.stamp.at_ms,
            terms=case.ask.server.terms,
        )
        admitted = self._ruled(case, ruling)
        steps = (*ruling.steps, *self._state_steps(case))

        def overtake(clash: ClaimTakenError) -> Admitted:
            return self._replayed(case) if clash.state == _SPENT else self._overtaken(case, standing, clash)

        return replace(
            admitted,
            entries=(*admitted.entries, *ruling.events),
            steps=steps,
            overtaken=overtake if steps else None,
        )

    def _ruled(self, case: _Case, ruling: Ruling) -> Admitted:
        decision = self._decide(case, {"approval": ruling.extension})
        if ruling.answer is Answer.GOES:
            return self._admit(case, decision, approval=ruling.approval_id)
        return self._admit(case, decision, refusal=self._answer(case, decision, error=ruling.error))

    def _overtaken(self, case: _Case, standing: Standing, clash: ClaimTakenError) -> Admitted:
        return self._ruled(case, overtaken(standing, clash))

    def _replayed(self, case: _Case) -> Admitted:
        """Another request brought the same state: what it had led to stands, and this one is refused."""
        extensions = self._extensions(case)
        decision = decide_finding(case.request, Finding.STATE_INVALID, case.stamp, extensions=extensions)
        return self._admit(case, decision, refusal=refused_state())

    def _refusal(self, case: _Case, decision: Decision) -> GatewayError:
        ask, pin = case.ask, case.pin
        if (
            decision.verdict is Verdict.ABSTAIN
            and pin is not None
            and is_hidden(ask.server, pin, ask.principal, case.snapshot)
        ):
            return unknown_tool(case.tool)
        return self._answer(case, decision)

    def _answer(
        self, case: _Case, decision: Decision, *, error: GatewayError | None = None, reason: str | None = None
    ) -> GatewayError:
        queries = decision.record["queries"] if decision.verdict is Verdict.QUERY else ()
        refusal = Refusal(case.tool, decision.verdict, decision.decision_id, queries, error, reason)
        return self._bench.holder.answer(case.ask, case.tool, case.seen, refusal)

    # --- decisions and what goes with them -------------------------------------------------------

    def _decide(self, case: _Case, extensions: JSONObject) -> Decision:
        request, snapshot = case.request, case.snapshot
        return decide(
            request,
            policies=snapshot.policies,
            advice=snapshot.advise(request),
            settings=snapshot.engine,
            stamp=case.stamp,
            extensions={**self._extensions(case), **extensions},
        )

    def _extensions(self, case: _Case) -> JSONObject:
        ask, seen = case.ask, case.seen
        facts: JSONObject = {
            "arguments_digest": ask.text.arguments_digest({}),
            "revision": ask.era.value,
            "server": ask.server.name,
        }
        if case.pin is not None:
            facts["definition_digest"] = case.pin.digest
        if seen.held is not None:
            facts["follows"] = seen.held.decision_id
            if seen.finding is None:
                facts["sent_digest"] = sha256_digest(forwarded_body(ask, seen))
        return {"mcp": facts}

    def _state_steps(self, case: _Case) -> tuple[ClaimStep, ...]:
        ask, seen = case.ask, case.seen
        if seen.held is None or seen.state_number is None:
            return ()
        claim = Claim(
            space=STATE_SPACE,
            tenant=ask.tenant,
            name=seen.state_number,
            owner=ask.principal.name,
            state=_SPENT,
            digest=seen.held.arguments_digest,
            decision_id=case.stamp.decision_id,
            at_ms=case.stamp.at_ms,
            expires_ms=seen.held.expires_ms,
        )
        return (ClaimStep(claim),)

    def _admit(
        self,
        case: _Case,
        decision: Decision,
        *,
        approval: str | None = None,
        refusal: GatewayError | None = None,
        steps: tuple[ClaimStep, ...] = (),
    ) -> Admitted:
        ask = case.ask
        goes = approval is not None or decision.forwardable
        entry = decision_entry(
            decision,
            tenant=ask.tenant,
            at_ms=case.stamp.at_ms,
            correlation_id=ask.request_id,
            awaits_outcome=True,
        )
        headers = forwarded_headers(ask.headers, ask.era)
        headers.append((b"x-request-id", ask.request_id.encode("ascii")))
        return Admitted(
            decision=decision,
            tenant=ask.tenant,
            at_ms=case.stamp.at_ms,
            entries=(entry,),
            backend=CallBackend(ask.server, ask.rpc_id, self._rewrite(case, decision, approval)),
            method="POST",
            path=ask.server.path,
            headers=headers,
            body=forwarded_body(ask, case.seen) if goes else ask.body,
            model=None,
            watch=_watch_of,
            approved=approval is not None,
            refusal=refusal,
            steps=steps,
            overtaken=(lambda _: self._replayed(case)) if steps else None,
        )

    def _rewrite(self, case: _Case, decision: Decision, approval: str | None) -> Rewrite | None:
        """Only a call that the gate has held before has something to carry on."""
        if (approval is None and not case.seen.answers) or case.seen.finding is not None:
            return None
        return self._bench.holder.rewriting(case.ask, case.tool, case.seen, decision, approval_id=approval)


def _watch_of(answer: BackendAnswer) -> Watch:
    assert isinstance(answer, CallAnswer)
    return answer.watch
