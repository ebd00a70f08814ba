"""Judges LLM requests: reads the body, asks the engine, and says what would be forwarded where.

The DecisionRequest holds digests, counts and names, never a message (design: how each kind of
traffic becomes a DecisionRequest). It is made by us and therefore valid as made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from gateway.auth.keys import Principal
from gateway.engine.decide import Decision, Stamp, decide
from gateway.kernel.canon import sha256_digest
from gateway.kernel.clock import Clock
from gateway.kernel.errors import ForbiddenError, InvalidRequestError, NotFoundError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSONObject, Tenant
from gateway.live import Live, Snapshot
from gateway.pipeline.evidence import addressed, evidence_of, planned_evidence, told
from gateway.pipeline.journal import decision_entry
from gateway.pipeline.ports import Admitted, Asked, Backend, Further, Headers, Terms
from gateway.pipeline.retry import Repeats
from gateway.pipeline.toolgate import ToolGate
from gateway.pipeline.tooljudge import Asker, ToolDesk
from gateway.records.types import DecisionEntry
from gateway.wire.api import API_OF
from gateway.wire.headers import forwarded_request_headers
from gateway.wire.openai import LlmRequest, Operation, Steering, read_llm_request, read_steering
from gateway.wire.rewrite import with_members, without_members


class Catalogue(Protocol):
    """Which backend serves a model."""

    def backend_of(self, model: str, excluding: Collection[str] = ()) -> Backend | None:
        """Return the backend that serves `model` now, none of those left out; None where nobody does."""
        ...

    @property
    def models_backend(self) -> Backend:
        """Who answers `GET /v1/models`."""
        ...

    def known(self) -> Sequence[str]:
        """Return the models there are, for the error that says so."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What every LLM judgement shares."""

    live: Live
    catalogue: Catalogue
    clock: Clock
    ids: IdSource
    forward_authorization: bool
    """Pass the client's own credential on: only where the gateway has no keys."""
    first_rung: Callable[[Asked], str | None] | None = None
    """The model that an intent prefers where the client leaves that to it; None where nobody governs."""
    tools: ToolDesk | None = None
    """None relays tool calls in answers as they come."""


_NO_MODEL: Final = ""
_GOVERNED: Final = frozenset(
    {
        Operation.CHAT,
        Operation.COMPLETION,
        Operation.RESPONSE,
        Operation.MESSAGE,
        Operation.EMBEDDING,
    }
)
"""What gives an engine work. Embeddings wait, are limited and paid for; there is nothing to cap."""
_INTENT_HEADER: Final = b"x-lumyn-intent"
AUTO: Final = "auto"
"""The model of a client that leaves the choice to its intent, where no backend serves one of that name."""


_Case: TypeAlias = tuple[LlmRequest | None, JSONObject, Snapshot, int, bytes]
"""What a decision was made from, to make it again under a plan: facts, request, snapshot, instant, body.

A bare tuple, because every request makes one and few are planned.
"""


