"""Segments are read together: heads grow, what is kept may later be released."""

from __future__ import annotations

import pytest

from gateway.store.anchor import Head
from gateway.store.segments import read_cuts, segment_text

LINK = bytes(range(32))


def test_no_segment_is_no_cut() -> None:
    """Where nothing was sealed, everything is still to be found from position 1 on."""
    cuts = read_cuts([])
    assert (cuts.last_position, dict(cuts.heads), dict(cuts.before), cuts.kept) == (0, {}, {}, frozenset())


def test_what_was_written_is_read() -> None:
    """Heads, kept runs and the links before them come back."""
    text = segment_text([Head("W", 9, LINK, 5)], [("W", 3, 5, LINK), ("V", 0, 0, b"\x00" * 32)], [])
    cuts = read_cuts([(12, text)])
    assert cuts.heads == {"W": Head("W", 9, LINK, 0)}
    assert cuts.before == {("W", 3): LINK, ("V", 0): b"\x00" * 32}
    assert cuts.kept == {("W", 3), ("W", 4), ("W", 5), ("V", 0)}


def test_later_segments_go_on_from_earlier_ones() -> None:
    """The furthest head and position count; what is released is kept no more, unless kept anew."""
    first = segment_text([Head("W", 9, LINK, 0)], [("W", 3, 6, LINK)], [])
    second = segment_text(
        [Head("W", 4, b"\x01" * 32, 0), Head("V", 1, LINK, 0)], [("W", 5, 6, LINK)], [("W", 3, 5)]
    )
    cuts = read_cuts([(12, first), (8, second)])
    assert cuts.last_position == 12
    assert {writer: head.seq for writer, head in cuts.heads.items()} == {"W": 9, "V": 1}
    assert cuts.kept == {("W", 5), ("W", 6)}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"heads": 1}', '{"heads": [["W", 1]], "kept": [], "released": []}']
)
def test_a_segment_that_is_none_is_a_value_error(text: str) -> None:
    """Whatever is damaged in a segment's row is one kind of error."""
    with pytest.raises(ValueError, match=r"."):
        read_cuts([(1, text)])
