"""What all commands about one stored decision have in common."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("words", [("show",), ("explain",), ("export",), ("replay",), ("label", "--failure")])
def test_an_unknown_id_is_told(lumyn, decision_id: str, words: tuple[str, ...]) -> None:
    """Each command ends with 1 and names the id."""
    del decision_id
    told = lumyn(words[0], "01ARZ3NDEKTSV4RRFFQ69G5FAV", *words[1:])
    assert told.code == 1
    assert told.err.startswith("error: decision not found: 01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_a_broken_policy_does_not_hide_what_is_stored(lumyn, decision_id: str) -> None:
    """While the workspace's policy is invalid records can still be read, labelled, packed and replayed."""
    Path(".lumyn/policy.yml").write_text("nonsense: 1\n")
    for words in (("show",), ("explain",), ("label", "--failure"), ("replay",), ("export", "--out", "a.zip")):
        assert lumyn(words[0], decision_id, *words[1:]).code == 0
