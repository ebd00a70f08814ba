"""The chain vectors: each fault of a ledger is found where it is, and a whole one has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.store.anchor import Head
from gateway.store.audit import Fault, Part, check_rows, join
from tests.kit.chains import FAULTS, NUMBERS, PLACE, row_of

WRITERS = {number: writer for writer, number in NUMBERS.items()}
FILES = sorted(PLACE.glob("*.json"))


def first_fault(case: dict[str, Any], cut: int) -> Fault | None:
    """What a verifier finds first that reads the entries in two parts."""
    heads = {
        one["writer"]: Head(one["writer"], one["seq"], bytes.fromhex(one["link"]), 0)
        for one in case["anchors"]
    }
    anchored = {(head.writer, head.seq): head.link for head in heads.values()}
    rows = [row_of(entry) for entry in case["entries"]]
    parts = []
    for some in (rows[:cut], rows[cut:]):
        part = Part()
        check_rows(part, some, WRITERS, anchored)
        parts.append(part)
    return next(iter(join(Part(), parts, {}, heads).faults), None)


def test_every_fault_has_its_file() -> None:
    """None is lost, and none is left over."""
    assert {path.stem for path in FILES} == {*FAULTS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("cut", [0, 3, 4])
def test_the_first_fault_is_named(path: Path, cut: int) -> None:
    """Wherever a verifier cuts its work, it names the writer, the sequence and what is wrong."""
    case = orjson.loads(path.read_bytes())
    found, wanted = first_fault(case, cut), case["finds"]
    if wanted is None:
        assert found is None
        return
    assert found is not None
    assert (found.writer, found.seq) == (wanted["writer"], wanted["seq"])
    assert wanted["what"] in found.what
