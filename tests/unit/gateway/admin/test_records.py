"""The records' pages: what a query means, what is refused, who may look."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.admin.records import RecordPages
from gateway.auth.signature import sign
from gateway.kernel.errors import InvalidRequestError, NotFoundError, UnauthorizedError
from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.store.port import DecisionFilter, Page
from tests.kit.entries import decision, entry_id
from tests.kit.fakeclient import FakeClient


class Asked:
    """A store and a reader that note what they were asked."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def decisions(self, scope: Any, wanted: DecisionFilter, *, limit: int, cursor: str | None) -> Page:
        self.calls.append((scope, wanted, limit, cursor))
        return Page((decision(2, body=b'{"n":2}'), decision(1, body=b'{"n":1}')), "next")

    async def read(self, scope: Any, decision_id: str) -> bytes:
        self.calls.append((scope, decision_id))
        return b'{"n":1}'


async def ask(target: str, *, secret: str | None = None, **headers: str) -> tuple[FakeClient, Asked]:
    """Ask one page."""
    asked = Asked()
    pages = RecordPages(asked, asked, signing_secret=secret)  # type: ignore[arg-type]
    listing, one = pages.routes()
    client = FakeClient(target, headers=headers)
    handler = listing.handler if client.path == "/admin/decisions" else one.handler
    await handler(client)  # type: ignore[arg-type]
    return client, asked


async def test_a_page() -> None:
    """The records as they are stored, in the store's order, with the cursor."""
    client, asked = await ask("/admin/decisions")
    assert client.json == {"decisions": [{"n": 2}, {"n": 1}], "next_cursor": "next"}
    assert asked.calls == [(EVERY_TENANT, DecisionFilter(), 50, None)]


async def test_every_filter() -> None:
    """Each parameter narrows what it names."""
    _, asked = await ask(
        "/admin/decisions?verdict=QUERY&action_type=a.b&tenant=acme&model=m&reason_code=R&request_id=r"
        "&since=5&until=2026-01-31T12:00:00%2B01:00&limit=500&cursor=c"
    )
    wanted = DecisionFilter("QUERY", "a.b", "m", "R", "r", 5, 1_769_857_200_000)
    assert asked.calls == [(Tenant("acme"), wanted, 500, "c")]


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31T12:00:00", 1_769_860_800_000),
        ("2026-01-31T12:00:00.5Z", 1_769_860_800_500),
        ("2026-01-31T12:00:00+01:00", 1_769_857_200_000),
        ("2026-01-31", 1_769_817_600_000),
        ("1969-12-31T23:59:59Z", -1_000),
        ("1769860800000", 1_769_860_800_000),
    ],
)
async def test_instants(text: str, at_ms: int) -> None:
    """RFC 3339, also where the query made a plus sign a space, or milliseconds; UTC where none is named."""
    _, asked = await ask(f"/admin/decisions?since={text}")
    assert asked.calls[0][1].since_ms == at_ms


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "until=",
        "since=12:00",
        "since=1234567890123456",
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=",
        "limit=1e2",
        "limit=٣",
        "limit=0000000019999",
        "verdict=trust",
        "verdict=",
        "colour=red",
        "model=a&model=b",
        "&".join(f"a{number}=1" for number in range(101)),
    ],
)
async def test_what_is_refused(query: str) -> None:
    """A parameter that is wrong, unknown, twice there or one of a flood is 422."""
    with pytest.raises(InvalidRequestError):
        await ask(f"/admin/decisions?{query}")


async def test_one_record() -> None:
    """By its id, in every tenant; what is no id is not looked for."""
    client, asked = await ask(f"/admin/decisions/{entry_id(1)}")
    assert client.json == {"n": 1}
    assert asked.calls == [(EVERY_TENANT, entry_id(1))]
    with pytest.raises(NotFoundError):
        await ask("/admin/decisions/x")


@pytest.mark.parametrize("target", ["/admin/decisions", f"/admin/decisions/{entry_id(1)}"])
async def test_with_a_secret_each_page_is_signed(target: str) -> None:
    """The signature is over an empty body; without it nothing is shown."""
    with pytest.raises(UnauthorizedError):
        await ask(target, secret="s")
    client, _ = await ask(target, secret="s", **{"x-lumyn-signature": sign(b"s", b"")})
    assert client.status == 200
