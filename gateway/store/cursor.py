"""Keyset cursors, the same in every driver.

Of decisions: `<at_ms>-<position>` of the last one seen. Of claims: the id of the last decision seen.
A filter that hardly anything fits would walk through millions of decisions to fill one page. So a page
examines a bounded number; where it ends there, its cursor names the last decision examined, not found.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.ids import is_ulid
from gateway.store.port import DecisionFilter

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


def walks(wanted: DecisionFilter) -> bool:
    """Tell whether a page under this filter may have to pass by decisions that it does not want.

    Times bound the walk themselves, and a correlation id has an index of its own.
    """
    fields = (wanted.verdict, wanted.action_type, wanted.model, wanted.reason_code)
    return wanted.correlation_id is None and any(field is not None for field in fields)


def next_cursor(last: tuple[int, int] | None, floor_ms: int | None) -> str | None:
    """Return the cursor of the page after one, or None where there is nothing more.

    `last` is time and position of the page's last decision, where it was filled; `floor_ms` the time down
    to which all was examined, where the walk was bounded.
    """
    if last is not None:
        return cursor_after(*last)
    return None if floor_ms is None else cursor_after(floor_ms, 0)
