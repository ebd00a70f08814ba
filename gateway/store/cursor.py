"""Keyset cursors: `<at_ms>-<position>` of the last decision seen, the same in every driver."""

from __future__ import annotations

import re
from typing import Final

from gateway.kernel.errors import InvalidRequestError

_CURSOR: Final = re.compile(r"(-?[0-9]{1,18})-([0-9]{1,18})")


def cursor_after(at_ms: int, position: int) -> str:
    """Return the cursor that goes on after a decision."""
    return f"{at_ms}-{position}"


def place_of(cursor: str) -> tuple[int, int]:
    """Return time and position of a cursor. Raises `InvalidRequestError` for one that is none of ours."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequestError("not a cursor of ours", pointer="/cursor", hint="use next_cursor as given")
    return int(match[1]), int(match[2])
