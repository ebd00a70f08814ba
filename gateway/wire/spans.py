"""Where the parts of a JSON text stand, so that it can be cut and mended with every other byte as it came.

It is only given text that has been read as JSON before. Values are skipped by Python's own scanner, in C:
as fast as reading them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from json.decoder import JSONDecoder
from typing import Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_SCANNER: Final = JSONDecoder(parse_int=str, parse_float=str)
"""Numbers stay text: Python reads long integers in quadratic time, and nobody looks at them."""


@dataclass(frozen=True, slots=True)
class Span:
    """One member of an object: where it begins (at its key), and where its value begins and ends."""

    key: str
    at: int
    start: int
    end: int


def members(text: str) -> list[Span]:
    """Return the members of a JSON object, in order."""
    found: list[Span] = []
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, after = _SCANNER.raw_decode(text, at)
        start = _skip(text, _skip(text, after) + 1)
        _, end = _SCANNER.raw_decode(text, start)
        found.append(Span(key, at, start, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def items(text: str) -> list[tuple[int, int]]:
    """Return where each item of a JSON array begins and ends."""
    found: list[tuple[int, int]] = []
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "]":
        _, end = _SCANNER.raw_decode(text, at)
        found.append((at, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def value_of(text: str, key: str) -> str | None:
    """Return a member's value as it is written, or None where the object has none of that name."""
    return next((text[span.start : span.end] for span in members(text) if span.key == key), None)


def with_value(text: str, key: str, value: str) -> str:
    """Return an object with one member set to a text of JSON: in place, else behind the others."""
    spans = members(text)
    for span in spans:
        if span.key == key:
            return text[: span.start] + value + text[span.end :]
    end = spans[-1].end if spans else text.index("{") + 1
    comma = "," if spans else ""
    return f'{text[:end]}{comma}"{key}":{value}{text[end:]}'


def with_values(text: str, values: Mapping[str, str]) -> str:
    """Return an object with several members set."""
    for key, value in values.items():
        text = with_value(text, key, value)
    return text


def without(text: str, keys: Collection[str]) -> str:
    """Return an object without some of its members, each taken out with the comma that goes with it."""
    spans = members(text)
    dropped = [span.key in keys for span in spans]
    return _cut(text, [(span.at, span.end) for span in spans], dropped)


def without_items(text: str, dropped: Collection[int]) -> str:
    """Return an array without the items at some places."""
    spans = items(text)
    return _cut(text, spans, [place in dropped for place in range(len(spans))])


def _cut(text: str, spans: list[tuple[int, int]], dropped: list[bool]) -> str:
    if not any(dropped):
        return text
    kept = [span for span, gone in zip(spans, dropped, strict=True) if not gone]
    head, tail = text[: spans[0][0]], text[spans[-1][1] :]
    return head + ",".join(text[start:end] for start, end in kept) + tail


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
