"""Judges one request on an action route: asks the engine, then a person where the policy wants one.

What is looked up beforehand (approvals, earlier executions) is handed in, so that deciding waits for
nothing. An ESCALATE is decided a second time with what came of the approval, under the same id and
instant: the record says by whose word the action went, or why it did not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.auth.keys import Principal
from gateway.engine.decide import Decision, Stamp, decide
from gateway.kernel.clock import Clock
from gateway.kernel.errors import (
    ClaimTakenError,
    ForbiddenError,
    GatewayError,
    PendingError,
    QueryError,
    RefusedError,
)
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSONObject, Verdict
from gateway.live import Live, Snapshot
from gateway.pipeline.approvals import SPACE, Answer, Ruling, Standing, overtaken, rule
from gateway.pipeline.executions import Execution, in_flight
from gateway.pipeline.journal import decision_entry
from gateway.pipeline.ports import Admitted, Asked, Terms
from gateway.pipeline.routes import ActionRoute, ReadAction, where_of
from gateway.records.types import Entry
from gateway.wire.headers import forwarded_request_headers

_REROUTING: Final = frozenset(
    {
        b"x-http-method-override",
        b"x-http-method",
        b"x-method-override",
        b"x-original-url",
        b"x-original-uri",
        b"x-rewrite-url",
        b"x-forwarded-prefix",
        b"x-forwarded-path",
        b"x-forwarded-uri",
    }
)
"""By these some servers take another method or path than the one that was judged."""
_DETAILS: Final = {
    Verdict.ABSTAIN: "the policy does not allow this action",
    Verdict.QUERY: "the policy needs more evidence",
    Verdict.ESCALATE: "a person must approve this action",
    Verdict.TRUST: "the policy does not allow this action",
}


@dataclass(frozen=True, slots=True)
class Counter:
    """What every judgement of actions shares."""

    live: Live
    clock: Clock
    ids: IdSource
    forward_authorization: bool
    """Pass the client's own credential on: only where the gateway has no keys."""


