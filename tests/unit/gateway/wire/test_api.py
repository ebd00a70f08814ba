"""The APIs, each with its own words."""

from __future__ import annotations

import orjson
import pytest

from gateway.kernel.errors import StoreUnavailableError
from gateway.wire.api import API_OF, CHAT, MESSAGES, OPAQUE, RESPONSES, STORED_CHAT, STORED_RESPONSE
from gateway.wire.openai import Operation
from tests.kit.toolstreams import events


def test_every_operation_has_an_api() -> None:
    """Nothing that is served is left without."""
    assert set(API_OF) == set(Operation)
    assert (API_OF[Operation.CHAT], API_OF[Operation.OTHER]) == (CHAT, OPAQUE)


@pytest.mark.parametrize("api", [CHAT, RESPONSES, MESSAGES])
def test_an_error_event_is_an_event_of_its_api(api) -> None:
    """It carries the code, and clients that look for `error` find it."""
    [event] = events(api.error_event(StoreUnavailableError("disk full")))
    assert event["error"]["message"] == "disk full"
    assert event["error"]["code"] == "STORAGE_UNAVAILABLE"
    assert event.get("type") == (None if api is CHAT else "error")


def test_the_anthropic_type_is_one_that_its_clients_know() -> None:
    """503 is `overloaded_error`, and the code stands beside it."""
    [event] = events(MESSAGES.error_event(StoreUnavailableError("full")))
    assert event["error"]["type"] == "overloaded_error"


def test_what_is_not_interpreted_says_nothing() -> None:
    """No watch, no counts; JSON to its end is whole. Stored answers have calls all the same."""
    assert OPAQUE.watch is None
    assert OPAQUE.usage_of_body(orjson.dumps({"usage": {"prompt_tokens": 1}})) == (None, True)
    assert OPAQUE.usage_of_body(b"{") == (None, False)
    assert OPAQUE.grammar is None
    assert STORED_CHAT.grammar is CHAT.grammar
    assert STORED_RESPONSE.grammar is RESPONSES.grammar
