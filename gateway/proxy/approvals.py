"""`GET /v0/approvals/{id}`: where an agent looks whether a person has answered. It sees its own only."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from gateway.auth.keys import Principal
from gateway.auth.signature import SIGNATURE_HEADER, check_signature
from gateway.kernel.clock import Clock
from gateway.kernel.types import Tenant
from gateway.listener.client import HttpClient
from gateway.listener.router import Route
from gateway.live import Live
from gateway.pipeline.approvals import Approvals
from gateway.pipeline.told import approval_json
from gateway.records.approvals import ApprovalState
from gateway.wire.errors import v0_error_body


class ApprovalStatus:
    """Serves the polling of agents."""

    def __init__(self, live: Live, approvals: Approvals, clock: Clock, *, signing_secret: str | None) -> None:
        self._live = live
        self._approvals = approvals
        self._clock = clock
        self._secret = None if signing_secret is None else signing_secret.encode()

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return (Route("GET", "/v0/approvals/*", self._show, v0_error_body, 0),)

    async def _show(self, client: HttpClient) -> None:
        principal = self._authenticate(client)
        approval_id = client.path.rpartition("/")[2]
        if principal.operator:
            approval = await self._approvals.find(approval_id)
        else:
            approval = await self._approvals.show(Tenant(principal.tenant), principal.name, approval_id)
        shown = approval_json(approval, self._clock.wall_ms())
        headers = [("x-request-id", client.request_id)]
        if shown["state"] == ApprovalState.PENDING:
            headers.append(("retry-after", "5"))
        await client.send(200, orjson.dumps(shown), headers=headers)

    def _authenticate(self, client: HttpClient) -> Principal:
        """With a signing secret every call on `/v0` is signed; without one the API key says who asks."""
        if self._secret is None:
            return self._live.snapshot.keys.principal(client.header("authorization"))
        return check_signature(self._secret, b"", client.header(SIGNATURE_HEADER))
