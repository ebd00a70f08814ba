"""What the controller's shell needs of the world, as protocols. No behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start. Never goes back."""
        ...


class SignalSource(Protocol):
    """A backend's own metrics, as text. Corroboration only: the loop works without any."""

    async def metrics_text(self) -> str:
        """Return the Prometheus exposition; raise OSError or TimeoutError where it cannot be had."""
        ...


class Journal(Protocol):
    """Where control records go: ticks under pressure, epochs, changes of mode and of intents."""

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Enqueue one record; must not block and must not raise."""
        ...


class Asked(Protocol):
    """What is known of a request that wants to leave. Counts only."""

    @property
    def ticket(self) -> str:
        """Its name, never used twice."""
        ...

    @property
    def intent(self) -> str | None:
        """The intent that the client names."""
        ...

    @property
    def permitted(self) -> tuple[str, ...]:
        """Shell-style patterns of the intents that its key may use."""
        ...

    @property
    def key(self) -> str:
        """Whose key it came with."""
        ...

    @property
    def tenant(self) -> str | None:
        """For whom."""
        ...

    @property
    def route(self) -> str:
        """The path of the API."""
        ...

    @property
    def model(self) -> str:
        """The model asked for."""
        ...

    @property
    def stream(self) -> bool:
        """Whether its first token will be seen."""
        ...

    @property
    def input_tokens(self) -> int:
        """Estimated."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """What bounds the answer."""
        ...

    @property
    def fields(self) -> Mapping[str, int | str]:
        """The fields of the body that steer an engine, as they stand there."""
        ...

    @property
    def choices(self) -> int:
        """How many answers are asked for at once."""
        ...

    @property
    def service_tier(self) -> str | None:
        """OpenAI's `service_tier`."""
        ...

    @property
    def arrived_s(self) -> float:
        """Of the monotonic clock."""
        ...


class Ending(Protocol):
    """How a request that was let go ended."""

    @property
    def fate(self) -> str | None:
        """Its sealed fate, None where nothing was recorded."""
        ...

    @property
    def forwarded(self) -> bool:
        """Whether it reached a backend."""
        ...

    @property
    def status(self) -> int | None:
        """The backend's."""
        ...

    @property
    def error(self) -> str | None:
        """The code of what went wrong."""
        ...

    @property
    def input_tokens(self) -> int | None:
        """By the usage, None without one."""
        ...

    @property
    def output_tokens(self) -> int:
        """By the usage or the stream."""
        ...

    @property
    def cached_tokens(self) -> int:
        """Of the input."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether the answer might have been longer."""
        ...
