"""The bounded YAML reader."""

from __future__ import annotations

import tracemalloc
from random import Random
from time import perf_counter

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import YAML_BYTES_MAX, YAML_DEPTH_MAX, YAML_NODES_MAX
from gateway.kernel.errors import InvalidPolicyError
from gateway.kernel.problem import Problem
from gateway.policy import document
from gateway.policy.document import PROBLEMS_MAX, read_document, walk


def problems_of(data: bytes) -> tuple[Problem, ...]:
    """Read a document and return what is wrong with it; any other error escapes."""
    try:
        read_document(data)
    except InvalidPolicyError as error:
        return error.problems
    return ()


SCALARS = [
    ("no", "no"),
    ("yes", "yes"),
    ("on", "on"),
    ("null", None),
    ("~", None),
    ("", None),
    ("true", True),
    ("false", False),
    ("0", 0),
    ("-0", 0),
    ("12", 12),
    ("-1.5", -1.5),
    ("1e3", 1000.0),
    ("1.50", 1.5),
    ("1.0.0", "1.0.0"),
    ("2024-01-01", "2024-01-01"),
    ("'010'", "010"),
    ('"true"', "true"),
    ("1 2", "1 2"),
    ("=", "="),
    ("9007199254740991", 9007199254740991),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_are_json_scalars(text: str, value: object) -> None:
    """A plain scalar is what JSON would read, and anything else that is not ambiguous is a string."""
    found = read_document(f"a: {text}\n".encode()).value["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader], ids=["libyaml", "python"])
def test_both_parsers_give_the_same_nodes(loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where libyaml is absent the pure parser reads the same values at the same places."""
    monkeypatch.setattr(document, "_LOADER", loader)
    root = read_document(b"a: {b: [1, 'x', ~]}\nc:\n  - d: no\n    e: |\n      text\n  - 2.5\n")
    assert root.value == {"a": {"b": [1, "x", None]}, "c": [{"d": "no", "e": "text\n"}, 2.5]}
    places = [(node.pointer, node.line, node.column) for node in walk(root)]
    assert places == [
        ("", 1, 1),
        ("/a", 1, 4),
        ("/a/b", 1, 8),
        ("/a/b/0", 1, 9),
        ("/a/b/1", 1, 12),
        ("/a/b/2", 1, 17),
        ("/c", 3, 3),
        ("/c/0", 3, 5),
        ("/c/0/d", 3, 8),
        ("/c/0/e", 4, 8),
        ("/c/1", 6, 5),
    ]


@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader], ids=["libyaml", "python"])
def test_ambiguous_plain_scalars_are_refused_by_both_parsers(
    loader: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quoted text is text and plain `010` is refused, whichever parser is there."""
    monkeypatch.setattr(document, "_LOADER", loader)
    assert read_document(b"a: '010'").value == {"a": "010"}
    with pytest.raises(InvalidPolicyError, match="`010` is not a JSON number"):
        read_document(b"a: 010")


def test_every_problem_is_collected() -> None:
    """Problems that reading can go past are reported together, in the order of the text."""
    with pytest.raises(InvalidPolicyError) as caught:
        read_document(b"a: 010\na: True\n1: .inf\n")
    assert [(item.line, item.column) for item in caught.value.problems] == [
        (1, 4),
        (2, 1),
        (2, 4),
        (3, 1),
        (3, 4),
    ]


def test_a_byte_order_mark_is_passed_over() -> None:
    """Editors that write a UTF-8 mark do not make a policy invalid."""
    assert read_document(b"\xef\xbb\xbfa: 1").value == {"a": 1}


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029"])
def test_odd_line_ends_are_refused_and_may_be_escaped(odd: str) -> None:
    """A character that YAML 1.1 folds away and JSON keeps is refused where it stands raw."""
    (problem,) = problems_of(f'a: 1\nb: "é{odd}"\n'.encode())
    assert (problem.line, problem.column) == (2, 6)
    assert read_document(f'b: "\\u{ord(odd):04x}"'.encode()).value == {"b": odd}


def test_pointers_are_escaped() -> None:
    """A pointer spells `~` and `/` in a key as RFC 6901 does."""
    assert read_document(b"'a/b~c': [1]").members["a/b~c"].items[0].pointer == "/a~1b~0c/0"


BOMBS = {
    "nested brackets": b"[" * 100_000,
    "nested dashes": b"- " * 100_000,
    "nested mappings": b"{a: " * 50_000,
    "nested question marks": b"? " * 100_000,
    "alias bomb": b"a: &a [x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (n, n) for n in range(9)),
    "too many scalars": b"- a\n" * (YAML_NODES_MAX + 1),
    "too many bytes": b"a: " + b"x" * YAML_BYTES_MAX,
    "long digits": b"a: " + b"9" * 200_000,
    "long exponent": b"a: 1e" + b"9" * 200_000,
    "long key": b"x" * 200_000 + b": 1",
    "long key over many children": b"x" * 900 + b":\n" + b"- {" + b"a: 1, " * 19_000 + b"}\n",
    "many problems": b"- 010\n" * 15_000,
    "many duplicates": b"{" + b"a: 1, " * 9_000 + b"}",
    "unclosed quote": b"a: '" + b"\n" * 200_000,
    "many commas": b"[" + b"," * 200_000,
    "many anchors": b"".join(b"- &a%d x\n" % n for n in range(15_000)),
    "deep long keys": b"".join(b" " * n + b"k" * 3_000 + b":\n" for n in range(30))
    + b" " * 31
    + b"["
    + b"1," * 15_000
    + b"]",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_read_or_refused_in_bounded_time_and_space(name: str) -> None:
    """No document makes the reader crash, hang or take more than some tens of MiB."""
    tracemalloc.start()
    start = perf_counter()
    assert len(problems_of(BOMBS[name])) <= PROBLEMS_MAX
    taken_s = perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Tracing slows reading down about fivefold; the figures without it are a tenth of this bound.
    assert taken_s < 5
    assert peak < 32 * 1024 * 1024


def test_depth_is_refused_at_its_bound() -> None:
    """The greatest depth allowed is read, one more is refused."""
    assert read_document(b"[" * YAML_DEPTH_MAX + b"]" * YAML_DEPTH_MAX)
    with pytest.raises(InvalidPolicyError, match="nested deeper"):
        read_document(b"[" * (YAML_DEPTH_MAX + 1) + b"]" * (YAML_DEPTH_MAX + 1))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(json_values)
def test_json_is_yaml(value: object) -> None:
    """JSON text reads as the value it is, since YAML's flow style is JSON."""
    text = orjson.dumps({"value": value})
    problems = problems_of(text)
    # Some characters that JSON lets stand raw are refused, and long keys.
    assert all(item.message.startswith(("not YAML", "U+")) for item in problems)
    assert problems or read_document(text).value == {"value": value}


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.binary(max_size=60) | st.text(alphabet="a:{}[]-&*!'\"#|>?%@,\n \t01~<", max_size=60).map(str.encode)
)
def test_any_bytes_give_a_document_or_problems_with_places(data: bytes) -> None:
    """Only `InvalidPolicyError` escapes, and every problem has a line and a column."""
    assert all(item.line >= 1 and item.column >= 1 for item in problems_of(data))


def test_mutated_documents_never_crash() -> None:
    """Byte flips in a real policy give a document or problems, nothing else."""
    random = Random(7)
    text = b"rules:\n  - id: A\n    if: {amount_usd_gt: 1.5, evidence.k_in: [a, 'b', \"c\\n\"]}\n"
    for _ in range(500):
        mutated = bytearray(text)
        mutated[random.randrange(len(mutated))] = random.randrange(256)
        assert len(problems_of(bytes(mutated))) <= PROBLEMS_MAX
