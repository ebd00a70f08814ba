"""What every section is: frozen, and strict about its keys."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.config.section import Part


class Example(Part):
    """A section with one key."""

    key: int = 1


def test_a_section_is_frozen() -> None:
    """Nobody changes a configuration that is in force."""
    with pytest.raises(ValidationError, match="frozen"):
        Example().key = 2


def test_an_unknown_key_is_an_error() -> None:
    """A typo does not silently leave a default in force."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        Example.model_validate({"kee": 2})
