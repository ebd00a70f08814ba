"""The format of decision packs."""

from __future__ import annotations

import io
import zipfile

import pytest

from gateway.engine.decide import EngineSettings, Stamp, decide
from gateway.kernel.errors import RecordError
from gateway.memory.types import NO_ADVICE
from gateway.pipeline.policies import policy_set
from gateway.policy.builtin import PACKS, SUPPORT
from gateway.records import pack
from gateway.records.pack import ENTRIES_MAX, PackContents, build_pack, pack_entries, read_pack, zip_entries
from tests.kit.refunds import refund

POLICIES = policy_set(SUPPORT, PACKS, default_packs=True)
RECORD = decide(
    refund(),
    policies=POLICIES,
    advice=NO_ADVICE,
    settings=EngineSettings(),
    stamp=Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000),
).record
CONTENTS = PackContents(RECORD, POLICIES.main.text, None)


def test_the_first_entries_are_those_of_the_reference() -> None:
    """Record, policy, request and README come first, in this order."""
    names = list(pack_entries(CONTENTS))
    assert names[:4] == ["decision_record.json", "policy.yml", "request.json", "README.txt"]


def test_a_pack_is_reproducible_and_can_be_read() -> None:
    """Packing twice gives the same bytes, and reading gives the entries."""
    data = build_pack(CONTENTS)
    assert build_pack(CONTENTS) == data
    assert read_pack(data) == pack_entries(CONTENTS)


def test_any_zip_tool_can_read_it() -> None:
    """The file passes zip's own check and says its fixed time."""
    with zipfile.ZipFile(io.BytesIO(build_pack(CONTENTS))) as file:
        assert file.testzip() is None
        assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_compressed_packs_are_read_too() -> None:
    """Packs of the reference are deflated; they are read alike."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in pack_entries(CONTENTS).items():
            file.writestr(name, data)
    assert read_pack(out.getvalue()) == pack_entries(CONTENTS)


def test_what_is_no_pack_is_refused() -> None:
    """No zip, too many entries, and one name twice are RecordErrors."""
    many = zip_entries({f"e{number}": b"" for number in range(ENTRIES_MAX + 1)})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a", b"2")
    for data in (b"", b"PK\x03\x04", b"x" * 100, many, out.getvalue()):
        with pytest.raises(RecordError):
            read_pack(data)


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file whose entry unpacks to more than the bound is refused by what it declares."""
    monkeypatch.setattr(pack, "PACK_BYTES_MAX", 100_000)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", b"0" * 1_000_000)
    assert len(out.getvalue()) < 100_000
    with pytest.raises(RecordError, match="more than a pack may"):
        read_pack(out.getvalue())
