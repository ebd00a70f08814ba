"""JSON in: the strict reader for documents that we own, the loose one for bodies that we relay.

`parse_json` refuses whatever two readers could take for two different things: duplicate keys, NaN and
infinities, lone surrogates, numbers that are not what a double holds. Both readers are total: any bytes
give a value or an error of the tree, in linear time, and never recurse deeper than their bound.
Nothing here may ever normalise a string or guess an encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from json.decoder import JSONDecodeError, JSONDecoder
from typing import Final

import orjson

from gateway.kernel.bounds import JSON_DEPTH_MAX, LOOSE_DEPTH_MAX, TOOL_NODES_MAX, WHOLE_MAX
from gateway.kernel.canon import is_plain
from gateway.kernel.errors import GatewayError, InternalError, InvalidRequestError, MalformedRequestError
from gateway.kernel.pointer import encodable, join
from gateway.kernel.types import JSON, JSONObject

_EXACT_CHARS: Final = 16
"""A sign or a dot and 15 digits: so short a decimal always equals its shortest double (DBL_DIG is 15)."""
_WHOLE_CHARS: Final = 17
"""A sign and the 16 digits of 2**53-1."""
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
# A string may lack its end here: then it reaches to the end of the text, and the scan stays linear.
_TOKEN: Final = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+"?)|[\[\]{},]', re.DOTALL)
_NOT_BRACKET: Final = re.compile(r"[^\[\]{}]+")
_ONE_KIND: Final = str.maketrans("{}", "[]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_COMPACT: Final = object()
_FIRST_KEY_BYTES: Final = 64
"""A writer that puts a space after colons shows it here already; a wrong guess only costs time."""
_NUMBER_HINT: Final = "write a number that a double holds exactly, or send it as a string"


class _RefusedError(Exception):
    """Raised inside the C scanner, which knows no path; the marking pass then finds it."""


class Unfit:
    """Stands in the parsed tree for a value that the rules refuse, so that its path can be told."""

    __slots__ = ("hint", "literal", "reason")

    def __init__(self, reason: str, hint: str, literal: str | None = None) -> None:
        self.reason = reason
        self.hint = hint
        self.literal = literal
        """As it is written, where it is a number."""


def parse_json(data: bytes | str, *, depth_max: int = JSON_DEPTH_MAX) -> JSON:
    """Read one JSON document strictly. Whole numbers come back as int (201.0 is 201, -0 is 0).

    MalformedRequestError, with line and column, for what is no JSON; InvalidRequestError, with a
    pointer, for what is JSON and refused by the number rule, by `depth_max`, as a duplicate key or as
    a lone surrogate. `depth_max` may be up to a few hundred: Python's own reader recurses that far.
    """
    text = _text(data)
    check_depth(text, depth_max)
    if isinstance(data, bytes) and data.find(b'": ', 0, _FIRST_KEY_BYTES) < 0:
        value = _compact(data)
        if value is not _NOT_COMPACT:
            return value
    try:
        value = _STRICT.decode(text)
    except _RefusedError:
        raise _refusal(text) from None
    except JSONDecodeError as error:
        raise _malformed(error.msg, error.lineno, error.colno) from None
    if ("\\u" in text and _SURROGATE_ESCAPE.search(text)) or (text is data and not encodable(text)):
        _check_surrogates(value)
    return value


def parse_loose_json(data: bytes, *, unique_everywhere: bool = False) -> JSON:
    """Read a body that we do not own: values as orjson reads them, numbers unexamined.

    Duplicate keys of the top level are refused (InvalidRequestError with a pointer), so that the
    forwarded body means to the backend what it meant to us; with `unique_everywhere` (tool arguments)
    those of every level. MalformedRequestError for what is no JSON. Depth up to `LOOSE_DEPTH_MAX`.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _malformed(error.msg, error.lineno, error.colno) from None
    if data.count(b"[") + data.count(b"{") > LOOSE_DEPTH_MAX:
        _check_tree_depth(value)  # before `dumps`, which raises at 254
    # What orjson writes again as the same bytes has no twins: a dict holds each key once. Most clients
    # write so; for the others the second reading, by Python's own scanner, is the cheapest way found.
    if data.find(b'": ', 0, _FIRST_KEY_BYTES) >= 0 or orjson.dumps(value) != data:
        _check_unique(data, value, everywhere=unique_everywhere)
    return value


