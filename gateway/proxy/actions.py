"""`/v0`: decide an action, read a decision, append an event, name the policy."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from gateway.auth.keys import Principal
from gateway.auth.signature import SIGNATURE_HEADER, check_signature
from gateway.kernel.bounds import EVENT_BODY_BYTES_MAX
from gateway.kernel.errors import ForbiddenError, InvalidRequestError, NotFoundError, RequestError
from gateway.kernel.ids import is_ulid
from gateway.kernel.parse import parse_json
from gateway.kernel.types import JSONObject
from gateway.listener.client import HttpClient
from gateway.listener.router import Route
from gateway.live import Live
from gateway.pipeline.decisions import Decisions
from gateway.records.request import validate_request
from gateway.telemetry.log import LOG
from gateway.wire.errors import v0_error_body


class ActionGate:
    """Serves the `/v0` routes."""

    def __init__(
        self, live: Live, decisions: Decisions, *, signing_secret: str | None, body_bytes_max: int
    ) -> None:
        self._live = live
        self._decisions = decisions
        self._secret = None if signing_secret is None else signing_secret.encode()
        self._body_bytes_max = body_bytes_max

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return (
            Route("POST", "/v0/decide", self._decide, v0_error_body, self._body_bytes_max),
            Route("GET", "/v0/decisions/*", self._show, v0_error_body, 0),
            Route("POST", "/v0/decisions/*/events", self._append, v0_error_body, EVENT_BODY_BYTES_MAX),
            Route("GET", "/v0/policy", self._policy, v0_error_body, 0),
        )

    async def _decide(self, client: HttpClient) -> None:
        body = await client.read()
        principal = self._authenticate(client, body)
        request = _read(body, client.request_id)
        _check_cover(principal, request)
        record = await self._decisions.decide(request)
        await client.send(200, record)

    async def _show(self, client: HttpClient) -> None:
        scope = self._authenticate(client, b"").scope
        decision_id = client.path.rpartition("/")[2]
        if not is_ulid(decision_id):
            raise NotFoundError("not found")
        await client.send(200, await self._decisions.read(scope, decision_id))

    async def _append(self, client: HttpClient) -> None:
        decision_id = client.path.split("/")[3]
        body = await client.read()
        scope = self._authenticate(client, body).scope
        if not is_ulid(decision_id):
            raise NotFoundError("not found")
        payload = parse_json(body)
        if not isinstance(payload, dict):
            raise InvalidRequestError("the body must be a JSON object", pointer="")
        kind = payload.get("type")
        if not isinstance(kind, str) or not kind.strip():
            raise InvalidRequestError("payload.type must be a non-empty string", pointer="/type")
        data = payload.get("data", {})
        if not isinstance(data, dict):
            raise InvalidRequestError("payload.data must be an object", pointer="/data")
        appended = await self._decisions.append_event(scope, decision_id, kind.strip(), data)
        answer = {"event_id": appended.event_id}
        if appended.memory_id is not None:
            answer["memory_id"] = appended.memory_id
        await client.send(200, orjson.dumps(answer))

    async def _policy(self, client: HttpClient) -> None:
        self._authenticate(client, b"")
        policies = self._live.snapshot.policies
        main = policies.main
        body = {
            "policy_id": main.policy_id,
            "policy_version": main.policy_version,
            "policy_hash": main.policy_hash,
            "packs": [
                {
                    "policy_id": pack.policy_id,
                    "policy_version": pack.policy_version,
                    "policy_hash": pack.policy_hash,
                }
                for pack in policies.packs
            ],
        }
        await client.send(200, orjson.dumps(body))

    def _authenticate(self, client: HttpClient, body: bytes) -> Principal:
        """With a signing secret every call on `/v0` is signed; without one the API key says who asks."""
        if self._secret is None:
            return self._live.snapshot.keys.principal(client.header("authorization"))
        return check_signature(self._secret, body, client.header(SIGNATURE_HEADER))


def _read(body: bytes, request_id: str) -> JSONObject:
    """Read a request; one that is none leaves a line in the log and no decision (contract A18)."""
    try:
        return validate_request(parse_json(body))
    except RequestError as error:
        LOG.info("request refused", extra={"facts": {"reason_code": error.code, "request_id": request_id}})
        raise


def _check_cover(principal: Principal, request: JSONObject) -> None:
    """A key decides for its own tenant and for no other; one without a tenant for requests that name none."""
    action_type = request["action"]["type"]
    if not principal.may(action_type):
        raise ForbiddenError(f"key `{principal.name}` does not cover `{action_type}`", pointer="/action/type")
    if not principal.operator and request["subject"].get("tenant_id") != principal.tenant:
        raise ForbiddenError(
            f"key `{principal.name}` belongs to another tenant",
            pointer="/subject/tenant_id",
            hint="send the key's own tenant_id, or none where it has none",
        )
