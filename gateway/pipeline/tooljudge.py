"""Judges tool calls inside answers: each becomes a DecisionRequest, is decided by the same engine, and kept.

A call is decided under the snapshot of the request that it answers. What the gateway itself finds (arguments
that are no JSON, a tool that nobody configured, a key that does not cover the action) is decided by its own
policy, so that it is a record like any other. One record a call, committed before anything of it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.auth.keys import Principal
from gateway.config.tools import RESERVED_EVIDENCE
from gateway.engine.decide import Decision, Stamp, decide
from gateway.kernel.bounds import TOOL_NAME_CHARS_MAX
from gateway.kernel.canon import sha256_digest
from gateway.kernel.clock import Clock
from gateway.kernel.errors import AnswerUnreadableError, ClaimTakenError, GatewayError, InvalidRequestError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import Fate, JSONObject, Tenant, Verdict
from gateway.live import Snapshot
from gateway.pipeline.approvals import Answer, Approvals, Ruling, Standing, Terms, overtaken, rule
from gateway.pipeline.gatehouse import Finding, decide_finding
from gateway.pipeline.journal import decision_entry, event_entry
from gateway.pipeline.ports import Recorder
from gateway.pipeline.toolwords import FAULTS, mendable, refusal_text
from gateway.records.approvals import Call as ApprovedCall
from gateway.records.types import Entry
from gateway.store.claims import ClaimStep
from gateway.store.port import Receipt
from gateway.wire.flat import flattened
from gateway.wire.toolcall.call import Call, Fault, Kind, read_arguments
from gateway.wire.toolcall.call import Verdict as Ruled
from gateway.wire.toolmap import MappedCall, ToolMap

_RESERVED: Final = RESERVED_EVIDENCE | {"fx_rate_to_usd"}
"""What no argument may pass for: a rate out of a model's mouth would make any amount small."""
_OVERSIZED: Final = frozenset({Fault.OVERSIZED, Fault.HELD_TOO_LONG})
_UNKNOWN: Final = "no such tool is configured here"
_NOT_COVERED: Final = "the key of this client does not cover it"


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """What the configuration says of tool calls; the reasons stand in `kernel.bounds`."""

    strip: bool
    """Take refused calls out and explain; else end the answer with an error."""
    decide_unknown: bool
    brief: bool
    held_bytes_max: int
    held_s: float
    body_bytes_max: int
    terms: Terms


@dataclass(frozen=True, slots=True)
class ToolDesk:
    """What all judging of tool calls shares."""

    settings: ToolSettings
    tools: ToolMap
    recorder: Recorder
    approvals: Approvals
    clock: Clock
    ids: IdSource
    count: Callable[[str, bool], None]
    """Told of each call: its verdict, and whether it went on."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose answer it is."""

    decision_id: str
    """Of the LLM request."""
    principal: Principal
    trace: JSONObject
    snapshot: Snapshot
    model: str | None = None


@dataclass(slots=True)
class _Case:
    """One call on its way through the judgement."""

    request: JSONObject
    stamp: Stamp
    why: str | None = None
    finding: Finding | None = None
    mendable: bool = False
    standing: Standing | None = None
    ruling: Ruling | None = None


