"""The action gate's parts joined: what a wrong upstream is told before anything listens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config
from gateway.gate import check_actions
from gateway.kernel.errors import InvalidConfigError
from tests.kit.gateways import running_gateway
from tests.kit.rawpeer import Wire, raw_server
from tests.kit.tools import KEYS, act, ask, json_of, route


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"upstream": "ftp://tool"}, "no http or https URL"),
        ({"upstream": "http://user:pw@tool"}, "may not carry credentials"),
        ({"upstream": "http://tool?x=1"}, "no query"),
        ({"addresses": []}, "127.0.0.1 is not public"),
        ({"upstream": "http://169.254.169.254/latest", "addresses": []}, "is not public"),
        ({"upstream": "http://[::1]:9", "addresses": []}, "is not public"),
    ],
)
def test_a_wrong_upstream_is_told_with_its_place(changed: dict[str, Any], words: str) -> None:
    """The route's name, the reason, and never the URL's password."""
    config = Config.model_validate({"actions": [route(9, **changed)]})
    with pytest.raises(InvalidConfigError) as caught:
        check_actions(config)
    assert caught.value.message.startswith("actions.refunds.upstream")
    assert words in caught.value.message
    assert "pw" not in caught.value.message


def test_a_right_one_is_not() -> None:
    """An allowed address, and a name, which is looked up when it is used."""
    check_actions(Config.model_validate({"actions": [route(9)]}))
    named = route(9, upstream="https://tool.example/v1", addresses=[])
    check_actions(Config.model_validate({"actions": [named]}))
    check_actions(Config())


async def test_without_actions_approvals_are_served(tmp_path: Path) -> None:
    """Other surfaces ask people too, so the pages are always there."""
    async with running_gateway(tmp_path) as gate:
        listed = await ask(gate.admin_port, "GET", "/admin/approvals", key=None)
        assert (listed.status, json_of(listed)["approvals"]) == (200, [])
        shown = await ask(gate.port, "GET", "/v0/approvals/01ARZ3NDEKTSV4RRFFQ69G5FAV", key=None)
        assert shown.status == 404


async def test_a_name_that_leads_to_loopback_is_refused(tmp_path: Path) -> None:
    """What a name leads to is checked when it is used: nothing is connected, and the agent is told."""

    async def never(wire: Wire) -> None:
        raise AssertionError("a connection was made")

    async with raw_server(never) as peer:
        hidden = route(peer.port, upstream=f"http://localhost:{peer.port}", addresses=[])
        async with running_gateway(tmp_path, keys=KEYS, actions=[hidden]) as gate:
            got = await act(gate.port)
            assert (got.status, json_of(got)["reason_code"]) == (502, "UPSTREAM_ADDRESS_REFUSED")
            assert "127.0.0.1" not in got.body.decode()
            assert (await gate.outcomes())[0]["fate"] == "failed"
        assert peer.accepted == 0


async def test_each_route_has_its_own_deadline(tmp_path: Path) -> None:
    """A tool that says nothing is given up after its route's time, not after a model's."""

    async def silent(wire: Wire) -> None:
        await wire.read_request()
        await wire.read_all()

    async with raw_server(silent) as peer:
        slow = route(peer.port, first_byte_s=0.05)
        async with running_gateway(tmp_path, keys=KEYS, actions=[slow]) as gate:
            got = await act(gate.port)
            assert (got.status, json_of(got)["reason_code"]) == (504, "UPSTREAM_TIMEOUT")


async def test_a_credential_of_the_route_replaces_the_client_s(tmp_path: Path) -> None:
    """The tool sees the route's key and never the agent's."""
    seen: list[str | None] = []

    async def tool(wire: Wire) -> None:
        asked = await wire.read_request()
        seen.append(asked.header("authorization"))
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with (
        raw_server(tool) as peer,
        running_gateway(tmp_path, keys=KEYS, actions=[route(peer.port, api_key="of-the-tool")]) as gate,
    ):
        assert (await act(gate.port)).status == 200
    assert seen == ["Bearer of-the-tool"]
