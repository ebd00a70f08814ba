"""JSON pointers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import POINTER_CHARS_MAX
from gateway.kernel.pointer import encodable, join, resolve

RFC = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", RFC),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/m~0n", 8),
        ("/ ", 7),
    ],
)
def test_examples_of_the_rfc(pointer, value):
    """The examples of RFC 6901, section 5, resolve as printed there."""
    assert resolve(RFC, pointer) == value


@pytest.mark.parametrize(
    "pointer",
    [
        "foo",
        "/nope",
        "/foo/2",
        "/foo/-",
        "/foo/00",
        "/foo/+0",
        "/foo/-1",
        "/foo/0/x",
        "/foo/" + "9" * 5000,
        "/foo/\u0660",
    ],
)
def test_what_names_nothing(pointer):
    """A pointer that names nothing raises KeyError, whatever it looks like."""
    with pytest.raises(KeyError):
        resolve(RFC, pointer)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=5) | st.integers(0, 3), max_size=6))
def test_join_then_resolve(path):
    """The pointer made from a path leads back along it."""
    document = "leaf"
    for step in reversed(path):
        document = {step: document} if isinstance(step, str) else [0] * step + [document]
    assert resolve(document, join(path)) == "leaf"


def test_bounds_of_join():
    """A path too long, or not encodable, ends at the last ancestor that can be said."""
    assert join(["a", "x" * POINTER_CHARS_MAX, "b"]) == "/a"
    assert join(["a", "\ud800"]) == "/a"
    assert not encodable("\ud800")
    assert encodable("é")
