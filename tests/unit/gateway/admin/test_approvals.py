"""The operators' pages: who may look, who may speak, and what is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.approvals import ApprovalPages
from gateway.auth.operators import OperatorRing
from gateway.auth.signature import sign
from gateway.kernel.errors import (
    ApprovalError,
    InvalidRequestError,
    MalformedRequestError,
    NotFoundError,
    UnauthorizedError,
)
from gateway.kernel.types import NO_TENANT
from gateway.pipeline.approvals import Approvals, Terms, rule
from gateway.records.approvals import Call
from gateway.store.port import Store
from gateway.store.sqlite import open_sqlite
from gateway.telemetry.metrics import Metrics
from tests.kit.entries import CountedRandomness, StillClock, decision, entry_id
from tests.kit.fakeclient import FakeClient
from tests.kit.tools import OPERATOR, hash_of

LIST, SHOW, APPROVE, DENY = range(4)
ANN = {"authorization": f"Bearer {OPERATOR}"}
REASON = b'{"reason":"I know her"}'


@dataclass
class Desk:
    """The pages over a store."""

    store: Store
    clock: StillClock
    approvals: Approvals
    metrics: Metrics
    secret: str | None = None

    async def ask(self, at: int, target: str = "/", body: bytes = b"", **headers: str) -> FakeClient:
        """Ask one of the pages."""
        operators = OperatorRing([("ann", hash_of(OPERATOR))])
        pages = ApprovalPages(
            self.store, self.approvals, operators, self.clock, self.metrics, signing_secret=self.secret
        )
        client = FakeClient(target, body, headers)
        await pages.routes()[at].handler(client)  # type: ignore[arg-type]
        return client

    async def opened(self, number: int = 1, principal: str = "bot") -> str:
        """Open an approval; return its id."""
        call = Call(NO_TENANT, principal, "support.refund", "POST x", f"sha256:{number:064x}")
        entry = decision(number, verdict="ESCALATE")
        standing = await self.approvals.standing(call)
        ruling = rule(
            standing,
            decision_id=entry.entry_id,
            policy_hash="p",
            at_ms=self.clock.now_ms,
            terms=Terms(1000, 1000),
        )
        await self.store.submit((entry, *ruling.events), steps=ruling.steps)
        return entry.entry_id


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """An empty one."""
    clock = StillClock()
    store = await open_sqlite(tmp_path / "a.db", clock=clock, randomness=CountedRandomness())
    async with store:
        yield Desk(store, clock, Approvals(store, clock), Metrics())


async def test_what_waits_is_listed(desk: Desk) -> None:
    """Newest first, with the action that is asked for; filters and cursor narrow it."""
    one, other = await desk.opened(1), await desk.opened(2, "other")
    listed: Any = (await desk.ask(LIST)).json
    assert [shown["approval_id"] for shown in listed["approvals"]] == [other, one]
    assert "action" in listed["approvals"][0]
    narrowed: Any = (await desk.ask(LIST, "/?state=pending&principal=bot")).json
    assert [shown["approval_id"] for shown in narrowed["approvals"]] == [one]
    first: Any = (await desk.ask(LIST, "/?limit=1")).json
    rest: Any = (await desk.ask(LIST, f"/?cursor={first['next_cursor']}")).json
    assert [shown["approval_id"] for shown in rest["approvals"]] == [one]


@pytest.mark.parametrize("query", ["state=x", "limit=0", "limit=501", "limit=-1", "x=1", "limit=1&limit=2"])
async def test_a_bad_filter_is_told(desk: Desk, query: str) -> None:
    """Unknown words, numbers out of range, and what stands there twice."""
    with pytest.raises(InvalidRequestError):
        await desk.ask(LIST, f"/?{query}")


async def test_one_is_shown(desk: Desk) -> None:
    """By its id; another id is none."""
    approval_id = await desk.opened()
    assert (await desk.ask(SHOW, f"/admin/approvals/{approval_id}")).json["state"] == "pending"
    for unknown in (entry_id(9), "x"):
        with pytest.raises(NotFoundError):
            await desk.ask(SHOW, f"/admin/approvals/{unknown}")


@pytest.mark.parametrize(("page", "state"), [(APPROVE, "approved"), (DENY, "denied")])
async def test_an_operator_speaks_once(desk: Desk, page: int, state: str) -> None:
    """The word is on record with name and reason, is counted, and cannot be said again."""
    approval_id = await desk.opened()
    target = f"/admin/approvals/{approval_id}/x"
    said = (await desk.ask(page, target, REASON, **ANN)).json
    assert (said["state"], said["resolved_by"], said["reason"]) == (state, "ann", "I know her")
    assert f'lumyn_approvals_total{{step="{state}"}} 1.0' in desk.metrics.render().decode()
    with pytest.raises(ApprovalError):
        await desk.ask(APPROVE, target, REASON, **ANN)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer agent"}])
async def test_nobody_else_speaks(desk: Desk, headers: dict[str, str]) -> None:
    """Without an operator's key nothing changes."""
    approval_id = await desk.opened()
    with pytest.raises(UnauthorizedError):
        await desk.ask(APPROVE, f"/admin/approvals/{approval_id}/approve", REASON, **headers)
    assert (await desk.approvals.find(approval_id)).resolved_by is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", MalformedRequestError),
        (b"[]", InvalidRequestError),
        (b"{}", InvalidRequestError),
        (b'{"reason":" "}', InvalidRequestError),
        (b'{"reason":"a","reason":"b"}', InvalidRequestError),
        (b'{"reason":"a","by":"bob"}', InvalidRequestError),
    ],
)
async def test_a_word_is_a_reason_and_nothing_else(desk: Desk, body: bytes, kind: type[Exception]) -> None:
    """An operator cannot speak in another's name, or without saying why."""
    approval_id = await desk.opened()
    with pytest.raises(kind):
        await desk.ask(APPROVE, f"/admin/approvals/{approval_id}/approve", body, **ANN)


async def test_with_a_secret_each_call_is_signed(desk: Desk) -> None:
    """The signature is asked for first, on every page, and does not stand in for the operator's key."""
    approval_id = await desk.opened()
    desk.secret = "s"
    target = f"/admin/approvals/{approval_id}/approve"
    for page, body in ((LIST, b""), (SHOW, b""), (APPROVE, REASON), (DENY, REASON)):
        with pytest.raises(UnauthorizedError):
            await desk.ask(page, target, body, **ANN)
    signed = {"x-lumyn-signature": sign(b"s", REASON)}
    with pytest.raises(UnauthorizedError):
        await desk.ask(APPROVE, target, REASON, **signed)
    assert (await desk.ask(APPROVE, target, REASON, **signed, **ANN)).json["state"] == "approved"
