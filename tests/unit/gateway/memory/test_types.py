"""What memory says is a plain value, and saying nothing is one too."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.memory.types import NO_ADVICE, NO_SNAPSHOT, MemoryAdvice, MemoryHit


def test_no_advice_holds_nothing_against_anybody() -> None:
    """Without memory the failure score is the least there is, with no hits and a snapshot of length 0."""
    assert MemoryAdvice(0.0, (), NO_SNAPSHOT) == NO_ADVICE
    assert NO_SNAPSHOT.split(":") == ["memory", "0", "none"]


@pytest.mark.parametrize("value", [NO_ADVICE, MemoryHit("M", "failure", 0.5, "s")])
def test_advice_cannot_be_changed(value: object) -> None:
    """What a record quotes cannot change after it was decided on."""
    field = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)
    assert not hasattr(value, "__dict__")
