"""Action routes in the configuration: what is wrong is said with its place, before anything listens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.config import Config, load_config
from gateway.kernel.errors import InvalidConfigError
from tests.kit.tools import hash_of, route

ROUTE = route(9)


def wrong(directory: Path, **sections: Any) -> str:
    """Return what is said of a configuration that is not valid."""
    file = directory / "lumyn.yaml"
    file.write_bytes(orjson.dumps(sections))
    with pytest.raises(InvalidConfigError) as caught:
        load_config(str(file), {})
    return caught.value.message


def test_a_route_is_read() -> None:
    """A whole route, and the least there can be: a name, a place and where it goes."""
    [action] = Config.model_validate({"actions": [ROUTE]}).actions
    assert action.sources()["evidence.ticket_id"] == "body:/ticket"
    assert action.sources()["target.resource_id"] == "path:order_id"
    least = {"name": "a", "method": "POST", "path": "/a", "type": "x.y", "upstream": "http://tool"}
    [action] = Config.model_validate({"actions": [least]}).actions
    assert (action.effect, action.sources()) == ("write", {})


@pytest.mark.parametrize(
    ("changed", "place", "words"),
    [
        ({"path": "/v1/refunds"}, "actions.0.path", "the gateway's own"),
        ({"path": "/admin/x"}, "actions.0.path", "the gateway's own"),
        ({"path": "/mcp/x"}, "actions.0.path", "the gateway's own"),
        ({"path": "/a//b"}, "actions.0.path", "no segment"),
        ({"type": "Refund"}, "actions.0.type", "support.refund"),
        ({"method": "TRACE"}, "actions.0.method", "GET"),
        ({"effect": "maybe"}, "actions.0.effect", "write"),
        ({"addresses": ["10.0.0.1/8"]}, "actions.0.addresses.0", "host bits"),
        ({"evidence": {"ticket": "ticket"}}, "actions.0.evidence.ticket", "no source"),
        ({"evidence": {"Ticket": "body:/x"}}, "actions.0.evidence.Ticket", "match"),
        ({"evidence": {"ticket": "path:ticket_id"}}, "actions.0", "evidence.ticket: the path has no"),
        ({"evidence": {"token": "header:authorization"}}, "actions.0.evidence.token", "secret"),
        ({"amount": {"value": "body:/a"}}, "actions.0.amount.currency", "required"),
        ({"intent": "refund {order}"}, "actions.0", "intent: the path has no"),
        ({"intent": "refund {order_id"}, "actions.0", "intent: a brace"),
        ({"upstream_path": "/x/{other}"}, "actions.0", "upstream_path: the path has no"),
        ({"method": "GET"}, "actions.0", "a GET has no body"),
        ({"unknown": 1}, "actions.0.unknown", "not permitted"),
        ({"first_byte_s": 0}, "actions.0.first_byte_s", "greater"),
    ],
)
def test_what_is_wrong_has_a_place(tmp_path: Path, changed: dict[str, Any], place: str, words: str) -> None:
    """Each fault is one line with the key that holds it and the reason."""
    message = wrong(tmp_path, actions=[ROUTE | changed])
    [line] = [line for line in message.splitlines() if line.startswith("- ")]
    assert line.startswith(f"- {place}")
    assert words in line


@pytest.mark.parametrize(
    "other",
    [
        {"name": "other"},
        {"name": "other", "path": "/orders/{id}/refunds"},
        {"name": "other", "path": "/orders/open/{thing}"},
    ],
)
def test_two_routes_do_not_fit_one_request(tmp_path: Path, other: dict[str, Any]) -> None:
    """A request must have one route: which would decide it otherwise is nobody's guess."""
    changed = ROUTE | {"target": {}, "evidence": {}, "intent": None} | other
    message = wrong(tmp_path, actions=[ROUTE, changed])
    assert "`other` and `refunds` fit the same requests" in message


def test_methods_share_a_path() -> None:
    """Reading and writing under one path are two routes."""
    look = ROUTE | {"name": "look", "method": "GET", "effect": "read", "amount": None, "evidence": {}}
    assert len(Config.model_validate({"actions": [ROUTE, look]}).actions) == 2


def test_no_agent_is_an_operator(tmp_path: Path) -> None:
    """One hash cannot be an agent's and an operator's; names are unique."""
    key, operator = {"name": "bot", "hash": hash_of("k")}, {"name": "ann", "hash": hash_of("k")}
    assert "could approve itself" in wrong(tmp_path, keys=[key], operators=[operator])
    twice = [{"name": "ann", "hash": hash_of(text)} for text in "ab"]
    assert "`ann` stands there twice" in wrong(tmp_path, operators=twice)
    assert "`refunds` stands there twice" in wrong(tmp_path, actions=[ROUTE, ROUTE])
