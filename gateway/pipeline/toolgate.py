"""The gate of one answer: text goes by at once, tool calls when they are complete, judged and on record.

A streamed answer becomes one whose chunks are what may go on. Any other answer is read to its end first,
and goes on as it came, without the refused calls, or not at all. An answer that says it failed has no calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from gateway.kernel.errors import GatewayError, ToolCallRefusedError
from gateway.kernel.types import Fate
from gateway.pipeline.relayed import Answer
from gateway.pipeline.sighting import is_event_stream
from gateway.pipeline.tooljudge import Asker, ToolDesk, ToolJudge
from gateway.records.types import Entry
from gateway.wire.api import Api
from gateway.wire.toolcall.call import Call, Fault, UnreadableError, Verdict
from gateway.wire.toolcall.hold import CallHold, may_hold_call

_OF_BYTES: Final = frozenset(
    {b"content-length", b"content-md5", b"content-digest", b"repr-digest", b"digest", b"etag"}
)
"""Headers that say something of the very bytes, which may change."""
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


class ToolGate:
    """Implements `pipeline.ports.AnswerGate`."""

    __slots__ = ("_api", "_asker", "_desk", "_judge")

    def __init__(self, api: Api, desk: ToolDesk, asker: Asker) -> None:
        """`api` has a grammar."""
        self._api = api
        self._desk = desk
        self._asker = asker
        self._judge: ToolJudge | None = None

    async def open(self, answer: Answer, model: str | None, *, idle_s: float) -> Answer:
        """Return the answer as it may go on; see the port."""
        if not 200 <= answer.status < 300 or self._api.grammar is None:
            return answer
        judge = self._judge = ToolJudge(self._desk, replace(self._asker, model=model))
        if _is_coded(answer):
            raise await judge.unreadable(Fault.UNREADABLE, b"")
        if is_event_stream(answer):
            hold = CallHold(self._api.grammar(), bytes_max=self._desk.settings.held_bytes_max)
            return _GatedStream(answer, hold, judge, self._desk)
        return await self._whole(answer, judge, idle_s)

    def outcomes(self, fate: Fate) -> tuple[Entry, ...]:
        """Return the ends of the permitted calls; see the port."""
        return () if self._judge is None else self._judge.outcomes(fate)

    async def _whole(self, answer: Answer, judge: ToolJudge, idle_s: float) -> Answer:
        """Read an answer to its end and judge its calls."""
        assert self._api.grammar is not None
        body = await self._read(answer, idle_s)
        grammar = self._api.grammar()
        if body is None:
            raise await judge.unreadable(Fault.EVENT_TOO_LARGE, b"")
        if not may_hold_call(body, grammar.needles):
            return _WholeAnswer(answer, body, answer.headers)
        try:
            read: Any = grammar.read_body(body)
        except UnreadableError as error:
            raise await judge.unreadable(error.fault, body) from None
        verdicts = await judge.judge(grammar.calls.take_ready())
        for call, verdict in verdicts:
            call.verdict = verdict
        if not self._desk.settings.strip and (refusal := _first_refusal(verdicts)) is not None:
            raise refusal
        mended = grammar.render_body(body, read)
        if mended is body:
            return _WholeAnswer(answer, body, answer.headers)
        return _WholeAnswer(answer, mended, _without(answer.headers))

    async def _read(self, answer: Answer, idle_s: float) -> bytes | None:
        """Return the whole body, or None where it is over its bound. Raises UpstreamError."""
        pieces: list[bytes] = []
        size = 0
        while piece := await answer.chunk(idle_s):
            pieces.append(piece)
            size += len(piece)
            if size > self._desk.settings.body_bytes_max:
                return None
        return b"".join(pieces)


class _GatedStream:
    """A streamed answer of which only what may go on comes out. Implements `pipeline.ports.Answer`."""

    __slots__ = ("_answer", "_desk", "_ended", "_error", "_hold", "_judge", "_since_s", "headers")

    def __init__(self, answer: Answer, hold: CallHold, judge: ToolJudge, desk: ToolDesk) -> None:
        self._answer = answer
        self._hold = hold
        self._judge = judge
        self._desk = desk
        self._ended = False
        self._error: GatewayError | None = None
        self._since_s: float | None = None
        """Since when a call has been waiting for its end."""
        self.headers = _without(answer.headers)

    @property
    def status(self) -> int:
        """The final status code."""
        return self._answer.status

    @property
    def complete(self) -> bool:
        """The body came to the end that its framing declared."""
        return self._answer.complete

    @property
    def framed(self) -> bool:
        """The body has a declared end."""
        return self._answer.framed

    @property
    def buffered(self) -> bool:
        """`chunk()` would return at once, unless what has come is held."""
        return self._answer.buffered

    async def chunk(self, timeout_s: float) -> bytes:
        """Return the next bytes that may go on; empty at the end. Raises GatewayError."""
        hold = self._hold
        while True:
            if self._error is not None:
                raise self._error
            if hold.ready:
                out = await self._rule()
            elif hold.fault is not None:
                self._error = await self._judge.unreadable(hold.fault, hold.offending)
                continue
            elif self._ended:
                return b""
            elif data := await self._answer.chunk(timeout_s):
                out = hold.feed(data)
                self._watch_time()
            else:
                self._ended = True
                out = hold.end()
            if out:
                return out

    async def _rule(self) -> bytes:
        verdicts = await self._judge.judge(self._hold.take_ready())
        if not self._desk.settings.strip:
            # What came before a refused call may still go; what it blocks is never released.
            self._error = _first_refusal(verdicts)
            verdicts = [(call, verdict) for call, verdict in verdicts if verdict.permitted]
        return self._hold.rule(verdicts)

    def _watch_time(self) -> None:
        if not self._hold.waits:
            self._since_s = None
            return
        now_s = self._desk.clock.monotonic_s()
        if self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s > self._desk.settings.held_s:
            self._hold.give_up(Fault.HELD_TOO_LONG)


class _WholeAnswer:
    """An answer that has been read. Implements `pipeline.ports.Answer`."""

    __slots__ = ("_answer", "_body", "headers")

    buffered = True

    def __init__(self, answer: Answer, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._answer = answer
        self._body = body
        self.headers = headers

    @property
    def status(self) -> int:
        """The final status code."""
        return self._answer.status

    @property
    def complete(self) -> bool:
        """The body came to the end that its framing declared."""
        return self._answer.complete

    @property
    def framed(self) -> bool:
        """The body has a declared end."""
        return self._answer.framed

    async def chunk(self, timeout_s: float) -> bytes:  # noqa: ARG002 - the port's signature
        """Return the body, then nothing."""
        body, self._body = self._body, b""
        return body


def _first_refusal(verdicts: Sequence[tuple[Call, Verdict]]) -> ToolCallRefusedError | None:
    for call, verdict in verdicts:
        if not verdict.permitted:
            return ToolCallRefusedError(verdict.text.strip("[]"), pointer=call.place)
    return None


def _without(headers: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(pair for pair in headers if pair[0].lower() not in _OF_BYTES)


def _is_coded(answer: Answer) -> bool:
    """Tell whether the bytes are not the text itself: compressed, though we asked for none, or not UTF-8."""
    for name, value in answer.headers:
        lower = name.lower()
        if lower == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            return True
        if lower == b"content-type":
            parameters = [part.strip() for part in value.decode("latin-1").lower().split(";")[1:]]
            charsets = [part.partition("=")[2] for part in parameters if part.startswith("charset")]
            if any(charset.strip(" \"'") not in _CHARSETS for charset in charsets):
                return True
    return False
