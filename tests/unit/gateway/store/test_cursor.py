"""A cursor says where a page ended, and nothing else is one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.errors import InvalidRequestError
from gateway.store.cursor import check_id_cursor, cursor_after, next_cursor, place_of, walks
from gateway.store.port import DecisionFilter
from gateway.store.rows import TIME_MAX_MS
from tests.kit.entries import entry_id


@given(st.integers(-TIME_MAX_MS, TIME_MAX_MS), st.integers(0, 10**18 - 1))
def test_a_cursor_is_read_back(at_ms: int, position: int) -> None:
    """Time and position come back, for every time that can be stored."""
    assert place_of(cursor_after(at_ms, position)) == (at_ms, position)


@given(st.text("0123456789-x\u0661", max_size=8) | st.text(max_size=8))
def test_any_other_text_is_refused(text: str) -> None:
    """A text is either exactly a cursor of ours or InvalidRequestError, never another error."""
    if re.fullmatch(r"-?[0-9]{1,18}-[0-9]{1,18}", text):
        assert place_of(text) == tuple(map(int, text.rsplit("-", 1)))
        return
    with pytest.raises(InvalidRequestError) as caught:
        place_of(text)
    assert caught.value.pointer == "/cursor"


def test_a_claim_s_cursor_is_a_decision_id() -> None:
    """An id is one; anything else is refused as another cursor is."""
    assert check_id_cursor(entry_id(1)) == entry_id(1)
    for text in ("", "1-2", entry_id(1).lower(), entry_id(1) + "\n"):
        with pytest.raises(InvalidRequestError):
            check_id_cursor(text)


@pytest.mark.parametrize("text", ["1-2\n", " 1-2", "1--2", "\u0661-1", "9" * 19 + "-1"])
def test_near_misses(text: str) -> None:
    """What Python's int would take, or a pattern without an end, is refused."""
    with pytest.raises(InvalidRequestError):
        place_of(text)


def test_the_next_page_begins_behind_what_was_examined() -> None:
    """Behind the last decision of a full page, else behind the last one looked at; the end has no cursor."""
    assert place_of(next_cursor((7, 3), 5) or "") == (7, 3)
    assert place_of(next_cursor(None, 5) or "") == (5, 0)
    assert place_of(next_cursor(None, 0) or "") == (0, 0)
    assert next_cursor(None, None) is None


@pytest.mark.parametrize(
    ("wanted", "passes_by"),
    [
        (DecisionFilter(), False),
        (DecisionFilter(since_ms=0, until_ms=9), False),
        (DecisionFilter(verdict="TRUST"), True),
        (DecisionFilter(action_type="a"), True),
        (DecisionFilter(model="m", since_ms=0), True),
        (DecisionFilter(reason_code="R"), True),
        (DecisionFilter(correlation_id="c", verdict="TRUST"), False),
    ],
)
def test_a_page_is_bounded_where_it_may_pass_decisions_by(wanted: DecisionFilter, passes_by: bool) -> None:
    """Only what an index cannot find at once makes a page walk."""
    assert walks(wanted) is passes_by
