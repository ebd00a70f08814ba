"""Instants as people write them at a prompt: a date, an RFC 3339 time, or an age."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import typer

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE: Final = re.compile(r"([0-9]{1,6})([smhdw])")


def instant_ms(text: str | None, option: str) -> int | None:
    """Return milliseconds since 1970 UTC, or None for None. Another spelling is a usage error.

    A time without a zone is UTC, as records print theirs.
    """
    if text is None:
        return None
    if (age := _AGE.fullmatch(text)) is not None:
        from gateway.system import SystemClock

        return SystemClock().wall_ms() - int(age.group(1)) * _UNITS_S[age.group(2)] * 1000
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{option} is no instant: {text!r}; write 2026-01-31, 2026-01-31T12:00:00Z, 24h or 7d"
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
