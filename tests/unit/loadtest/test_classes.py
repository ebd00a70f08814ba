"""The classes of an external gateway: the default three, a file's own, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.classes import ClassesError, classes_of, default_entries, read_entries

FILE = """
classes:
  - {name: gold, share: 0.25, intent: gold-chat, key_env: GOLD_KEY, model: big, ttft_s: 1.5, e2e_s: 20}
  - {name: rest, share: 0.75}
"""


def test_without_a_file_there_are_three() -> None:
    """Each names its intent; all have the key of OPENAI_API_KEY, where it is set."""
    found = classes_of(default_entries(), "m", {"OPENAI_API_KEY": "k"})
    assert [kind.name for kind in found.kinds] == ["premium", "standard", "batch"]
    assert found.headers["premium"] == {"x-lumyn-intent": "premium", "authorization": "Bearer k"}
    assert found.headers[""] == {"authorization": "Bearer k"}
    assert {kind.intent.models for kind in found.kinds} == {("m",)}
    assert "" not in classes_of(default_entries(), "m", {}).headers


def test_a_file_names_its_own(tmp_path: Path) -> None:
    """Shares, targets, models and the variables of the keys; a variable that is not set sends none."""
    path = tmp_path / "classes.yaml"
    path.write_text(FILE)
    found = classes_of(read_entries(path), "m", {"GOLD_KEY": "g"})
    gold, rest = found.kinds
    assert (gold.share, gold.intent.latency.ttft_ms, gold.intent.models) == (0.25, 1500.0, ("big",))
    assert (rest.intent.latency.ttft_ms, rest.intent.models) == (None, ("m",))
    assert found.headers == {
        "gold": {"x-lumyn-intent": "gold-chat", "authorization": "Bearer g"},
        "rest": {},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes: []", "classes"),
        ("other: 1", "classes"),
        ("classes: [{name: a, share: 0.5}]", "sum to 0.5"),
        ("classes: [{name: a, share: 0.5}, {name: a, share: 0.5}]", "same name"),
        ("classes: [{name: a, share: 2}]", "share"),
        ("classes: [{name: a, share: 1, colour: red}]", "colour"),
        ("classes: [", "classes.yaml"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, words: str) -> None:
    """With the place where it is wrong."""
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ClassesError, match=words):
        read_entries(path)
