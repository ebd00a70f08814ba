"""The strict and the loose JSON reader, against golden documents, against each other and against bombs."""

import json
import math
from fractions import Fraction
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import LOOSE_DEPTH_MAX, TOOL_NODES_MAX
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.errors import GatewayError, InvalidRequestError, MalformedRequestError
from gateway.kernel.parse import Unfit, parse_json, parse_loose_json, parse_tool_json

VECTORS = Path(__file__).parents[4] / "vectors"
CASES = [
    case
    for name in ("strict", "malformed")
    for case in json.JSONDecoder().decode((VECTORS / "json" / f"{name}.json").read_text())["cases"]
]
FUZZ = settings(derandomize=True, max_examples=200, deadline=None)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e15, 1e15, allow_nan=False)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def _bytes(case):
    return bytes.fromhex(case["input_hex"]) if "input_hex" in case else case["input"].encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden_document(case):
    """Every golden document is accepted as its canonical value, or refused as the right kind and place."""
    data = _bytes(case)
    if case["expect"] == "accept":
        assert canonical_bytes(parse_json(data)) == case["canonical"].encode()
    elif case["expect"] == "malformed":
        with pytest.raises(MalformedRequestError):
            parse_json(data)
    else:
        with pytest.raises(InvalidRequestError) as caught:
            parse_json(data)
        assert caught.value.pointer == case["pointer"]
        assert caught.value.hint


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden_document_read_loosely(case):
    """The loose reader refuses what is no JSON too, and gives the strict value where there is one."""
    data = _bytes(case)
    if case["expect"] == "malformed":
        with pytest.raises((MalformedRequestError, InvalidRequestError)):
            parse_loose_json(data)
    elif case["expect"] == "accept":
        assert parse_loose_json(data) == parse_json(data)


def test_vectors_cover_each_outcome():
    """The golden documents hold many cases of each kind, so that a lost file is noticed."""
    kinds = [case["expect"] for case in CASES]
    assert min(kinds.count(kind) for kind in ("accept", "malformed", "refused")) >= 30


@FUZZ
@given(values)
def test_spelling_does_not_change_the_value(value):
    """Spaced, indented, escaped and compact spellings all read as the same value."""
    spellings = [
        json.dumps(value).encode(),
        json.dumps(value, indent=1, ensure_ascii=False).encode(),
        json.dumps(value, separators=(",", ":")).encode(),
        orjson.dumps(value),
    ]
    read = [parse_json(spelling) for spelling in spellings]
    assert len({canonical_bytes(one) for one in read}) == 1
    assert read[0] == value
    assert parse_json(spellings[0].decode()) == value


@FUZZ
@given(values)
def test_whole_numbers_are_ints(value):
    """No float that is whole comes out of the strict reader, on its fast path or its slow one."""

    def scan(item):
        if isinstance(item, dict):
            return all(map(scan, item.values()))
        if isinstance(item, list):
            return all(map(scan, item))
        return not (isinstance(item, float) and item.is_integer())

    assert scan(parse_json(orjson.dumps(value)))
    assert scan(parse_json(json.dumps(value)))


@FUZZ
@given(st.binary(max_size=40) | st.text(alphabet='[]{}",:\\u0d8e1-. nN', max_size=40).map(str.encode))
def test_total_on_any_bytes(data):
    """Any bytes give a value or an error of the tree, and what is accepted is JSON to orjson too."""
    try:
        value = parse_json(data)
    except GatewayError:
        return
    assert orjson.loads(data) == value


@FUZZ
@given(st.binary(max_size=40) | st.text(alphabet='[]{}",:\\u0d8e1-. nN', max_size=40).map(str.encode))
def test_loose_total_on_any_bytes(data):
    """The loose reader gives what orjson reads, or an error of the tree."""
    try:
        value = parse_loose_json(data)
    except GatewayError:
        return
    assert value == orjson.loads(data)


keys = st.sampled_from(["a", "b", "model", "a.b", "é", 'q"', "x\\", "", "u/1"])


def _spell(draw, key):
    text = json.dumps(key, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()) and key[:1].isascii() and key[:1].isalpha():
        text = f'"\\u{ord(key[0]):04x}{text[2:]}'
    return text + draw(st.sampled_from([":", " :", ": ", "\n:\t"]))