class ActionJudge:
    """Judges one request of one principal. Implements `pipeline.ports.Judge`."""

    __slots__ = (
        "_at_ms",
        "_counter",
        "_decision",
        "_execution",
        "_headers",
        "_read",
        "_route",
        "_snapshot",
        "_standing",
        "answer",
    )

    def __init__(
        self,
        counter: Counter,
        route: ActionRoute,
        read: ReadAction,
        *,
        headers: Sequence[tuple[bytes, bytes]],
        execution: Execution | None,
    ) -> None:
        self._counter = counter
        self._route = route
        self._read = read
        self._headers = headers
        self._execution = execution
        self._at_ms = counter.clock.wall_ms()
        self._snapshot: Snapshot = counter.live.snapshot
        self._standing: Standing | None = None
        self.answer: Answer | None = None
        """What a person's say came to, once it is decided."""
        self._decision = self._decided(counter.ids.new(), None)

    @property
    def escalates(self) -> bool:
        """A person has a say in it: `stands` comes before `decide`."""
        return self._decision.verdict is Verdict.ESCALATE and not self._decision.forwardable

    def stands(self, standing: Standing) -> None:
        """Take note of what stands for the call."""
        self._standing = standing

    def decide(self, body: bytes) -> Admitted:
        """Return the decided action. The body was read before: these are its bytes."""
        assert body == self._read.body
        decision = self._decision
        if not self.escalates:
            return self._admitted(decision, None)
        assert self._standing is not None
        ruling = rule(
            self._standing,
            decision_id=decision.decision_id,
            policy_hash=decision.policy_hash,
            at_ms=self._at_ms,
            terms=self._route.terms,
        )
        return self._ruled(ruling)

    def asked(self, admitted: Admitted, *, arrived_s: float) -> Asked | None:
        """Actions have no intents: nobody governs them."""
        del admitted, arrived_s
        return None

    def planned(self, admitted: Admitted, terms: Terms) -> Admitted:
        """Return it as it is: no plan is ever made."""
        del terms
        return admitted

    def _ruled(self, ruling: Ruling) -> Admitted:
        self.answer = ruling.answer
        return self._admitted(self._again({"approval": ruling.extension}), ruling)

    def _again(self, extensions: JSONObject) -> Decision:
        return self._decided(self._decision.decision_id, extensions)

    def _decided(self, decision_id: str, extensions: JSONObject | None) -> Decision:
        request, snapshot = self._read.request, self._snapshot
        return decide(
            request,
            policies=snapshot.policies,
            advice=snapshot.advise(request),
            settings=snapshot.engine,
            stamp=Stamp(decision_id, self._at_ms),
            extensions=extensions,
        )

    def _admitted(self, decision: Decision, ruling: Ruling | None) -> Admitted:
        route, read = self._route, self._read
        approved = ruling is not None and ruling.answer is Answer.GOES
        goes = decision.forwardable or approved
        events: tuple[Entry, ...] = () if ruling is None else ruling.events
        steps = () if ruling is None else ruling.steps
        execution = self._execution if goes else None
        if execution is not None:
            steps = (*steps, execution.claims(decision.decision_id, self._at_ms))
        return Admitted(
            decision=decision,
            tenant=read.call.tenant,
            at_ms=self._at_ms,
            entries=(self._entry(decision, goes=goes), *events),
            backend=route.backend,
            method=route.method,
            path=read.target,
            headers=self._forwarded(),
            body=read.body,
            model=None,
            approved=approved,
            refusal=None if goes else self._refusal(decision, ruling),
            steps=steps,
            overtaken=self._overtaken if steps else None,
            settled=None if execution is None else execution.settles,
            opaque=True,
        )

    def _overtaken(self, clash: ClaimTakenError) -> Admitted:
        """Return it as refused: another request used the approval, or is executing the same operation."""
        if clash.space == SPACE:
            assert self._standing is not None
            return self._ruled(overtaken(self._standing, clash))
        error = in_flight(clash.decision_id)
        held = {"idempotency": {"refused": error.code, "decision_id": clash.decision_id}}
        self._execution = None
        admitted = self._admitted(self._again(held), None)
        entry = self._entry(admitted.decision, goes=False)
        return replace(admitted, entries=(entry,), refusal=error)

    def _entry(self, decision: Decision, *, goes: bool) -> Entry:
        return decision_entry(
            decision,
            tenant=self._read.call.tenant,
            at_ms=self._at_ms,
            correlation_id=self._read.request["trace"].get("correlation_id"),
            awaits_outcome=goes,
        )

    def _forwarded(self) -> list[tuple[bytes, bytes]]:
        passed = forwarded_request_headers(
            self._headers, keep_authorization=self._counter.forward_authorization
        )
        headers = [pair for pair in passed if pair[0].lower() not in _REROUTING]
        correlation_id = self._read.request["trace"]["correlation_id"]
        headers.append((b"x-request-id", correlation_id.encode("ascii")))
        return headers

    def _refusal(self, decision: Decision, ruling: Ruling | None) -> GatewayError:
        facts: JSONObject = {
            "decision_id": decision.decision_id,
            "verdict": decision.verdict.value,
            "reason_codes": list(decision.reason_codes),
        }
        if ruling is not None and ruling.error is not None:
            error = ruling.error
            facts["approval"] = ruling.extension
            if isinstance(error, PendingError):
                facts["approval"] = ruling.extension | {"poll": f"/v0/approvals/{error.approval_id}"}
        else:
            error = self._denial(decision, facts)
        if isinstance(error, RefusedError):
            error.facts = facts
        return error

    def _denial(self, decision: Decision, facts: JSONObject) -> RefusedError:
        text = f"{_DETAILS[decision.verdict]} ({', '.join(decision.reason_codes)})"
        hint = f"decision {decision.decision_id} says why"
        if decision.verdict is not Verdict.QUERY:
            return RefusedError(text, code=decision.reason_codes[0], hint=hint)
        queries = decision.record["queries"]
        facts["queries"] = [{**query, "source": where_of(self._route, query["field"])} for query in queries]
        missing = ", ".join(query["field"] for query in queries)
        return QueryError(f"{text}: {missing}", code=decision.reason_codes[0], hint=hint)


def check_cover(principal: Principal, route: ActionRoute) -> None:
    """Refuse a key that does not cover a route's action type. Raises ForbiddenError."""
    if not principal.may(route.action_type):
        raise ForbiddenError(
            f"key `{principal.name}` does not cover `{route.action_type}`",
            hint="ask the operator to add it to the key's `actions`",
        )
