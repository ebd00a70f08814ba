"""The registry of reason codes."""

import re

import pytest

from gateway.records import reasons


def test_registry():
    """Codes are unique upper-case names, each with a sentence, and the 30 of the contract come first."""
    codes = reasons.reason_codes()
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", code) for code in codes)
    assert all(text.endswith(".") and len(text) > 15 for text in codes.values())
    assert len(set(codes.values())) == len(codes)
    assert next(iter(codes)) == "NO_MATCH_DEFAULT_ESCALATE"
    assert list(codes)[29] == "UPDATE_TICKET_OK"


def test_constants_are_registered():
    """Every code that the code itself emits is in the registry."""
    constants = [value for name, value in vars(reasons).items() if name.isupper()]
    assert len(constants) >= 9
    assert all(reasons.is_reason_code(code) for code in constants)


def test_registry_cannot_be_changed():
    """Nobody can add to the registry at run time."""
    with pytest.raises(TypeError):
        reasons.reason_codes()["X"] = "y"
    assert not reasons.is_reason_code("X")
