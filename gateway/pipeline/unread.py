"""Judges requests that are passed on unread: decided by who asks, method and path, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.auth.keys import Principal
from gateway.engine.decide import Stamp, decide
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import ForbiddenError, InternalError
from gateway.kernel.types import JSONObject, Tenant
from gateway.pipeline.journal import decision_entry
from gateway.pipeline.judge import Bench
from gateway.pipeline.ports import Admitted, Asked, Backend, Terms
from gateway.pipeline.toolgate import ToolGate
from gateway.pipeline.tooljudge import Asker
from gateway.wire.api import OPAQUE, STORED_CHAT, STORED_RESPONSE, Api
from gateway.wire.headers import forwarded_request_headers
from gateway.wire.openai import Operation

_STORED: Final = (("/v1/responses/", STORED_RESPONSE), ("/v1/chat/completions/", STORED_CHAT))
"""Where answers that were given before are read again, with the calls in them."""
_MEDIA_CHARS_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class Unread:
    """A request that is not read: its line and head."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    request_id: str
    traceparent: str | None


class UnreadJudge:
    """Judges one such request. Implements `pipeline.ports.Judge`."""

    __slots__ = ("_backend", "_bench", "_principal", "_unread")

    def __init__(self, bench: Bench, backend: Backend, unread: Unread, principal: Principal) -> None:
        self._bench = bench
        self._backend = backend
        self._unread = unread
        self._principal = principal

    def decide(self, body: bytes) -> Admitted:
        """Return the decided request. Raises ForbiddenError where the key does not cover it."""
        operation = Operation.OTHER
        if not self._principal.may(operation.action_type):
            raise ForbiddenError(
                f"key `{self._principal.name}` does not cover `{operation.action_type}`",
                hint="ask the operator to add it to the key's `actions`",
            )
        bench, unread = self._bench, self._unread
        at_ms = bench.clock.wall_ms()
        snapshot = bench.live.snapshot
        request = self._request(body)
        tenant = Tenant(self._principal.tenant)
        decision = decide(
            request,
            policies=snapshot.policies,
            advice=snapshot.advise(request),
            settings=snapshot.engine,
            stamp=Stamp(bench.ids.new(), at_ms),
        )
        entry = decision_entry(
            decision, tenant=tenant, at_ms=at_ms, correlation_id=unread.request_id, awaits_outcome=True
        )
        api = _api_of(unread.path)
        gate = None
        if bench.tools is not None and api.grammar is not None:
            asker = Asker(decision.decision_id, self._principal, request["trace"], snapshot)
            gate = ToolGate(api, bench.tools, asker)
        return Admitted(
            decision=decision,
            tenant=tenant,
            at_ms=at_ms,
            entries=(entry,),
            backend=self._backend,
            method=unread.method,
            path=f"{unread.path}?{unread.query}" if unread.query else unread.path,
            headers=self._forwarded(),
            body=body,
            model=None,
            api=api,
            gate=gate,
        )

    def asked(self, admitted: Admitted, *, arrived_s: float) -> Asked | None:
        """Return None: nobody governs what nobody reads."""
        del admitted, arrived_s
        return None

    def planned(self, admitted: Admitted, terms: Terms) -> Admitted:
        """Never asked for: see `asked`."""
        del admitted, terms
        raise InternalError

    def _request(self, body: bytes) -> JSONObject:
        unread, principal = self._unread, self._principal
        subject = {"id": principal.name, "type": "service"}
        if principal.tenant is not None:
            subject["tenant_id"] = principal.tenant
        trace = {"correlation_id": unread.request_id}
        if unread.traceparent is not None:
            trace["span_id"] = unread.traceparent
        return {
            "schema_version": "decision_request.v0",
            "trace": trace,
            "subject": subject,
            "action": {
                "type": Operation.OTHER.action_type,
                "intent": f"{unread.method} {unread.path}",
                "target": {
                    "system": self._backend.name,
                    "resource_type": "path",
                    "resource_id": unread.path,
                },
            },
            "evidence": {
                "method": unread.method,
                "path": unread.path,
                "has_query": bool(unread.query),
                "body_bytes": len(body),
                "media": _media(unread.headers),
            },
            "context": {"mode": "digest_only", "digest": sha256_digest(body)},
        }

    def _forwarded(self) -> list[tuple[bytes, bytes]]:
        keep = self._bench.forward_authorization
        headers = forwarded_request_headers(self._unread.headers, keep_authorization=keep)
        headers.append((b"x-request-id", self._unread.request_id.encode("ascii")))
        return headers


def _api_of(path: str) -> Api:
    return next((api for prefix, api in _STORED if path.startswith(prefix)), OPAQUE)


def _media(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the kind of the body, without its parameters; only visible characters."""
    found = next((value for name, value in headers if name.lower() == b"content-type"), b"")
    kind = found.partition(b";")[0].strip().lower().decode("latin-1")
    return "".join(char for char in kind if "!" <= char <= "~")[:_MEDIA_CHARS_MAX]
