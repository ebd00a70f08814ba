"""The file that dropped records live on in: JSON Lines, one stored entry a line, with its ledger columns.

Each line holds `position`, `writer`, `seq`, `link`, the link `before` it, whether the store `kept` it too,
the columns, and the body as text (or `body_base64` where it is none). Every line can be checked alone, and
lines of one writer that follow each other fit together. Nothing here may talk to a database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.kernel.errors import RecordError
from gateway.records.chain import genesis, link
from gateway.store.rows import ENTRY_COLUMNS, header_of

_COLUMNS: Final = ENTRY_COLUMNS[:-1]


def archive_line(row: Sequence[Any], before: bytes, *, kept: bool) -> bytes:
    """Return the line of a row: `position`, `writer` (its id), `seq`, `link`, then `ENTRY_COLUMNS`."""
    position, writer, seq, stored, *columns, body = row
    value = {
        "position": position,
        "writer": writer,
        "seq": seq,
        "link": bytes(stored).hex(),
        "before": before.hex(),
        "kept": kept,
        **{name: column for name, column in zip(_COLUMNS, columns, strict=True) if column is not None},
    }
    try:
        value["body"] = bytes(body).decode()
    except UnicodeDecodeError:
        value["body_base64"] = base64.b64encode(body).decode()
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def verify_archive(path: Path, wanted: Sequence[tuple[int, str]] | None = None) -> int:
    """Check every line of an archive, read anew from its file; return how many there are.

    `wanted` are the stretches that it must consist of: lines, and the `sha256:` digest of them. Raises
    `RecordError` that names the first line that is not what was stored, and OSError.
    """
    ends: dict[str, tuple[int, str]] = {}
    stretches = iter(wanted or ())
    left, digest = 0, ""
    found = hashlib.sha256()
    count = 0
    with path.open("rb") as file:
        for count, line in enumerate(file, 1):
            what = _misfit(line, ends)
            if wanted is not None and left == 0:
                left, digest = next(stretches, (-1, ""))
            found.update(line)
            left -= 1
            if left == 0 and f"sha256:{found.hexdigest()}" != digest:
                what = what or "up to here the file is not what was written"
            if left == 0:
                found = hashlib.sha256()
            if what or (wanted is not None and left < 0):
                raise RecordError(
                    f"{path} line {count}: {what or 'more than was written'}",
                    hint="nothing was dropped: run `lumyn verify`, then export again",
                )
    if wanted is not None and (left > 0 or next(stretches, None) is not None):
        raise RecordError(f"{path} ends after line {count}: it is cut off", hint="export again")
    return count


def _misfit(line: bytes, ends: dict[str, tuple[int, str]]) -> str:
    """Say what is wrong with a line by itself or after the last one of its writer, or nothing."""
    try:
        value = orjson.loads(line)
        columns = [value.get(name) for name in _COLUMNS]
        encoded = value.get("body_base64")
        body = value["body"].encode() if encoded is None else base64.b64decode(encoded, validate=True)
        writer, seq, before, stored = value["writer"], value["seq"], value["before"], value["link"]
        computed = link(bytes.fromhex(before), header_of(columns), body).hex()
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        return f"no record of ours ({type(error).__name__})"
    known = ends.get(writer)
    ends[writer] = (seq, stored)
    if computed != stored:
        return "changed: its link does not fit what it holds"
    if seq == 0 and before != genesis(writer).hex():
        return "its chain does not begin with its writer"
    if known is not None and known[0] == seq - 1 and known[1] != before:
        return "it does not follow the record before it"
    return ""