class LlmJudge:
    """Judges one request of one principal."""

    __slots__ = (
        "_bench",
        "_case",
        "_headers",
        "_operation",
        "_path",
        "_planned",
        "_principal",
        "_request_id",
        "_traceparent",
    )

    def __init__(
        self,
        bench: Bench,
        operation: Operation,
        *,
        path: str,
        principal: Principal,
        headers: Sequence[tuple[bytes, bytes]],
        request_id: str,
        traceparent: str | None,
    ) -> None:
        self._bench = bench
        self._operation = operation
        self._path = path
        self._principal = principal
        self._headers = headers
        self._request_id = request_id
        self._traceparent = traceparent
        self._case: _Case | None = None
        self._planned: JSONObject | None = None

    def decide(self, body: bytes) -> Admitted:
        """Return the decided request.

        Raises MalformedRequestError or InvalidRequestError for a body that is no request of this
        API, NotFoundError for a model nobody serves, ForbiddenError where the key does not cover it.
        """
        facts = self._facts(body)
        backend, model = self._backend(facts)
        if not self._principal.may(self._operation.action_type):
            raise ForbiddenError(
                f"key `{self._principal.name}` does not cover `{self._operation.action_type}`",
                hint="ask the operator to add it to the key's `actions`",
            )
        bench = self._bench
        at_ms = bench.clock.wall_ms()
        snapshot = bench.live.snapshot
        sent, chosen = body, None
        if facts is not None and model is not None and model != facts.model:
            # what goes if its governor fails after this; a plan has a digest of its own
            sent = with_members(body, {"model": model})
            chosen = {AUTO: {"model": model, "sent_digest": sha256_digest(sent)}}
        request = self._request(body, facts, backend)
        tenant = Tenant(self._principal.tenant)
        decision = decide(
            request,
            policies=snapshot.policies,
            advice=snapshot.advise(request),
            settings=snapshot.engine,
            stamp=Stamp(bench.ids.new(), at_ms),
            extensions=chosen,
            own=chosen is None,
        )
        self._case = (facts, request, snapshot, at_ms, body)
        return Admitted(
            decision=decision,
            tenant=tenant,
            at_ms=at_ms,
            entries=(self._entry(decision, tenant, model, at_ms),),
            backend=backend,
            method="GET" if self._operation is Operation.MODELS else "POST",
            path=self._path,
            headers=self._forwarded(),
            body=sent,
            model=model,
            onward=None if facts is None else self,
            api=API_OF[self._operation],
            gate=None if bench.tools is None else self._gate(bench.tools, decision, request, snapshot),
        )

    def _gate(
        self, desk: ToolDesk, decision: Decision, request: JSONObject, snapshot: Snapshot
    ) -> ToolGate | None:
        api = API_OF[self._operation]
        if api.grammar is None:
            return None
        asker = Asker(decision.decision_id, self._principal, request["trace"], snapshot)
        return ToolGate(api, desk, asker)

    def asked(self, admitted: Admitted, *, arrived_s: float) -> Asked | None:
        """Return what a governor is told of it; None for what generates nothing."""
        facts = None if self._case is None else self._case[0]
        if facts is None or self._operation not in _GOVERNED:
            return None
        steering = read_steering(self._operation, admitted.body)
        return self._asked(facts, admitted.decision.decision_id, steering, arrived_s)

    def _asked(self, facts: LlmRequest, ticket: str, steering: Steering, arrived_s: float) -> Asked:
        named = [value for name, value in self._headers if name.lower() == _INTENT_HEADER]
        return Asked(
            ticket=ticket,
            intent=named[0].decode("latin-1") if len(named) == 1 else None,
            permitted=self._principal.intents,
            key=self._principal.name,
            tenant=self._principal.tenant,
            route=self._operation.path,
            model=facts.model,
            stream=facts.stream,
            input_tokens=facts.estimated_input_tokens,
            max_tokens=facts.max_tokens,
            fields=steering.fields,
            choices=facts.choices,
            service_tier=steering.service_tier,
            arrived_s=arrived_s,
        )

    def planned(self, admitted: Admitted, terms: Terms) -> Admitted:
        """Return the request decided again, with the plan in its evidence, under the same id and instant.

        The digest of the context stays that of the body as received. Where other bytes are forwarded
        their digest stands beside the plan, so that what was judged is what is forwarded.
        """
        assert self._case is not None
        facts, asked, snapshot, at_ms, _ = self._case
        assert facts is not None
        goes = terms.turn == "admitted"
        backend = admitted.backend
        if goes and terms.model != admitted.model:
            backend = self._bench.catalogue.backend_of(terms.model) or backend
        body = _steered(admitted.body, terms) if goes else admitted.body
        control = dict(terms.control)
        if body is not admitted.body:
            control["sent_digest"] = sha256_digest(body)
        request = addressed(asked, backend.name, planned_evidence(terms, goes=goes))
        self._planned = request
        decision = decide(
            request,
            policies=snapshot.policies,
            advice=snapshot.advise(request),
            settings=snapshot.engine,
            stamp=Stamp(admitted.decision.decision_id, at_ms),
            extensions={"control": control},
        )
        return replace(
            admitted,
            decision=decision,
            entries=(self._entry(decision, admitted.tenant, facts.model, at_ms),),
            backend=backend,
            headers=(*admitted.headers, *_raw(terms.headers)) if goes else admitted.headers,
            body=body,
            model=terms.model if goes else admitted.model,
            actions=terms.actions,
            reason=terms.reason,
        )

    # --- further attempts ------------------------------------------------------------------------

    @property
    def repeats(self) -> Repeats:
        """A generation has no effect but its cost."""
        return Repeats.FREELY

    def again(self, admitted: Admitted, headers: Headers | None) -> Admitted:
        """Return the same request for the same backend."""
        if headers is None:
            return admitted
        return replace(admitted, headers=(*self._forwarded(), *_raw(headers)))

    def elsewhere(
        self, admitted: Admitted, excluding: Collection[str], headers: Headers | None
    ) -> Further | None:
        """Return the same request for another backend of its model; None where none is permitted."""
        assert self._case is not None
        asked = self._case[1] if self._planned is None else self._planned
        return self._permitted(self.again(admitted, headers), asked, admitted.model, excluding)

    def instead(self, admitted: Admitted, terms: Terms, excluding: Collection[str]) -> Further | None:
        """Return the request as these terms change it; None where no backend of their model is permitted."""
        assert self._case is not None
        _, asked, _, _, body = self._case
        changed = replace(
            admitted,
            headers=(*self._forwarded(), *_raw(terms.headers)),
            body=_steered(body, terms),
            model=terms.model,
            actions=terms.actions,
            reason=terms.reason,
        )
        request = asked | {"evidence": asked["evidence"] | planned_evidence(terms, goes=True)}
        return self._permitted(changed, request, terms.model, excluding)

    def _permitted(
        self, admitted: Admitted, asked: JSONObject, model: str | None, excluding: Collection[str]
    ) -> Further | None:
        """Choose a backend to which the policy lets it go, under the snapshot and the instant on record."""
        assert self._case is not None
        _, _, snapshot, at_ms, _ = self._case
        passed_over = set(excluding)
        while (backend := self._bench.catalogue.backend_of(model or _NO_MODEL, passed_over)) is not None:
            request = addressed(asked, backend.name, {})
            decision = decide(
                request,
                policies=snapshot.policies,
                advice=snapshot.advise(request),
                settings=snapshot.engine,
                stamp=Stamp(admitted.decision.decision_id, at_ms),
            )
            if decision.forwardable:
                return Further(replace(admitted, backend=backend), told(decision))
            passed_over.add(backend.name)
        return None

    def _entry(self, decision: Decision, tenant: Tenant, model: str | None, at_ms: int) -> DecisionEntry:
        return decision_entry(
            decision,
            tenant=tenant,
            at_ms=at_ms,
            model=model,
            correlation_id=self._request_id,
            awaits_outcome=True,
        )

    def _facts(self, body: bytes) -> LlmRequest | None:
        if self._operation is not Operation.MODELS:
            return read_llm_request(self._operation, body)
        if body:
            raise InvalidRequestError("this request has no body", pointer="")
        return None

    def _backend(self, facts: LlmRequest | None) -> tuple[Backend, str | None]:
        """Return who serves the request, and which model; of `auto` the first of its intent's ladder."""
        catalogue = self._bench.catalogue
        if facts is None:
            return catalogue.models_backend, None
        model = facts.model
        backend = catalogue.backend_of(model)
        if backend is None and model == AUTO and self._bench.first_rung is not None:
            model = self._bench.first_rung(self._asked(facts, "", Steering({}, None), 0.0)) or AUTO
            backend = catalogue.backend_of(model)
        if backend is None:
            known = ", ".join(f"`{model}`" for model in catalogue.known()[:10]) or "none yet"
            raise NotFoundError(
                f"the model `{facts.model[:128]}` does not exist",
                code="MODEL_NOT_FOUND",
                pointer="/model",
                hint=f"known models: {known}",
            )
        return backend, model

    def _request(self, body: bytes, facts: LlmRequest | None, backend: Backend) -> JSONObject:
        operation = self._operation
        principal = self._principal
        subject = {"id": principal.name, "type": "service"}
        if principal.tenant is not None:
            subject["tenant_id"] = principal.tenant
        trace = {"correlation_id": self._request_id}
        if self._traceparent is not None:
            trace["span_id"] = self._traceparent
        model = _NO_MODEL if facts is None else facts.model
        return {
            "schema_version": "decision_request.v0",
            "trace": trace,
            "subject": subject,
            "action": {
                "type": operation.action_type,
                "intent": f"{model or 'list models'} via {operation.path}",
                "target": {"system": backend.name, "resource_type": "model", "resource_id": model},
            },
            "evidence": evidence_of(facts),
            "context": {"mode": "digest_only", "digest": sha256_digest(body)},
        }

    def _forwarded(self) -> list[tuple[bytes, bytes]]:
        bench = self._bench
        headers = forwarded_request_headers(self._headers, keep_authorization=bench.forward_authorization)
        headers.append((b"x-request-id", self._request_id.encode("ascii")))
        return headers


def _raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _steered(body: bytes, terms: Terms) -> bytes:
    """Return the body as a plan changes it; the very bytes where it does not."""
    if terms.removed:
        body = without_members(body, terms.removed)
    return with_members(body, terms.fields) if terms.fields else body