def parse_tool_json(data: bytes) -> JSON:
    """Read a tool's arguments, or a message that carries some: strictly, but for numbers that nobody needs.

    Duplicate keys are refused at every level, so that what is judged is what the tool reads. A number that
    the number rule refuses (a 64-bit id) stands in the tree as an `Unfit`: whoever needs it refuses it.
    Errors as `parse_json`; depth up to `LOOSE_DEPTH_MAX`, and no more than `TOOL_NODES_MAX` values.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > TOOL_NODES_MAX:
        raise InvalidRequestError(f"the document holds more than {TOOL_NODES_MAX} values", pointer="")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _malformed(error.msg, error.lineno, error.colno) from None
    text = data.decode()
    check_depth(text, LOOSE_DEPTH_MAX)
    if _compact_form(value) == data and is_plain(value):
        return value
    try:
        return _TOOLS.decode(text)
    except _RefusedError:
        raise _first_refused(_TWINS.decode(text)) or InternalError() from None


# --- the strict reader ---------------------------------------------------------------------------


def _compact(data: bytes) -> JSON:
    """Return what `data` says if orjson, told to write that again, writes the very same bytes.

    Then no key occurs twice (a dict has each once), every number is spelled as its shortest double, and
    no whole number is out of range: the strict reader would have read the same, in twice the time. Only
    whole floats (`201.0`, `-0.0`) may still be in it; `is_plain` finds those.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _NOT_COMPACT
    return value if _compact_form(value) == data and is_plain(value) else _NOT_COMPACT


def _compact_form(value: JSON) -> bytes:
    """Return the shortest spelling; empty where a whole number is out of range or the nesting too deep."""
    try:
        return orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:
        return b""


def _text(data: bytes | str) -> str:
    if isinstance(data, str):
        text = data
    else:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise MalformedRequestError(
                f"the body is not UTF-8 at byte {error.start}", hint="send JSON in UTF-8"
            ) from None
    if text.startswith("\ufeff"):
        raise MalformedRequestError("the body begins with a byte order mark", hint="send UTF-8 without one")
    return text


def _malformed(reason: str, line: int, column: int) -> MalformedRequestError:
    # The reader's own words go on with "line 1 column 2 (char 1)" in some versions; ours say it once.
    what = reason.partition(": line ")[0].removesuffix(" at")
    return MalformedRequestError(
        f"the body is not JSON: {what[:1].lower()}{what[1:]} at line {line}, column {column}",
        hint="send one JSON document",
    )


def _judge_whole(literal: str) -> int | Unfit:
    # Length first: reading a million digits takes quadratic time.
    if len(literal) <= _WHOLE_CHARS:
        value = int(literal)
        if -WHOLE_MAX <= value <= WHOLE_MAX:
            return value
    return Unfit(f"{literal[:40]} is a whole number beyond 2**53-1", _NUMBER_HINT, literal)


def _judge_fraction(literal: str) -> int | float | Unfit:
    value = float(literal)
    if len(literal) > _EXACT_CHARS or "e" in literal or "E" in literal:
        if value == 0:
            exact = not literal.lower().partition("e")[0].strip("-0.")
        else:
            # Within a double's range both decimals are small, so that no Decimal limit is met.
            exact = abs(value) <= WHOLE_MAX and Decimal(literal) == Decimal(repr(value))
        if not exact:
            return Unfit(f"{literal[:40]} is not exactly a double within +-(2**53-1)", _NUMBER_HINT, literal)
    return int(value) if value.is_integer() else value


def _whole(literal: str) -> int:
    value = _judge_whole(literal)
    if isinstance(value, Unfit):
        raise _RefusedError
    return value


def _fraction(literal: str) -> int | float:
    value = _judge_fraction(literal)
    if isinstance(value, Unfit):
        raise _RefusedError
    return value


def _constant(literal: str) -> JSON:
    raise _RefusedError(literal)


def _object(pairs: list[tuple[str, JSON]]) -> JSONObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RefusedError
    return value


def _mark_constant(literal: str) -> Unfit:
    return Unfit(f"{literal} is no JSON number", _NUMBER_HINT)


def _mark_duplicates(pairs: list[tuple[str, JSON]]) -> JSONObject:
    value: JSONObject = dict(pairs)
    if len(value) == len(pairs):
        return value
    value.clear()
    for key, item in pairs:
        value[key] = Unfit("the key occurs twice", "send each key once") if key in value else item
    return value


_STRICT: Final = JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction, parse_constant=_constant
)
_MARKING: Final = JSONDecoder(
    object_pairs_hook=_mark_duplicates,
    parse_int=_judge_whole,
    parse_float=_judge_fraction,
    parse_constant=_mark_constant,
)


def _refusal(text: str) -> GatewayError:
    """Read the text again with markers in the place of what is refused; return the error for the first."""
    try:
        tree = _MARKING.decode(text)
    except JSONDecodeError as error:
        # Refused early and broken later: what is no JSON at all is reported as that.
        return _malformed(error.msg, error.lineno, error.colno)
    return _first_refused(tree) or InternalError()


