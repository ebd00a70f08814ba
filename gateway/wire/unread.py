"""Paths that are passed on unread: only those that every server reads as the same path.

What is judged is the path as it came, and what a backend serves is the path as it reads it. A spelling that
some servers simplify (dot segments, encoded letters, doubled slashes) would reach what was never judged.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.kernel.errors import MalformedRequestError, NotFoundError
from gateway.wire.openai import Operation

PATH_CHARS_MAX: Final = 1024
"""It stands in the record; ids of files and answers are under 100 characters."""
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})+\Z")
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/\\%;?#")
"""What nobody needs to encode, or may: letters for their own sake, and whatever divides a path."""
_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F)))
_INTERPRETED: Final = frozenset(operation.path for operation in Operation if operation.path)


def check_unread(path: str, query: str) -> None:
    """Refuse a path or query that has more than one reading (MalformedRequestError), and our own paths."""
    if len(path) > PATH_CHARS_MAX:
        raise MalformedRequestError(f"the path is over {PATH_CHARS_MAX} characters")
    for segment in path.split("/")[1:]:
        if segment in {".", ".."} or not _SEGMENT.match(segment) or _encodes_plainly(segment):
            raise MalformedRequestError(
                "the path could be read in more than one way",
                hint="send plain segments, and encode nothing that need not be",
            )
    if not _VISIBLE.issuperset(query) or "#" in query:
        raise MalformedRequestError(
            "the query holds what may not stand in one", hint="see RFC 3986 section 3.4"
        )
    if path.lower() in _INTERPRETED:
        raise NotFoundError("no such path", hint=f"did you mean {path.lower()}?")


def _encodes_plainly(segment: str) -> bool:
    encoded = b"".join(unquote_to_bytes(match) for match in re.findall(r"%[0-9A-F]{2}", segment))
    return any(byte in _PLAIN or byte < 0x20 or byte == 0x7F for byte in encoded)
