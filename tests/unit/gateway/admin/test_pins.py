"""The pages of pins: what is in force, what waits, and what a word must say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.admin.pins import PinPages
from gateway.auth.signature import sign
from gateway.kernel.errors import InvalidRequestError, NotFoundError, UnauthorizedError
from gateway.pipeline.pins import Pins
from gateway.wire.mcp.listing import definitions
from tests.kit.fakeclient import FakeClient
from tests.unit.gateway.pipeline.conftest import desk, policies  # noqa: F401 - fixtures


def seen(**members: Any) -> Any:
    """A definition of `read`."""
    return [one for one in definitions({"tools": [{"name": "read", **members}]}) if one is not None]


@pytest.fixture
async def pins(desk) -> Pins:  # noqa: F811 - the fixture
    """One tool that has changed."""
    found = Pins(desk.store, desk.clock, desk.ids)
    await found.see("shop", seen())
    await found.see("shop", seen(description="other"))
    return found


async def ask(pins: Pins, method: str, body: Any = b"", *, secret: str | None = None, **headers: str) -> Any:
    """Ask a page."""
    [route] = [route for route in PinPages(pins, signing_secret=secret).routes() if route.method == method]
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    client = FakeClient(route.path, text, {name.replace("_", "-"): value for name, value in headers.items()})
    await route.handler(client)  # type: ignore[arg-type]
    return orjson.loads(client.answered)


async def test_what_is_shown(pins) -> None:
    """Both definitions, with their digests and the decisions that hold them."""
    [row] = (await ask(pins, "GET"))["pins"]
    assert (row["server"], row["tool"], row["state"]) == ("shop", "read", "held")
    assert orjson.loads(row["change"]["definition"])["description"] == "other"
    assert row["digest"] != row["change"]["digest"]
    assert row["at"].endswith("Z")


async def test_a_word_puts_the_change_in_force(pins) -> None:
    """Then nothing waits any more."""
    [row] = (await ask(pins, "GET"))["pins"]
    word = {"server": "shop", "tool": "read", "digest": row["change"]["digest"], "by": "ann", "reason": "r"}
    assert (await ask(pins, "POST", word))["digest"] == row["change"]["digest"]
    [row] = (await ask(pins, "GET"))["pins"]
    assert (row["state"], row["digest"], "change" in row) == ("pinned", word["digest"], False)
    with pytest.raises(NotFoundError):
        await ask(pins, "POST", word)


@pytest.mark.parametrize("missing", ["server", "tool", "digest", "by", "reason"])
@pytest.mark.parametrize("value", [None, "", " ", 5, "x" * 1001])
async def test_a_word_says_everything(pins, missing: str, value: Any) -> None:
    """Who, what, which digest and why: each is needed, and pointed at."""
    word = {"server": "shop", "tool": "read", "digest": "d", "by": "ann", "reason": "r", missing: value}
    with pytest.raises(InvalidRequestError) as caught:
        await ask(pins, "POST", word)
    assert caught.value.pointer == f"/{missing}"


async def test_what_is_no_word(pins) -> None:
    """A body that is no object, or holds a key twice."""
    for body in (b"[]", b'{"by":"a","by":"b"}'):
        with pytest.raises(InvalidRequestError):
            await ask(pins, "POST", body)


async def test_a_secret_is_asked_for(pins) -> None:
    """The signature covers the body."""
    with pytest.raises(UnauthorizedError):
        await ask(pins, "GET", secret="s")
    await ask(pins, "GET", secret="s", x_lumyn_signature=sign(b"s", b""))
    with pytest.raises(UnauthorizedError):
        await ask(pins, "POST", {"server": "shop"}, secret="s", x_lumyn_signature=sign(b"s", b""))
