"""Every line of an archive can be checked, and any change of the file is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest

from gateway.kernel.errors import RecordError
from gateway.records.chain import genesis, link
from gateway.store.archive import archive_line, verify_archive
from gateway.store.rows import seal
from tests.kit.entries import control, decision, event, memory_item, policy

WRITER = "01M7Y1Q9FAYWB50PTMYXXEZF4S"
ENTRIES = (decision(1, request_key="k"), event(1, "D"), memory_item(1), policy(), control(1), decision(2))


def lines_of() -> list[bytes]:
    """An archive of each kind of entry, in one chain."""
    before, lines = genesis(WRITER), []
    for seq, entry in enumerate(ENTRIES):
        sealed = seal(entry)
        after = link(before, sealed.header, entry.body)
        lines.append(archive_line((seq + 1, WRITER, seq, after, *sealed.row), before, kept=seq == 2))
        before = after
    return lines


def changed(line: bytes, **values: object) -> bytes:
    """A line with other values."""
    return orjson.dumps(orjson.loads(line) | values, option=orjson.OPT_APPEND_NEWLINE)


def written(tmp_path: Path, lines: list[bytes]) -> Path:
    """A file of these lines."""
    path = tmp_path / "archive"
    path.write_bytes(b"".join(lines))
    return path


def stretch(lines: list[bytes]) -> tuple[int, str]:
    """What a segment says of its lines."""
    return len(lines), f"sha256:{hashlib.sha256(b''.join(lines)).hexdigest()}"


def test_a_whole_archive_verifies(tmp_path: Path) -> None:
    """By itself and against its stretches, and each line holds the columns and the body as text."""
    lines = lines_of()
    path = written(tmp_path, lines)
    assert verify_archive(path) == len(ENTRIES)
    assert verify_archive(path, [stretch(lines[:4]), stretch(lines[4:])]) == len(ENTRIES)
    first = orjson.loads(lines[0])
    assert (first["body"].encode(), first["kept"], first["request_key"]) == (ENTRIES[0].body, False, "k")
    assert orjson.loads(lines[2])["kept"] is True
    assert "label" not in first, "what a kind does not have is left out"


def test_a_body_that_is_no_text_is_kept_too(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 come as base64 and verify."""
    sealed = seal(decision(1, body=b"\xff\x00"))
    after = link(genesis(WRITER), sealed.header, sealed.body)
    line = archive_line((1, WRITER, 0, after, *sealed.row), genesis(WRITER), kept=False)
    assert "body" not in orjson.loads(line)
    assert verify_archive(written(tmp_path, [line])) == 1
    with pytest.raises(RecordError, match="no record of ours"):
        verify_archive(written(tmp_path, [changed(line, body_base64="?")]))


def relinked(line: bytes) -> dict[str, str]:
    """Links that make a line whole by itself, behind another entry than the one it follows."""
    value, before = orjson.loads(line), b"\x07" * 32
    sealed = seal(control(1))
    return {"before": before.hex(), "link": link(before, sealed.header, value["body"].encode()).hex()}


@pytest.mark.parametrize(
    ("at", "values", "word"),
    [
        (3, {"policy_id": "x"}, "changed"),
        (3, {"body": "x"}, "changed"),
        (3, {"label": "x"}, "no record of ours"),
        (3, {"link": None}, "changed"),
        (3, {"before": None}, "no record of ours"),
        (0, {"writer": "other"}, "does not begin"),
        (4, None, "does not follow"),
    ],
    ids=str,
)
def test_a_changed_line_is_named(
    tmp_path: Path, at: int, values: dict[str, object] | None, word: str
) -> None:
    """Any line that is not what was stored, or does not follow the one before, is named by its number."""
    lines = lines_of()
    lines[at] = changed(lines[at], **(relinked(lines[at]) if values is None else values))
    with pytest.raises(RecordError, match=f"line {at + 1}: .*{word}"):
        verify_archive(written(tmp_path, lines))


@pytest.mark.parametrize("line", [b"[]\n", b"\n", b"{}\n", b'{"position":1,"wri', b"\xff\n"])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes) -> None:
    """What cannot be read at all is named in the same way."""
    lines = lines_of()
    lines[1] = line
    with pytest.raises(RecordError, match="line 2: no record of ours"):
        verify_archive(written(tmp_path, lines))


def test_an_archive_that_is_not_the_one_that_was_written(tmp_path: Path) -> None:
    """Whole lines that are fewer, more or others than were written are refused."""
    lines = lines_of()
    wanted = [stretch(lines[:3]), stretch(lines[3:])]
    for fewer in (lines[:-1], lines[:3], []):
        with pytest.raises(RecordError, match="cut off"):
            verify_archive(written(tmp_path, fewer), wanted)
    with pytest.raises(RecordError, match="more than was written"):
        verify_archive(written(tmp_path, lines), wanted[:1])
    with pytest.raises(RecordError, match=r"line 3: .*not what was written"):
        verify_archive(written(tmp_path, [changed(lines[0], kept=True), *lines[1:]]), wanted)