@st.composite
def documents(draw, depth=1):
    """An object spelled by hand, with or without twins, and strings that look like keys."""
    names = draw(st.lists(keys, max_size=5))
    parts, twins = [], len(set(names)) != len(names)
    for name in names:
        inner = draw(st.sampled_from(["1", "1.50", '"model"', '": x"', '"\\":"', '"\\\\"', "object"]))
        inner_twins = False
        if inner == "object":
            inner, inner_twins, _ = draw(documents(depth=depth - 1)) if depth else ("{}", False, False)
        parts.append(_spell(draw, name) + inner)
        twins = twins or (inner_twins and depth < 1)
    text = "{" + draw(st.sampled_from([",", " , "])).join(parts) + "}"
    return text, len(set(names)) != len(names), twins


@settings(derandomize=True, max_examples=300, deadline=None)
@given(documents())
def test_loose_finds_every_twin_of_the_top_level(document):
    """A key twice at the top level is refused whatever its spelling, and nothing else is."""
    text, top_twins, _ = document
    if top_twins:
        with pytest.raises(InvalidRequestError):
            parse_loose_json(text.encode())
    else:
        assert parse_loose_json(text.encode()) == orjson.loads(text)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(documents())
def test_unique_everywhere_agrees_with_the_strict_reader(document):
    """With unique_everywhere the loose reader refuses exactly the documents that the strict one does."""
    text = document[0].encode()
    outcomes = []
    for read in (parse_json, lambda data: parse_loose_json(data, unique_everywhere=True)):
        try:
            read(text)
        except InvalidRequestError as error:
            outcomes.append(error.pointer)
        else:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


def test_loose_keeps_what_is_not_ours():
    """Numbers outside the number rule, nested twins and NaN-free oddities pass the loose reader."""
    assert parse_loose_json(b'{"seed":12345678901234567890,"t":1.0}') == {
        "seed": 12345678901234567890,
        "t": 1.0,
    }
    assert parse_loose_json(b'{"a":{"b":1,"b":2}}') == {"a": {"b": 2}}


def test_loose_names_the_twin():
    """The error of a duplicate key says which, and what to do."""
    with pytest.raises(InvalidRequestError, match="occurs twice") as caught:
        parse_loose_json(b'{"model":"a","messages":[],"model":"b"}')
    assert caught.value.pointer == "/model"


def test_loose_depth():
    """The loose reader takes its bound in nesting and refuses one level more, at any width."""
    deep = b"[" * LOOSE_DEPTH_MAX + b"]" * LOOSE_DEPTH_MAX
    parse_loose_json(b"[" + b",".join([b"[]"] * 500) + b"]")
    parse_loose_json(deep)
    assert parse_loose_json(b'"' + b"[" * 500 + b'"') == "[" * 500
    for data in (b"[" + deep + b"]", b"[" * 900 + b"]" * 900, b'{"a":' * 200 + b"1" + b"}" * 200):
        with pytest.raises(InvalidRequestError, match="nests deeper"):
            parse_loose_json(data)


def test_malformed_says_where():
    """What is no JSON is reported with line and column."""
    with pytest.raises(MalformedRequestError, match="line 2, column 6") as caught:
        parse_json(b'{"a": 1,\n "b" 2}')
    assert caught.value.status == 400
    with pytest.raises(MalformedRequestError, match="byte 2"):
        parse_json(b'"a\xff"')
    with pytest.raises(MalformedRequestError, match="line 1, column"):
        parse_loose_json(b"[1,]")


def test_malformed_wins_over_refused():
    """A refused value in a text that is no JSON is reported as no JSON."""
    with pytest.raises(MalformedRequestError):
        parse_json(b'{"a": NaN, "b"}')


