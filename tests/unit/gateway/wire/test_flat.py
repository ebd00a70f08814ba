"""Arguments as flat evidence."""

from __future__ import annotations

import pytest

from gateway.kernel.bounds import EVIDENCE_MEMBERS_MAX, EVIDENCE_TEXT_CHARS_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import parse_tool_json
from gateway.wire.flat import flattened


def flat(text: str, reserved: tuple[str, ...] = ()) -> object:
    """The evidence of arguments."""
    return flattened(parse_tool_json(text.encode()), reserved)


def test_one_level_is_flattened() -> None:
    """Members keep their names, those one level below get the outer name before theirs."""
    text = '{"a": 1, "b": "x", "c": null, "d": true, "e": {"f": 1.5, "g": {}}, "h": ["x", 2], "i": {}}'
    found = flat(text)
    deep, empty = found["e.g"], found["i"]
    assert found == {
        "a": 1, "b": "x", "c": None, "d": True, "e.f": 1.5, "h": ["x", 2], "e.g": deep, "i": empty
    }  # fmt: skip
    assert deep["kind"] == empty["kind"] == "object"


def test_content_stands_as_its_digest() -> None:
    """Long texts, long or deep lists and numbers that no record holds are objects, which no rule trusts."""
    long = "x" * (EVIDENCE_TEXT_CHARS_MAX + 1)
    found = flat(f'{{"t": "{long}", "l": {[1] * 33}, "n": [[1]], "i": 12345678901234567890}}')
    assert [found[name]["kind"] for name in "tlni"] == ["text", "array", "array", "number"]
    assert found["t"]["digest"].startswith("sha256:")
    assert long not in str(found)
    assert flat('{"n": [12345678901234567890]}')["n"]["kind"] == "array"


def test_nothing_passes_for_what_the_gateway_says() -> None:
    """Reserved names are moved aside, also where they come out of flattening."""
    found = flat('{"model": "x", "a": {"b": 1}}', ("model", "a.b"))
    assert found == {"arguments.model": "x", "arguments.a.b": 1}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1}, "a.b": 2}',
        '{"model": 1, "arguments.model": 2}',
        "{" + ", ".join(f'"k{at}": 1' for at in range(EVIDENCE_MEMBERS_MAX + 1)) + "}",
    ],
)
def test_what_is_ambiguous_or_too_much_is_refused(text: str) -> None:
    """Two arguments of one name could hide each other, and a record holds facts, not documents."""
    with pytest.raises(InvalidRequestError):
        flat(text, ("model",))
