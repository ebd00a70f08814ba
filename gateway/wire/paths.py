"""Path templates of action routes: `/orders/{order_id}/refunds`, matched on the path as it came.

A segment is judged and forwarded as the same bytes, so a segment that two servers might read differently
(an encoded slash, a dot segment, a path parameter) is refused and never interpreted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.kernel.errors import MalformedRequestError

_NAME: Final = re.compile(r"\{([a-z][a-z0-9_]{0,63})\}\Z")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")
_RAW: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2}){1,512}\Z")
"""A segment of RFC 3986 without `;`, which some servers take for the start of parameters."""
_AMBIGUOUS: Final = frozenset("/\\?#%;")
_HINT: Final = "write /orders/{order_id}: literal segments, and names in braces"


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A path whose segments are literal, or named."""

    text: str
    segments: tuple[str, ...]
    """The literal text, or the name."""
    named: tuple[bool, ...]

    @property
    def pattern(self) -> str:
        """The path as the router takes it: `*` for each name."""
        parts = ("*" if named else text for text, named in zip(self.segments, self.named, strict=True))
        return "/" + "/".join(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in it."""
        return tuple(text for text, named in zip(self.segments, self.named, strict=True) if named)

    def read(self, path: str) -> dict[str, str]:
        """Return each name's segment as text, of a path that the router matched.

        Raises MalformedRequestError for a segment that could be read in two ways.
        """
        found: dict[str, str] = {}
        for text, named, raw in zip(self.segments, self.named, path.split("/")[1:], strict=True):
            if named:
                found[text] = _segment(text, raw)
        return found

    def moved(self, path: str, other: PathTemplate) -> str:
        """Return a path of this template as one of another: the same raw segments under the same names."""
        raw = dict(zip(self.segments, path.split("/")[1:], strict=True))
        parts = (
            raw[text] if named else text for text, named in zip(other.segments, other.named, strict=True)
        )
        return "/" + "/".join(parts)


def read_template(text: str) -> PathTemplate:
    """Return the template that a text is. Raises ValueError with the reason."""
    if not text.startswith("/") or text == "/":
        raise ValueError(f"a path begins with a slash and names something: {_HINT}")
    segments, named = [], []
    for part in text[1:].split("/"):
        if (match := _NAME.match(part)) is not None:
            if match[1] in segments:
                raise ValueError(f"`{{{match[1]}}}` stands there twice")
            segments.append(match[1])
        elif _LITERAL.match(part) and part not in {".", ".."}:
            segments.append(part)
        else:
            raise ValueError(f"`{part[:40]}` is no segment: {_HINT}")
        named.append(match is not None)
    return PathTemplate(text, tuple(segments), tuple(named))


def overlap(one: str, other: str) -> bool:
    """Tell whether some path fits two different patterns, so that nobody could say which one decides."""
    if "*" not in one or "*" not in other or one == other:
        return False
    pairs = [*zip(one.split("/"), other.split("/"), strict=False)]
    return one.count("/") == other.count("/") and all(a == b or "*" in {a, b} for a, b in pairs)


def _segment(name: str, raw: str) -> str:
    text = ""
    if _RAW.match(raw):
        try:
            text = unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            text = ""
    if not text.isprintable() or text in {"", ".", ".."} or _AMBIGUOUS.intersection(text):
        raise MalformedRequestError(
            f"the path's `{name}` could be read in more than one way",
            hint="send letters, digits and - . _ ~, and nothing that is a separator anywhere",
        )
    return text
