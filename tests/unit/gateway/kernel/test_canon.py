"""Canonical bytes, against the slow reference, golden numbers and the number rule."""

import json
import math
import random
import struct
import uuid
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from pathlib import Path

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import CANON_DEPTH_MAX
from gateway.kernel.canon import canonical_bytes, digest, is_plain, plain, sha256_digest, whole
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import parse_json
from gateway.kernel.types import Verdict

VECTORS = Path(__file__).parents[4] / "vectors" / "canon"
NUMBERS = json.JSONDecoder().decode((VECTORS / "numbers.json").read_text())
DOCUMENTS = json.JSONDecoder().decode((VECTORS / "documents.json").read_text())["cases"]
FUZZ = settings(derandomize=True, max_examples=200, deadline=None)

# Characters around every border that matters to order and escaping.
texts = st.text(
    alphabet=st.sampled_from(
        'a~"\\/\x00\x1f\x7f\x80é\u2028\ud7ff\ue000\ufb33\uffff\U00010000\U0001f600\U0010ffff'
    ),
    max_size=4,
) | st.text(max_size=6)
floats = (
    st.floats(-(2.0**53) + 1, 2.0**53 - 1, allow_nan=False)
    | st.floats(-1e-4, 1e-4, allow_nan=False)
    | st.integers(-1000, 1000).map(float)
)
scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | floats | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=16,
)


def _double(bits):
    return struct.unpack(">d", bytes.fromhex(bits))[0]


@FUZZ
@given(values)
@example({"\ue000": 1, "\U00010000": 2})
@example([5.0, -0.0, 1e-6, 9.9e-6, 1e-7, 1e-5])
@example({"a": {"\ue000": 5.0, "\U00010000": 1e-6}})
def test_same_bytes_as_the_reference(value):
    """Whatever path is taken, the bytes are those of the slow RFC 8785 implementation."""
    assert canonical_bytes(value) == rfc8785.dumps(value)


@FUZZ
@given(values)
def test_canonical_text_reads_back_as_the_value(value):
    """Reading the canonical bytes gives the value again, and spelling that gives the bytes again."""
    spelled = canonical_bytes(value)
    assert parse_json(spelled) == value
    assert canonical_bytes(parse_json(spelled)) == spelled


@settings(derandomize=True, max_examples=500, deadline=None)
@given(floats)
def test_every_double_as_the_reference(value):
    """Doubles of the number rule are printed as ECMAScript does, alone and inside a document."""
    assert canonical_bytes(value) == rfc8785.dumps(value)
    assert canonical_bytes({"a": [value]}) == b'{"a":[' + rfc8785.dumps(value) + b"]}"


@pytest.mark.long
def test_many_doubles_as_the_reference():
    """Two million doubles, over all exponents of the number rule, are printed as the reference does."""
    source = random.Random(8785)
    for _ in range(2_000):
        batch = [math.ldexp(source.uniform(-1, 1), source.randint(-1074, 53)) for _ in range(1_000)]
        assert canonical_bytes(batch) == rfc8785.dumps(batch)


@pytest.mark.parametrize("case", NUMBERS["spelled"], ids=lambda case: case["bits"])
def test_golden_number(case):
    """Each golden double has its golden spelling."""
    assert canonical_bytes(_double(case["bits"])) == case["text"].encode()


@pytest.mark.parametrize("case", NUMBERS["refused"], ids=lambda case: case["bits"])
def test_refused_number(case):
    """Doubles outside the number rule are refused wherever they stand, with the place."""
    with pytest.raises(InvalidRequestError) as caught:
        canonical_bytes({"a": ["x", _double(case["bits"])]})
    assert caught.value.pointer == "/a/1"


@pytest.mark.parametrize("case", DOCUMENTS, ids=lambda case: case["name"])
def test_golden_document(case):
    """Each golden document has its golden bytes."""
    assert canonical_bytes(parse_json(case["input"])) == case["canonical"].encode()


class Colour(IntEnum):
    RED = 3


class Loud(StrEnum):
    A = "a"

    def __str__(self):
        return "not a"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (Verdict.TRUST, b'"TRUST"'),
        (Loud.A, b'"a"'),
        ({Loud.A: 1}, b'{"a":1}'),
        ({Text("k"): Text("v")}, b'{"k":"v"}'),
        ((1, (2.0,)), b"[1,[2]]"),
        (Colour.RED, b"3"),
        ([True, 1, 1.0], b"[true,1,1]"),
    ],
)
def test_relatives_of_json_types(value, spelled):
    """Enums, subclasses and tuples are spelled as the plain JSON values that they equal."""
    assert canonical_bytes(value) == spelled


@pytest.mark.parametrize(
    "value",
    [
        uuid.UUID(int=1),
        datetime(2026, 1, 1, tzinfo=UTC),
        {1, 2},
        b"x",
        pytest.param(object(), id="object"),
        2**53,
        -(2**53),
        2**64,
        10**400,
        float("nan"),
        float("inf"),
        1e16,
        "\ud800",
        {1: 2},
        {None: 2},
        {True: 2},
        {"\udfff": 1},
        1 + 2j,
    ],
    ids=repr,
)
def test_what_has_no_canonical_form(value):
    """What JSON or the number rule cannot hold is refused, and the pointer says where it stood."""
    for depth in (0, 1, 3):
        nested, pointer = value, ""
        for _ in range(depth):
            nested, pointer = {"k/": [nested]}, "/k~1/0" + pointer
        with pytest.raises(InvalidRequestError) as caught:
            canonical_bytes(nested)
        assert caught.value.pointer == pointer
        caught.value.message.encode()


def test_depth_bound():
    """The bound in nesting is exact, and a value far beyond it is refused without recursion."""
    value = 1
    for _ in range(CANON_DEPTH_MAX):
        value = [value]
    canonical_bytes(value)
    canonical_bytes({"small": 1e-6} | {"deep": value[0]})
    for odd in (1, 1.0):
        with pytest.raises(InvalidRequestError, match="nests deeper"):
            canonical_bytes([value, odd])
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidRequestError, match="nests deeper"):
        canonical_bytes(value)


def test_cycle_is_refused():
    """A value that holds itself is refused like any that is too deep."""
    value = []
    value.append(value)
    with pytest.raises(InvalidRequestError, match="nests deeper"):
        canonical_bytes(value)


def test_strings_are_not_normalised():
    """Composed and decomposed characters keep their own bytes."""
    assert canonical_bytes("\u00e9") != canonical_bytes("e\u0301")


def test_digest_spelling():
    """A digest is sha256: and the hexadecimal SHA-256 of the canonical bytes."""
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert sha256_digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest({"b": 1, "a": 201.0}) == sha256_digest(b'{"a":201,"b":1}')


@FUZZ
@given(values)
def test_plain_is_what_the_reader_gives(value):
    """`plain` gives the very types that reading the canonical text would, and is_plain agrees."""
    copy = plain(value)
    assert repr(copy) == repr(plain(copy))
    assert is_plain(copy)
    assert canonical_bytes(copy) == canonical_bytes(value)


def test_whole():
    """Whole floats become ints, others stay, and minus zero loses its sign."""
    assert [repr(whole(value)) for value in (1.0, -0.0, 0.25)] == ["1", "0", "0.25"]
