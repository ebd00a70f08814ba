"""Where in a configuration file a value stands, for messages: `line 7, column 5, `."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gateway.kernel.errors import InvalidPolicyError
from gateway.policy.document import Node, read_document


def place_of(path: str, pointers: Iterable[str]) -> dict[str, str]:
    """Return the place of each RFC 6901 pointer, as words to set before it.

    A value that is not there has the place of the nearest one around it; a file that cannot be read (any
    more) has no places.
    """
    try:
        document = read_document(Path(path).read_bytes(), source=path)
    except (OSError, InvalidPolicyError):
        return {}
    return {pointer: _words(_nearest(document, pointer)) for pointer in pointers}


def _nearest(node: Node, pointer: str) -> Node:
    for token in pointer.split("/")[1:]:
        step = token.replace("~1", "/").replace("~0", "~")
        if step in node.members:
            node = node.members[step]
        elif step.isdecimal() and int(step) < len(node.items):
            node = node.items[int(step)]
        else:
            break
    return node


def _words(node: Node) -> str:
    return f"line {node.line}, column {node.column}, "
