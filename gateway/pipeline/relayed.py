"""What an exchange needs of an answer on its way: the answer, who watches it, who gates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.kernel.types import Fate, JSONObject
from gateway.records.types import Entry


class Answer(Protocol):
    """A backend's answer, as it arrives."""

    @property
    def status(self) -> int:
        """The final status code."""
        ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers as they came."""
        ...

    @property
    def complete(self) -> bool:
        """The body came to the end that its framing declared."""
        ...

    @property
    def framed(self) -> bool:
        """The body has a declared end."""
        ...

    @property
    def buffered(self) -> bool:
        """`chunk()` would return at once."""
        ...

    async def chunk(self, timeout_s: float) -> bytes:
        """Return the bytes that have arrived; empty at the end. Raises UpstreamError."""
        ...


class Watch(Protocol):
    """What looks at an answer as it is relayed, and says at its end whether it is whole."""

    @property
    def done(self) -> bool:
        """The end mark of the content has come, whatever the transport says."""
        ...

    @property
    def error_seen(self) -> bool:
        """The backend says inside its answer that it did not do it."""
        ...

    @property
    def content_seen(self) -> bool:
        """The first content has come."""
        ...

    @property
    def usage(self) -> JSONObject | None:
        """The token counts that the backend reports."""
        ...

    @property
    def events(self) -> int:
        """Events so far."""
        ...

    @property
    def findings(self) -> JSONObject | None:
        """What else an outcome says of the answer."""
        ...

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes."""
        ...


class AnswerGate(Protocol):
    """What stands between a backend's answer and the client: tool calls are judged before they go on."""

    async def open(self, answer: Answer, model: str | None, *, idle_s: float) -> Answer:
        """Return the answer as it may go on. Its `chunk` may raise any GatewayError.

        An answer that is not streamed is read to its end and judged first. Raises GatewayError where
        nothing of it may go on: nothing has been sent then.
        """
        ...

    def outcomes(self, fate: Fate) -> tuple[Entry, ...]:
        """Return the ends of the calls that were permitted, given that of the answer which carried them."""
        ...