class ToolJudge:
    """Judges the calls of one answer, and keeps what was permitted until the answer's fate is known."""

    def __init__(self, desk: ToolDesk, asker: Asker) -> None:
        self._desk = desk
        self._asker = asker
        self._tenant = Tenant(asker.principal.tenant)
        self._open: list[tuple[str, asyncio.Future[Receipt]]] = []
        """Decisions that await the end of the answer, and their commits."""

    async def judge(self, calls: Sequence[Call]) -> list[tuple[Call, Ruled]]:
        """Return the verdicts, each on record. Raises StoreError: then nothing may go on."""
        cases = [self._case(call) for call in calls]
        submitted = []
        for call, case in zip(calls, cases, strict=True):
            decision = await self._decided(case)
            submitted.append((call, case, decision, self._submit(case, decision)))
        verdicts = []
        for call, case, decision, receipt in submitted:
            # Shielded, so that a handler that is cancelled does not lose sight of what it has claimed.
            try:
                await asyncio.shield(receipt)
                kept = decision
            except ClaimTakenError as clash:
                kept = await self._second_try(case, clash)
            verdicts.append((call, self._verdict(call, case, kept)))
        return verdicts

    async def unreadable(self, fault: Fault, offending: bytes) -> AnswerUnreadableError:
        """Keep that an answer could not be read; return the error that says so. Raises StoreError."""
        request = self._request("tool.unreadable", "read an answer", {}, offending, {"fault": fault.value})
        stamp = Stamp(self._desk.ids.new(), self._desk.clock.wall_ms())
        decision = decide_finding(request, Finding.ANSWER_UNREADABLE, stamp)
        await self._desk.recorder.submit(self._refused(decision, stamp, None))
        self._desk.count(decision.verdict.value, False)
        return AnswerUnreadableError(
            f"the backend's answer may hold tool calls and cannot be judged: {FAULTS[fault]}",
            hint=f"decision {decision.decision_id} says why",
        )

    def outcomes(self, fate: Fate) -> tuple[Entry, ...]:
        """Return the ends of what was permitted, where its decision is the store's; see `AnswerGate`."""
        ended: list[Entry] = []
        for decision_id, receipt in self._open:
            if not receipt.done():
                receipt.add_done_callback(partial(self._end_later, decision_id, fate))
            elif not receipt.cancelled() and receipt.exception() is None:
                ended.append(self._outcome(decision_id, fate))
        self._open.clear()
        return tuple(ended)

    # --- deciding --------------------------------------------------------------------------------

    def _case(self, call: Call) -> _Case:
        name = call.name[:TOOL_NAME_CHARS_MAX]
        tools, principal = self._desk.tools, self._asker.principal
        action_type = tools.action_type(name)
        extension = {"id": call.call_id[:TOOL_NAME_CHARS_MAX], "kind": call.kind.value, "place": call.place}
        why, finding, better = None, None, False
        mapped = MappedCall(action_type, {}, None)
        if call.fault is not None:
            why, better = FAULTS[call.fault], mendable(call.fault)
            finding = Finding.OVERSIZED if call.fault in _OVERSIZED else Finding.ARGUMENTS_INVALID
            extension["fault"] = call.fault.value
        elif tools.rule_of(name) is None and not self._desk.settings.decide_unknown:
            why, finding = _UNKNOWN, Finding.TOOL_UNKNOWN
        elif not principal.may(action_type):
            why, finding = _NOT_COVERED, Finding.NOT_COVERED
        else:
            try:
                mapped = self._mapped(call, name)
            except InvalidRequestError as error:
                why, finding, better = error.message, Finding.ARGUMENTS_INVALID, True
        arguments = call.arguments.encode("utf-8", "surrogatepass")
        request = self._request(action_type, f"call {name or '?'}", mapped.evidence, arguments, extension)
        request["action"]["target"] |= {"resource_type": "tool", "resource_id": name}
        if mapped.amount is not None:
            request["action"]["amount"] = mapped.amount
        stamp = Stamp(self._desk.ids.new(), self._desk.clock.wall_ms())
        return _Case(request, stamp, why, finding, better)

    def _mapped(self, call: Call, name: str) -> MappedCall:
        """Return the call as an action. A configured tool without evidence of its own gives all, flat."""
        if call.kind is Kind.CUSTOM:
            return MappedCall(self._desk.tools.action_type(name), {}, None)
        arguments, _ = read_arguments(call.arguments)
        mapped = self._desk.tools.call(name, arguments)
        found = self._desk.tools.rule_of(name)
        if found is None or found.evidence:
            return mapped
        return MappedCall(mapped.action_type, flattened(arguments, _RESERVED), mapped.amount)

    def _request(
        self, action_type: str, intent: str, evidence: JSONObject, content: bytes, extension: JSONObject
    ) -> JSONObject:
        asker = self._asker
        subject = {"id": asker.principal.name, "type": "service"}
        if asker.principal.tenant is not None:
            subject["tenant_id"] = asker.principal.tenant
        return {
            "schema_version": "decision_request.v0",
            "trace": asker.trace,
            "subject": subject,
            "action": {"type": action_type, "intent": intent, "target": {"system": "tool"}},
            "evidence": {**evidence, "model": asker.model or "", "decision_id": asker.decision_id},
            "context": {"mode": "digest_only", "digest": sha256_digest(content)},
            "extensions": {"tool_call": extension},
        }

    async def _decided(self, case: _Case) -> Decision:
        """Return the decision; an ESCALATE is held against the approval that stands for this very call."""
        if case.finding is not None:
            return decide_finding(case.request, case.finding, case.stamp)
        decision = self._by_policy(case)
        if decision.verdict is not Verdict.ESCALATE or decision.forwardable:
            return decision
        action = case.request["action"]
        approved = ApprovedCall(
            tenant=self._tenant,
            principal=self._asker.principal.name,
            action_type=action["type"],
            target=f"tool/{action['target']['resource_id']}",
            arguments_digest=case.request["context"]["digest"],
        )
        case.standing = await self._desk.approvals.standing(approved)
        case.ruling = rule(
            case.standing,
            decision_id=case.stamp.decision_id,
            policy_hash=decision.policy_hash,
            at_ms=case.stamp.at_ms,
            terms=self._desk.settings.terms,
        )
        return self._by_policy(case)

    def _by_policy(self, case: _Case) -> Decision:
        snapshot = self._asker.snapshot
        extensions = None if case.ruling is None else {"approval": case.ruling.extension}
        return decide(
            case.request,
            policies=snapshot.policies,
            advice=snapshot.advise(case.request),
            settings=snapshot.engine,
            stamp=case.stamp,
            extensions=extensions,
        )

    async def _second_try(self, case: _Case, clash: ClaimTakenError) -> Decision:
        """Decide again what another overtook: it claims nothing now, and is refused."""
        assert case.standing is not None
        case.ruling = overtaken(case.standing, clash)
        decision = self._by_policy(case)
        await self._desk.recorder.submit(self._refused(decision, case.stamp, case.ruling))
        return decision

    # --- keeping ---------------------------------------------------------------------------------

    def _submit(self, case: _Case, decision: Decision) -> asyncio.Future[Receipt]:
        steps: tuple[ClaimStep, ...] = () if case.ruling is None else case.ruling.steps
        if not _goes(decision, case.ruling):
            entries = self._refused(decision, case.stamp, case.ruling)
            return self._desk.recorder.submit(entries, steps=steps)
        events = () if case.ruling is None else case.ruling.events
        entry = self._entry(decision, case.stamp, awaits_outcome=True)
        receipt = self._desk.recorder.submit((entry, *events), steps=steps)
        self._open.append((decision.decision_id, receipt))
        return receipt

    def _refused(self, decision: Decision, stamp: Stamp, ruling: Ruling | None) -> tuple[Entry, ...]:
        entry = self._entry(decision, stamp, awaits_outcome=False)
        events = () if ruling is None else ruling.events
        return (entry, *events, self._outcome(decision.decision_id, Fate.REFUSED))

    def _entry(self, decision: Decision, stamp: Stamp, *, awaits_outcome: bool) -> Entry:
        return decision_entry(
            decision,
            tenant=self._tenant,
            at_ms=stamp.at_ms,
            correlation_id=self._asker.trace.get("correlation_id"),
            awaits_outcome=awaits_outcome,
        )

    def _outcome(self, decision_id: str, fate: Fate) -> Entry:
        return event_entry(
            event_id=self._desk.ids.new(),
            decision_id=decision_id,
            tenant=self._tenant,
            at_ms=self._desk.clock.wall_ms(),
            event_type="outcome",
            data={"fate": fate.value},
        )

    def _end_later(self, decision_id: str, fate: Fate, receipt: asyncio.Future[Receipt]) -> None:
        if receipt.cancelled() or receipt.exception() is not None:
            return
        try:
            _ = self._desk.recorder.submit((self._outcome(decision_id, fate),), reserved=True)
        except GatewayError:
            return  # it is on record without an outcome, and is marked unknown at the next start

    def _verdict(self, call: Call, case: _Case, decision: Decision) -> Ruled:
        permitted = _goes(decision, case.ruling)
        self._desk.count(decision.verdict.value, permitted)
        if permitted:
            return Ruled(permitted=True)
        told = None if case.ruling is None else case.ruling.error
        text = refusal_text(
            call.name,
            decision,
            why=case.why,
            told=told,
            mendable=case.mendable,
            brief=self._desk.settings.brief,
        )
        return Ruled(permitted=False, text=text)


def _goes(decision: Decision, ruling: Ruling | None) -> bool:
    return decision.forwardable or (ruling is not None and ruling.answer is Answer.GOES)
