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
