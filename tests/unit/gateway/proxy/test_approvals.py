"""Where an agent looks for its answer: its own approvals, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth.keys import KeyRing, Principal
from gateway.auth.signature import sign
from gateway.engine.decide import EngineSettings
from gateway.kernel.errors import NotFoundError, UnauthorizedError
from gateway.kernel.types import Tenant
from gateway.live import Live, Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.proxy.approvals import ApprovalStatus
from gateway.records.approvals import Approval, ApprovalState, Call
from tests.kit.entries import START_MS, StillClock, entry_id
from tests.kit.fakeclient import FakeClient
from tests.kit.tools import AGENT, STRANGER, hash_of

OWN = Call(Tenant("acme"), "bot", "support.refund", "POST x", "sha256:" + "1" * 64)
RING = KeyRing(
    [
        (hash_of(AGENT), Principal("bot", "acme")),
        (hash_of(STRANGER), Principal("stranger", "globex")),
    ]
)


class Kept:
    """Approvals of which there is one."""

    def __init__(self, state: ApprovalState) -> None:
        self.one = Approval(entry_id(1), OWN, "p", START_MS, START_MS + 1000, state)

    async def show(self, scope: Tenant, principal: str, approval_id: str) -> Approval:
        if (scope, principal, approval_id) != (OWN.tenant, OWN.principal, entry_id(1)):
            raise NotFoundError("no")
        return self.one

    async def find(self, approval_id: str) -> Approval:
        assert approval_id == entry_id(1)
        return self.one


async def ask(
    *,
    ring: KeyRing = RING,
    secret: str | None = None,
    state: ApprovalState = ApprovalState.PENDING,
    **headers: str,
) -> FakeClient:
    """Look at the one approval."""
    live = Live(Snapshot(None, MemoryIndex(), EngineSettings(), ring, top_k=5))  # type: ignore[arg-type]
    kept: Any = Kept(state)
    status = ApprovalStatus(live, kept, StillClock(), signing_secret=secret)
    client = FakeClient(f"/v0/approvals/{entry_id(1)}", headers=headers)
    await status.routes()[0].handler(client)  # type: ignore[arg-type]
    return client


async def test_its_own_key_sees_it() -> None:
    """State and call, and while it is pending when to look again."""
    client = await ask(authorization=f"Bearer {AGENT}")
    assert client.json["state"] == "pending"
    assert client.sent_headers["retry-after"] == "5"
    done = await ask(authorization=f"Bearer {AGENT}", state=ApprovalState.DENIED)
    assert "retry-after" not in done.sent_headers


async def test_no_other_key_does() -> None:
    """Another's key is told that there is none; no key is asked for one."""
    with pytest.raises(NotFoundError):
        await ask(authorization=f"Bearer {STRANGER}")
    for headers in ({}, {"authorization": "Bearer x"}):
        with pytest.raises(UnauthorizedError):
            await ask(**headers)


async def test_without_keys_there_is_one_principal() -> None:
    """Everybody is local, and sees all there is."""
    assert (await ask(ring=KeyRing([]))).json["approval_id"] == entry_id(1)


async def test_with_a_secret_the_call_is_signed() -> None:
    """As every call on `/v0`; a key alone is not enough."""
    with pytest.raises(UnauthorizedError):
        await ask(secret="s", authorization=f"Bearer {AGENT}")
    signed = {"x-lumyn-signature": sign(b"s", b"")}
    assert (await ask(secret="s", **signed)).json["approval_id"] == entry_id(1)