def test_lone_surrogate_in_a_text():
    """A str that UTF-8 cannot hold is refused with the place, as an escape would be."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_json('{"a":["\ud800"]}')
    assert caught.value.pointer == "/a/0"


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b"1" * 1_000_000,
        b"0." + b"1" * 1_000_000,
        b"1" * 500_000 + b"e-500000",
        b'"' + b'\\"' * 500_000,
        b"[[]" * 70 + b'"' + b'\\"' * 400_000,
        b"[" * 60 + b'"\\' * 300_000,
        b'{"' + b"k" * 900_000 + b'":NaN}',
        b"[" + b'"\\ud800",' * 100_000 + b"1]",
        b'{"a":1' + b',"a":1' * 100_000 + b"}",
    ],
    ids=range(11),
)
@pytest.mark.timeout(5)
def test_bombs_are_refused_in_linear_time(bomb):
    """A megabyte of hostile JSON is refused, soon, with a short message and a short pointer."""
    with pytest.raises((InvalidRequestError, MalformedRequestError)) as caught:
        parse_json(bomb)
    assert len(caught.value.message) < 1_000
    assert len(caught.value.pointer or "") <= 512


@pytest.mark.timeout(5)
@pytest.mark.parametrize("twin", [b"", b',"k1":2'])
def test_loose_takes_linear_time(twin):
    """A body of 100,000 keys is read soon, and its twin found."""
    many = (
        b'{"n": '
        + b"1" * 300
        + b","
        + b",".join(b'"k%d":1' % number for number in range(100_000))
        + twin
        + b"}"
    )
    if not twin:
        assert len(parse_loose_json(many)) == 100_001
        return
    with pytest.raises(InvalidRequestError) as caught:
        parse_loose_json(many)
    assert caught.value.pointer == "/k1"


digits = st.text("0123456789", max_size=22)
literals = st.builds(
    lambda sign, whole, fraction, exponent: sign + (whole.lstrip("0") or "0") + fraction + exponent,
    st.sampled_from(["", "-"]),
    digits | st.sampled_from(["9007199254740991", "9007199254740992", "9007199254740993"]),
    st.just("") | st.text("0123456789", min_size=1, max_size=22).map(lambda text: "." + text),
    st.just("")
    | st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 340)),
) | st.floats(-1e16, 1e16).map(repr)


@settings(derandomize=True, max_examples=500, deadline=None)
@given(literals)
@example("9007199254740990.5")
@example("-0.0e-5")
@example("4.9406564584124654e-324")
def test_number_rule_against_fractions(literal):
    """A literal is accepted exactly if it says what its shortest double says, and no whole is too large."""
    meant = Fraction(literal)
    double = float(literal)
    allowed = double not in {math.inf, -math.inf} and Fraction(repr(double)) == meant
    allowed = allowed and not (double.is_integer() and abs(meant) > 2**53 - 1)
    for document in (f"[{literal}]", f'{{"a": [{literal}]}}', f'{{"a":[{literal}]}}'.encode()):
        if allowed:
            read = parse_json(document)
            number = read[0] if isinstance(read, list) else read["a"][0]
            assert Fraction(number) == Fraction(double)
            assert type(number) is (int if meant.denominator == 1 else float)
            assert Fraction(canonical_bytes(number).decode()) == meant
        else:
            with pytest.raises(InvalidRequestError):
                parse_json(document)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":1.0,"b":-0,"c":[true,null,"x"]}', {"a": 1, "b": 0, "c": [True, None, "x"]}),
        (b'{ "a" : { "b" : [ 1 , 2.5 ] } }', {"a": {"b": [1, 2.5]}}),
        (b"[]", []),
    ],
)
def test_tool_json_reads_numbers_by_the_rule(data, value):
    """Compact or not, it reads what the strict reader reads."""
    assert parse_tool_json(data) == value == parse_json(data)


@pytest.mark.parametrize(
    "number", [b"12345678901234567890", b"9007199254740992", b"0.1000000000000000055511151231257827"]
)
def test_tool_json_marks_numbers_that_no_double_holds(number):
    """They stand in the tree as what they are, with a reason, and cost nobody who does not need them."""
    for data in (b'{"a":%b}' % number, b'{ "a" : %b }' % number):
        marked = parse_tool_json(data)["a"]
        assert isinstance(marked, Unfit)
        assert marked.reason
        assert marked.hint


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (b'{"a":1,"a":1}', "/a"),
        (b'{"params":{"arguments":{"x":[{"k":1,"k":2}]}}}', "/params/arguments/x/0/k"),
        (b'{"n":12345678901234567890,"b":{"k":1,"\\u006b":2}}', "/b/k"),
    ],
)
def test_tool_json_refuses_twins_at_every_level(data, pointer):
    """Two readers could take two values for one key, however it is spelled and whatever stands beside it."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_tool_json(data)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b'"\\ud800"', b"\xff", b"1e400", b"{} {}"])
def test_tool_json_refuses_what_is_no_json(data):
    """So does what is JSON to some readers only."""
    with pytest.raises(MalformedRequestError):
        parse_tool_json(data)


def test_tool_json_is_bounded():
    """Depth and the number of values have their bounds: both are told before the costly reading."""
    assert parse_tool_json(b"[" * LOOSE_DEPTH_MAX + b"]" * LOOSE_DEPTH_MAX)
    with pytest.raises(InvalidRequestError, match="nests deeper"):
        parse_tool_json(b"[" * (LOOSE_DEPTH_MAX + 1) + b"]" * (LOOSE_DEPTH_MAX + 1))
    with pytest.raises(InvalidRequestError, match="more than 100000 values"):
        parse_tool_json(b"[" + b"1," * TOOL_NODES_MAX + b"1]")
