"""The bodies that users send: prompts of a wanted number of tokens, and tool actions to ask about. Pure.

Prompts are words of three letters: with its space each is a token of the simulator and four characters, which
is what gateways count where they have no tokenizer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

_VOCABULARY: Final = """
    the and for not you all can her was one our out day get has him his how man new now old see two way who
    boy did its let put say she too use why ask big few got job law lot may men own run set six sun ten top
"""
_WORDS: Final = _VOCABULARY.split()
_CHAT_TOKENS: Final = 10
"""What a chat template adds to one message on the simulator."""
_AMOUNTS: Final[Sequence[tuple[float, float]]] = ((0.7, 12.5), (0.2, 950.0), (0.1, 40.0))
"""Shares of refunds by amount: small ones pass the support policy, large ones need a person."""


def prompt(number: int, tokens: int, draw: random.Random) -> str:
    """Return a prompt of about `tokens` tokens that begins like no other's: prefixes must not be cached."""
    words = [f"{number:03d}", *draw.choices(_WORDS, k=max(tokens - _CHAT_TOKENS - 1, 1))]
    return " ".join(words)


def chat_tail(text: str, *, max_tokens: int, extra: Mapping[str, Any] | None = None) -> bytes:
    """Return a streamed chat request without its beginning, which names the model; see `chat_body`."""
    value = {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **(extra or {}),
    }
    return orjson.dumps(value)[1:]


def chat_body(model: str, tail: bytes) -> bytes:
    """Return the whole body for a model."""
    return b'{"model":' + orjson.dumps(model) + b"," + tail


def refund_tail(ticket: str, u: float) -> bytes:
    """Return a tool action without its beginning, its request id: a refund, its amount drawn by `u`."""
    amount = _AMOUNTS[-1][1]
    for share, value in _AMOUNTS:
        if u < share:
            amount = value
            break
        u -= share
    question = {
        "schema_version": "decision_request.v0",
        "subject": {"type": "agent", "id": "support-agent"},
        "action": {
            "type": "support.refund",
            "intent": "Refund a duplicate charge",
            "amount": {"value": amount, "currency": "USD"},
        },
        "evidence": {
            "ticket_id": f"T-{ticket}",
            "order_id": f"O-{ticket}",
            "customer_id": "C-1",
            "payment_instrument_risk": "low",
            "chargeback_risk": 0.05,
            "previous_refund_count_90d": 0,
            "customer_age_days": 400,
        },
        "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
    }
    return orjson.dumps(question)[1:]


def refund_body(request_id: str, tail: bytes) -> bytes:
    """Return the whole question under a request id."""
    return b'{"request_id":' + orjson.dumps(request_id) + b"," + tail
