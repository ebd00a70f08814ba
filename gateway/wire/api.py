"""The APIs that are relayed, each with its own way to say an error, an end, token counts and tool calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from gateway.kernel.errors import GatewayError
from gateway.kernel.types import JSONObject
from gateway.wire.errors import anthropic_error_event, openai_error_event, response_error_event
from gateway.wire.openai import Operation, is_json, read_usage_of_body
from gateway.wire.sse import StreamWatch
from gateway.wire.toolcall.chat import ChatGrammar
from gateway.wire.toolcall.hold import Grammar
from gateway.wire.toolcall.messages import MessageGrammar
from gateway.wire.toolcall.responses import ResponseGrammar
from gateway.wire.watches import MessageWatch, ResponseWatch, read_token_usage_of_body


@dataclass(frozen=True, slots=True)
class Api:
    """How one API says things. Immutable, and shared by all its exchanges."""

    watch: Callable[[], StreamWatch] | None
    """Makes what looks at a stream; None where its content says nothing of its end."""
    usage_of_body: Callable[[bytes], tuple[JSONObject | None, bool]]
    error_event: Callable[[GatewayError], bytes]
    grammar: Callable[[], Grammar] | None = None
    """Makes what reads tool calls; None where the API has none."""


COMPLETIONS: Final = Api(StreamWatch, read_usage_of_body, openai_error_event)
CHAT: Final = Api(StreamWatch, read_usage_of_body, openai_error_event, ChatGrammar)
RESPONSES: Final = Api(ResponseWatch, read_token_usage_of_body, response_error_event, ResponseGrammar)
MESSAGES: Final = Api(MessageWatch, read_token_usage_of_body, anthropic_error_event, MessageGrammar)

OPAQUE: Final = Api(None, lambda body: (None, is_json(body)), openai_error_event)
"""An answer that is not interpreted."""

STORED_RESPONSE: Final = replace(OPAQUE, grammar=ResponseGrammar)
STORED_CHAT: Final = replace(OPAQUE, grammar=ChatGrammar)
"""What was answered before and is read again: the same calls are in it."""

API_OF: Final[Mapping[Operation, Api]] = MappingProxyType(
    {
        Operation.CHAT: CHAT,
        Operation.COMPLETION: COMPLETIONS,
        Operation.EMBEDDING: COMPLETIONS,
        Operation.RESPONSE: RESPONSES,
        Operation.MESSAGE: MESSAGES,
        Operation.MODELS: COMPLETIONS,
        Operation.OTHER: OPAQUE,
    }
)
