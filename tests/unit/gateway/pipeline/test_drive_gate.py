"""The driver with a gate in an answer's way: what it asks of it, and what it tells the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.kernel.errors import (
    AnswerUnreadableError,
    GatewayError,
    StoreUnavailableError,
    ToolCallRefusedError,
)
from gateway.kernel.types import Fate
from gateway.records.types import Entry
from gateway.wire.api import MESSAGES
from tests.kit.entries import event
from tests.kit.playbook import LEAVES, SSE_HEAD, STOPS, Head, Playbook, verdict

SEND = "send POST /v1/chat/completions"
DONE = b"data: [DONE]\n\n"


@dataclass
class Gate:
    """Puts its own pieces in the place of the backend's, or raises."""

    pieces: Sequence[bytes | GatewayError] = ()
    refuses: GatewayError | None = None
    media: Any = SSE_HEAD
    told: list[Fate] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)

    async def open(self, answer: Any, model: str | None, *, idle_s: float) -> Any:
        self.opened.append((answer, model, idle_s))
        if self.refuses is not None:
            raise self.refuses
        return _Opened(list(self.pieces), self.media)

    def outcomes(self, fate: Fate) -> tuple[Entry, ...]:
        self.told.append(fate)
        return (event(7, "01TOOL"),)


class _Opened:
    status, complete, framed, buffered = 200, True, True, False

    def __init__(self, pieces: list[bytes | GatewayError], headers: Any) -> None:
        self._pieces, self.headers = pieces, headers

    async def chunk(self, timeout_s: float) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, GatewayError):
            raise piece
        return piece


def book(gate: Gate, **changed: Any) -> Playbook:
    """The way to the head of an answer that goes through a gate."""
    admitted = verdict(gate=gate, **changed)
    return Playbook() << "read" << "decide" >> admitted << "commit decision" << SEND >> Head(headers=SSE_HEAD)


async def test_what_the_gate_gives_is_what_the_client_gets() -> None:
    """The driver reads the gated answer alone, releases the backend's, and records both fates at once."""
    gate = Gate([b"data: {}\n\n", DONE])
    script = book(gate) << "head 200" << "relay 10" << f"relay {len(DONE)}"
    played = await (script << "queue outcome:complete + outcome:complete" << "end" << "release").play()
    assert played.raised is None
    assert gate.told == [Fate.COMPLETE]
    [(answer, model, idle_s)] = gate.opened
    assert isinstance(answer, Head)
    assert (model, idle_s) == ("m", 5.0)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ToolCallRefusedError("no"), "error 403 TOOL_CALL_REFUSED"),
        (AnswerUnreadableError("no"), "error 502 ANSWER_UNREADABLE"),
        (StoreUnavailableError("no"), "error 503 STORAGE_UNAVAILABLE"),
    ],
)
async def test_a_gate_that_lets_nothing_through(error: GatewayError, line: str) -> None:
    """No head has gone: the client gets a status, the backend is released first, the fate is `failed`."""
    gate = Gate(refuses=error)
    script = book(gate) << "release" << "queue outcome:failed + outcome:complete" << line
    played = await script.play()
    assert gate.told == [Fate.FAILED]
    assert played.outcomes[0]["error"] == line.split()[2]


@pytest.mark.parametrize(
    "error", [ToolCallRefusedError("no"), AnswerUnreadableError("no"), StoreUnavailableError("no")]
)
async def test_a_gate_that_ends_a_stream(error: GatewayError) -> None:
    """What passed has passed; then an event of the API says why, and the fate is `cut`."""
    gate = Gate([b"data: {}\n\n", error])
    script = book(gate) << "head 200" << "relay 10" << "release"
    played = await (script << "queue outcome:cut + outcome:complete" << "break event").play()
    assert gate.told == [Fate.CUT]
    assert error.code.encode() in played.ports.sent[-1]


async def test_the_last_event_is_in_the_shape_of_the_api() -> None:
    """An error inside a message is one of Anthropic's."""
    gate = Gate([StoreUnavailableError("no")])
    script = book(gate, api=MESSAGES) << "head 200" << "release"
    played = await (script << "queue outcome:cut + outcome:complete" << "break event").play()
    assert played.ports.sent[-1].startswith(b'event: error\ndata: {"type":"error"')


@pytest.mark.parametrize(("how", "fate"), [(LEAVES, Fate.CLIENT_GONE), (STOPS, Fate.CUT)])
async def test_who_leaves_ends_the_calls_too(how: str, fate: Fate) -> None:
    """Wherever it happens behind the head, what was permitted has the fate of its answer, once."""
    gate = Gate([b"data: {}\n\n", DONE])
    played = await (book(gate) << "head 200" << "relay 10" >> how).run()
    assert gate.told == [fate]
    assert played.ending.fate is fate


async def test_without_a_gate_nobody_is_asked() -> None:
    """The usual way has no gate and the backend's own answer."""
    script = Playbook() << "read" << "decide" << "commit decision" << SEND >> Head(headers=SSE_HEAD)
    script = script << "head 200" << "chunk" >> DONE << f"relay {len(DONE)}" << "chunk"
    played = await (script << "queue outcome:complete" << "end" << "release").play()
    assert len(played.outcomes) == 1
