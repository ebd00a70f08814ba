"""Keyset cursors, the same in every driver.

Of decisions: `<at_ms>-<position>` of the last one seen. Of claims: the id of the last decision seen.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.ids import is_ulid

_CURSOR: Final = re.compile(r"(-?[0-9]{1,18})-([0-9]{1,18})")


def cursor_after(at_ms: int, position: int) -> str:
    """Return the cursor that goes on after a decision."""
    return f"{at_ms}-{position}"


def place_of(cursor: str) -> tuple[int, int]:
    """Return time and position of a cursor. Raises `InvalidRequestError` for one that is none of ours."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise _foreign()
    return int(match[1]), int(match[2])


def check_id_cursor(cursor: str) -> str:
    """Return the decision id that a cursor is. Raises as `place_of`."""
    if not is_ulid(cursor):
        raise _foreign()
    return cursor


def _foreign() -> InvalidRequestError:
    return InvalidRequestError("not a cursor of ours", pointer="/cursor", hint="use next_cursor as given")
