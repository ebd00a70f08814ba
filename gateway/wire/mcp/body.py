"""The bytes of a call: what of them is digested, and what is taken out before they go on.

A record names the digest of the `params` as received, an approval binds to the digest of the `arguments` as
written; neither is read and written anew. What is ours in a repeated call (our `requestState`, our questions'
answers) is cut out, what the server gave the client before is put back, and every other byte stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.kernel.canon import canonical_bytes, sha256_digest
from gateway.kernel.types import JSONObject
from gateway.wire.mcp.state import OWN_KEYS
from gateway.wire.spans import members, value_of, with_value, with_values, without

_STATE: Final = "requestState"
_RESPONSES: Final = "inputResponses"


@dataclass(frozen=True, slots=True)
class CallText:
    """A `tools/call` message as text, and the texts of two of its parts."""

    message: str
    params: str
    arguments: str
    """`{}` where there are none: to a tool it is the same."""

    @property
    def params_digest(self) -> str:
        """The digest of the parameters as received."""
        return sha256_digest(self.params.encode())

    def arguments_digest(self, answers: JSONObject) -> str:
        """Return the digest of what decides what is done: the arguments, and evidence that was asked for.

        With no such evidence it is the digest of the arguments' own bytes.
        """
        text = self.arguments.encode()
        return sha256_digest(text + b"\n" + canonical_bytes(answers) if answers else text)

    def of_server(self, *, state_is_ours: bool) -> JSONObject:
        """Return the members that belong to the server, as text: its state, and answers to its questions."""
        carried: JSONObject = {}
        state = value_of(self.params, _STATE)
        if state is not None and not state_is_ours:
            carried[_STATE] = state
        responses = _without_ours(value_of(self.params, _RESPONSES))
        if responses is not None:
            carried[_RESPONSES] = responses
        return carried

    def for_server(self, carried: Mapping[str, str]) -> bytes:
        """Return the message with the server's own state and answers, and without ours."""
        params = with_values(without(self.params, {_STATE, _RESPONSES}), carried)
        return with_value(self.message, "params", params).encode()


def read_call(body: bytes) -> CallText:
    """Return the texts of a call that has been read as a message with an object of `params`."""
    message = body.decode()
    params = value_of(message, "params") or "{}"
    return CallText(message, params, value_of(params, "arguments") or "{}")


def input_state(message: str) -> str | None:
    """Return the `requestState` of an `input_required` response as JSON text, None where it has none."""
    result = value_of(message, "result")
    return None if result is None else value_of(result, _STATE)


def with_state(message: str, token: str) -> str:
    """Return an `input_required` response with another state."""
    result = value_of(message, "result") or "{}"
    return with_value(message, "result", with_value(result, _STATE, orjson.dumps(token).decode()))


def _without_ours(responses: str | None) -> str | None:
    """Return answers without those to our questions, None where nothing is left."""
    if responses is None or not responses.startswith("{"):
        return responses
    ours = {span.key for span in members(responses) if span.key.startswith(OWN_KEYS)}
    left = without(responses, ours)
    return left if members(left) else None
