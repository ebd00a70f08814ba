"""Canonical bytes (RFC 8785) and the digests over them.

One value has one spelling: keys in UTF-16 order, numbers as ECMAScript prints them, no white space.
The number rule of the gateway holds on top: whole numbers within +-(2**53-1), -0 is 0, 201.0 is 201,
no NaN and no infinity. So `parse_json(canonical_bytes(x)) == x` for everything that is accepted.

orjson writes nearly the same bytes at a fortieth of the time of `rfc8785`. Where it does not, and how
that is told apart:

* numbers: ECMAScript prints 5.0 as `5` and 0.000001 in full; `_survey` sends both another way;
* foreign types: orjson also writes UUIDs, enums and subclasses; `_survey` lets exact types through only;
* order of keys: orjson sorts by code point. That differs only between a character beyond U+FFFF and one
  in U+E000..U+FFFF, so both must occur in the output for the order to matter;
* lone surrogates, keys that are no strings, integers out of range: orjson refuses them too.

Nothing here may ever change a string: NFC and NFD stay different bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Final

import orjson
import rfc8785

from gateway.kernel.bounds import CANON_DEPTH_MAX, WHOLE_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.pointer import encodable, join
from gateway.kernel.types import JSON

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_BEYOND_BMP: Final = re.compile(rb"[\xf0-\xf4]")
_HIGH_BMP: Final = re.compile(rb"[\xee\xef]")
_SMALL: Final = 1e-5
"""Below this magnitude orjson turns to exponents earlier than ECMAScript does."""
_HINT: Final = "send JSON values that RFC 8785 can spell: see the number rule in docs/contract.md"


class _Shape(IntEnum):
    PLAIN = 0  # orjson writes it canonically
    ODD = 1  # plain after `plain()`: whole floats, subclasses, tuples; or wrong
    SMALL = 2  # holds a float that only rfc8785 prints canonically


_ODD: Final = _Shape.ODD
_SMALL_FLOAT: Final = _Shape.SMALL


def canonical_bytes(value: JSON) -> bytes:
    """Return the RFC 8785 bytes of a JSON value. InvalidRequestError (with its pointer) if it has none."""
    shape = _survey(value)
    if shape is _ODD:
        value = plain(value)
        shape = _survey(value)
    if shape is _SMALL_FLOAT:
        return _exact(value)
    try:
        spelled = orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        # Keys of a str subclass, or something wrong: `plain` mends the one and names the other.
        return _exact(value)
    if not spelled.isascii() and _BEYOND_BMP.search(spelled) and _HIGH_BMP.search(spelled):
        return _exact(value)
    return spelled


def own_bytes(value: JSON) -> bytes:
    """Return the RFC 8785 bytes of a value that we made ourselves, without looking whether orjson is right.

    It must hold nothing but text, whole numbers within +-(2**53-1), booleans, null and exact dicts and lists
    of them, under ASCII keys: then orjson is. A third of the time of `canonical_bytes`.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def sha256_digest(data: bytes) -> str:
    """Return the SHA-256 of bytes as the contract spells digests: `sha256:` and 64 lower-case hex digits."""
    return "sha256:" + sha256(data).hexdigest()


def digest(value: JSON) -> str:
    """Return the digest of a value's canonical bytes. Errors as `canonical_bytes`."""
    return "sha256:" + sha256(canonical_bytes(value)).hexdigest()


def whole(value: float) -> int | float:
    """Return a float as the int it equals, or as it is: 201.0 is 201, -0.0 is 0, 0.5 stays."""
    return int(value) if value.is_integer() else value


def plain(value: JSON) -> JSON:
    """Return a copy made of exact JSON types under the number rule: what `parse_json` would have read.

    Whole floats become ints, tuples lists, string and integer subclasses (enums) their plain values.
    Anything else than JSON, and any value the number rule refuses: InvalidRequestError with its pointer.
    """
    try:
        return _plain(value, 0)
    except _NoFormError as fault:
        pointer = join(reversed(fault.steps))
        raise InvalidRequestError(
            f"{pointer or 'the document'} {fault.reason}", pointer=pointer, hint=_HINT
        ) from None


def is_plain(value: JSON) -> bool:
    """Tell whether all numbers are already in their plain form and all types exact, within the depth bound.

    Integers and strings are not examined: orjson does that while it reads or writes.
    """
    return _survey(value) is not _ODD


def _survey(value: JSON) -> _Shape:
    """Tell in one flat pass whether orjson is canonical for `value`; level by level, never recursive."""
    level = [value]
    small = False
    for _ in range(CANON_DEPTH_MAX + 1):
        below: list[JSON] = []
        for item in level:
            kind = type(item)
            if kind is str or kind is int or kind is bool or item is None:
                continue
            if kind is dict:
                below += item.values()
            elif kind is list:
                below += item
            elif kind is float and not item.is_integer():
                magnitude = abs(item)
                # Written so that NaN, which fails every comparison, is odd.
                if not magnitude < WHOLE_MAX:
                    return _ODD
                small = small or magnitude < _SMALL
            else:
                return _ODD
        if not below:
            return _SMALL_FLOAT if small else _Shape.PLAIN
        level = below
    return _ODD


def _exact(value: JSON) -> bytes:
    spelled: bytes = rfc8785.dumps(plain(value))
    return spelled


class _NoFormError(Exception):
    """A value has no canonical form. The path to it is gathered on the way out: it costs only here."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str | int] = []


def _plain(value: JSON, depth: int) -> JSON:
    if type(value) is str and value.isascii():
        return value  # by far the most, so asked first
    # bool before int: True is an int to isinstance.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _plain_text(value)
    if isinstance(value, (int, float)):
        return _plain_number(value)
    if depth >= CANON_DEPTH_MAX:
        raise _NoFormError(f"nests deeper than {CANON_DEPTH_MAX} levels")
    if isinstance(value, dict):
        return _plain_object(value, depth + 1)
    if isinstance(value, (list, tuple)):
        return _plain_array(value, depth + 1)
    raise _NoFormError(f"is a Python {type(value).__name__}, which JSON has no spelling for")


def _plain_object(value: dict[JSON, JSON], depth: int) -> JSON:
    copy: dict[str, JSON] = {}
    for key, item in value.items():
        name = key if type(key) is str and key.isascii() else _plain_key(key)
        try:
            copy[name] = _plain(item, depth)
        except _NoFormError as fault:
            fault.steps.append(name)
            raise
    if len(copy) != len(value):
        raise _NoFormError("has two keys of the same spelling")
    return copy


def _plain_key(key: JSON) -> str:
    if not isinstance(key, str):
        raise _NoFormError(f"has a key of type {type(key).__name__}: keys are strings")
    return _plain_text(key)


def _plain_array(value: Sequence[JSON], depth: int) -> JSON:
    copy: list[JSON] = []
    for item in value:
        try:
            copy.append(_plain(item, depth))
        except _NoFormError as fault:
            fault.steps.append(len(copy))
            raise
    return copy


def _plain_text(value: str) -> str:
    if not encodable(value):
        raise _NoFormError("has a lone surrogate, which UTF-8 cannot hold")
    # Not str(value): an enum may say something else there than it is equal to.
    return value if type(value) is str else str.__str__(value)


def _plain_number(value: float) -> int | float:
    # `not <=` so that NaN is refused as well.
    if not abs(value) <= WHOLE_MAX:
        raise _NoFormError("is not a number within +-(2**53-1)")
    if isinstance(value, int):
        return int(value)
    return int(value) if value.is_integer() else float(value)
