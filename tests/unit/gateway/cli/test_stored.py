"""What all commands about one stored decision have in common."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("words", [("show",), ("explain",), ("export",), ("replay",), ("label", "--failure")])
def test_an_unknown_id_is_told(lumyn, decision_id: str, words: tuple[str, ...]) -> None:
    """Each command ends with 1 and names the id."""
    del decision_id
    told = lumyn(words[0], "01ARZ3NDEKTSV4RRFFQ69G5FAV", *words[1:])
    assert told.code == 1
    assert told.err.startswith("error: decision not found: 01ARZ3NDEKTSV4RRFFQ69G5FAV")