def _first_refused(tree: JSON) -> InvalidRequestError | None:
    for path, step, value in _members(tree):
        if type(value) is Unfit:
            return _invalid((*path, step), value.reason, value.hint)
    return None


def _invalid(path: tuple[str | int, ...], reason: str, hint: str) -> InvalidRequestError:
    pointer = join(path[1:])  # without the step into the wrapper of `_members`
    return InvalidRequestError(f"{pointer or 'the document'}: {reason}", pointer=pointer, hint=hint)


def _members(tree: JSON) -> Iterator[tuple[tuple[str | int, ...], str | int, JSON]]:
    """Yield every member of every container as (path, step, value), level by level.

    The tree itself comes first, as member 0 of a wrapper, so that a lone scalar needs no case of its own.
    """
    level: list[tuple[tuple[str | int, ...], JSON]] = [((), [tree])]
    while level:
        below: list[tuple[tuple[str | int, ...], JSON]] = []
        for path, container in level:
            steps = container.items() if type(container) is dict else enumerate(container)
            for step, value in steps:
                yield path, step, value
                if type(value) is dict or type(value) is list:
                    below.append(((*path, step), value))
        level = below


def _check_surrogates(tree: JSON) -> None:
    for path, step, value in _members(tree):
        for text in (step, value):
            if type(text) is str and not encodable(text):
                raise _invalid((*path, step), "a lone surrogate is no character", "send well-formed Unicode")


def check_depth(text: str, depth_max: int) -> None:
    """Raise InvalidRequestError if `text` nests deeper than `depth_max`; in linear time, whatever it is."""
    if text.count("[") + text.count("{") <= depth_max:
        return
    brackets = _NOT_BRACKET.sub("", _STRING.sub("", text)).translate(_ONE_KIND)
    for _ in range(depth_max):
        inner = brackets.replace("[]", "")  # takes away exactly one level everywhere
        if not inner:
            return
        if len(inner) == len(brackets):
            break
        brackets = inner
    _raise_depth(text, depth_max)


def _raise_depth(text: str, depth_max: int) -> None:
    path: list[str | int] = []  # the step into the current member of each open container
    names: list[str] = [""]  # the last string seen in each: at an opening bracket, the key before it
    for match in _TOKEN.finditer(text):
        mark = match[0]
        if match[1]:
            names[-1] = mark
        elif mark in "[{":
            if path and isinstance(path[-1], str):
                path[-1] = _key(names[-1])
            if len(path) >= depth_max:
                _refuse_depth(join(path), depth_max)
            path.append(0 if mark == "[" else "")
            names.append("")
        elif mark == ",":
            if path and isinstance(path[-1], int):
                path[-1] += 1
        elif path:
            path.pop()
            names.pop()
    # Not too deep after all, so unbalanced: the reader says where.


def _key(spelled: str) -> str:
    try:
        key: str = _STRICT.decode(spelled)
    except JSONDecodeError:
        return ""
    return key


def _refuse_depth(pointer: str, depth_max: int) -> None:
    raise InvalidRequestError(
        f"{pointer or 'the document'} nests deeper than {depth_max} levels",
        pointer=pointer,
        hint="flatten the document",
    )


# --- the loose reader ----------------------------------------------------------------------------

# Numbers stay text in these: Python reads long integers in quadratic time, and nobody looks at them.
_PAIRS: Final = JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str)
_TWINS: Final = JSONDecoder(object_pairs_hook=_mark_duplicates, parse_int=str, parse_float=str)
_TOOLS: Final = JSONDecoder(object_pairs_hook=_object, parse_int=_judge_whole, parse_float=_judge_fraction)


def _check_unique(data: bytes, value: JSON, *, everywhere: bool) -> None:
    """Raise for a key that occurs twice in `data`, which orjson has read as `value`: read it once more."""
    text = data.decode()
    if everywhere:
        error = _first_refused(_TWINS.decode(text))
    elif type(value) is dict:
        pairs = _PAIRS.decode(text)
        # A dict holds each key once, so one more pair is a twin.
        error = None if len(pairs) == len(value) else _first_refused(_mark_duplicates(pairs))
    else:
        return
    if error is not None:
        raise error


def _check_tree_depth(value: JSON) -> None:
    level = [value] if type(value) in (dict, list) else []
    for _ in range(LOOSE_DEPTH_MAX):
        below: list[JSON] = []
        for item in level:
            inner = item.values() if type(item) is dict else item
            below += [child for child in inner if type(child) is dict or type(child) is list]
        if not below:
            return
        level = below
    _refuse_depth("", LOOSE_DEPTH_MAX)
