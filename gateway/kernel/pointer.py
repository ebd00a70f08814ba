"""JSON pointers (RFC 6901): how an error says where in a document it found its reason.

Pure text; never longer than its bound, whatever the caller put into its keys.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.kernel.bounds import POINTER_CHARS_MAX
from gateway.kernel.types import JSON


def join(path: Iterable[str | int]) -> str:
    """Return the pointer of a path from the root; where it grows too long, of the last ancestor that fits.

    A step that no UTF-8 text can hold (a lone surrogate) also ends the path at its parent.
    """
    pointer = ""
    for step in path:
        longer = f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"
        if len(longer) > POINTER_CHARS_MAX or not encodable(longer):
            break
        pointer = longer
    return pointer


def resolve(document: JSON, pointer: str) -> JSON:
    """Return the value that `pointer` names, or raise KeyError where the document has none there.

    Steps into objects and arrays only; `-` and indices with leading zeros name nothing.
    """
    if pointer and not pointer.startswith("/"):
        raise KeyError(pointer)
    value = document
    for step in pointer.split("/")[1:]:
        if isinstance(value, dict):
            value = value[step.replace("~1", "/").replace("~0", "~")]
        elif isinstance(value, list) and _is_index(step, len(value)):
            value = value[int(step)]
        else:
            raise KeyError(pointer)
    return value


def _is_index(step: str, length: int) -> bool:
    # The length guard keeps int() from reading a million digits.
    plain = step.isascii() and step.isdigit() and len(step) < 19
    return plain and (step == "0" or step[0] != "0") and int(step) < length


def encodable(text: str) -> bool:
    """Tell whether UTF-8 can hold `text`: false where it has a lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
