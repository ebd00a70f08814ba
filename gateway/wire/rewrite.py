"""Sets single top-level members of a JSON object and leaves every other byte as it came.

A body is not ours: to read it and write it anew could change numbers, the order of keys or the spelling
of texts. It must never be given bytes that have not been read as JSON before.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import orjson

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]')
"""Strings and structure; what lies between two of them is a number, a word or white space."""
_DEPTH: Final = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


def without_members(body: bytes, names: Collection[str]) -> bytes:
    """Return a JSON object without the members of these names, wherever and however often they stand."""
    members = list(_members(body))
    if not any(key in names for key, *_ in members):
        return body
    parts = [body[: members[0][1]]]
    before = -1
    for key, begin, _, end in members:
        if key not in names:
            # the comma in front of a member goes with it, and none stands in front of the first
            parts += (body[before:begin] if len(parts) > 1 else b"", body[begin:end])
        before = end
    return b"".join((*parts, body[before:]))


def with_members(body: bytes, members: Mapping[str, int | str]) -> bytes:
    """Return a JSON object with these members set: in place where they are, else in front of the others.

    A key that stands there twice is set in both places, because readers differ in which one counts.
    """
    parts: list[bytes] = []
    missing = dict(members)
    at = 0
    for key, _, start, end in _members(body):
        if key in members:
            parts += (body[at:start], orjson.dumps(members[key]))
            at = end
            missing.pop(key, None)
    changed = b"".join((*parts, body[at:]))
    if not missing:
        return changed
    brace = changed.index(b"{") + 1
    added = b",".join(b"%b:%b" % (orjson.dumps(name), orjson.dumps(value)) for name, value in missing.items())
    comma = b"" if changed[brace:].lstrip().startswith(b"}") else b","
    return changed[:brace] + added + comma + changed[brace:]


def _members(body: bytes) -> Iterator[tuple[str, int, int, int]]:
    """Yield each top-level member: its key, where it begins, and where its value begins and ends."""
    depth = 0
    key, opens, start = b"", 0, -1
    for match in _TOKEN.finditer(body):
        token = match.group()
        if depth == 1 and token in {b",", b"}"} and start >= 0:
            value = body[start : match.start()]
            begin = start + len(value) - len(value.lstrip())
            yield orjson.loads(key), opens, begin, begin + len(value.strip())
            start = -1
        elif depth == 1 and token == b":":
            start = match.end()
        elif depth == 1 and start < 0 and token.startswith(b'"'):
            key, opens = token, match.start()
        depth += _DEPTH.get(token, 0)
