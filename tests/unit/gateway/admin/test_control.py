"""The controller's pages: what they show, what they refuse, who may set the mode."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.admin.control import ControlPages
from gateway.auth.signature import sign
from gateway.kernel.errors import InvalidRequestError, MalformedRequestError, UnauthorizedError
from tests.kit.fakeclient import FakeClient


class Controlled:
    """A governor that has one intent and follows two modes."""

    mode = "active"

    def intents(self) -> list[dict[str, Any]]:
        return [{"intent": "chat"}]

    def control(self) -> dict[str, Any]:
        return {"mode": self.mode}

    def set_mode(self, mode: str) -> bool:
        if mode not in {"active", "bypass"}:
            return False
        self.mode = mode
        return True


async def ask(at: int, body: bytes = b"", *, secret: str | None = None, **headers: str) -> Any:
    """Ask one of the three pages."""
    client = FakeClient(body=body, headers=headers)
    routes = ControlPages(Controlled(), signing_secret=secret).routes()
    await routes[at].handler(client)  # type: ignore[arg-type]
    return orjson.loads(client.answered)


async def test_the_pages() -> None:
    """Reports, state, and the mode that was set."""
    assert await ask(0) == {"intents": [{"intent": "chat"}]}
    assert await ask(1) == {"mode": "active"}
    assert await ask(2, b'{"mode":"bypass"}') == {"mode": "bypass"}


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"mode":1}', b'{"mode":"off"}'])
async def test_what_is_no_mode_is_refused(body: bytes) -> None:
    """With the modes that there are."""
    with pytest.raises(InvalidRequestError, match="active, shadow or bypass"):
        await ask(2, body)


async def test_what_is_no_json_is_refused() -> None:
    """As any other body."""
    with pytest.raises(MalformedRequestError):
        await ask(2, b"{")


async def test_with_a_secret_every_call_is_signed() -> None:
    """Over its body: nobody else stops a controller."""
    body = b'{"mode":"bypass"}'
    for at in range(3):
        with pytest.raises(UnauthorizedError):
            await ask(at, body if at == 2 else b"", secret="s")
    signature = sign(b"s", body)
    assert await ask(2, body, secret="s", **{"x-lumyn-signature": signature}) == {"mode": "bypass"}
