"""Verification finds each kind of tampering and names it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.kernel.errors import RecordError
from gateway.records.chain import genesis, link
from gateway.store import verify
from gateway.store.anchor import Head, anchor_path
from gateway.store.rows import ENTRY_LIST, header_of, seal
from gateway.store.segments import segment_text
from gateway.store.sqlite import open_sqlite
from gateway.store.verify import verify_sqlite
from tests.kit.entries import CountedRandomness, StillClock, control, decision, event, memory_item, policy

COUNT = 20


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A closed store of twenty decisions, ids as `decision(n)`, sequence n."""
    place = tmp_path / "lumyn.db"
    store = await open_sqlite(place, clock=StillClock(), randomness=CountedRandomness())
    await asyncio.gather(*(store.submit([decision(n)]) for n in range(COUNT)))
    await store.close()
    return place


def tamper(path: Path, *statements: str) -> None:
    """Change the file as one would who has the right to write it: triggers away first."""
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER entries_never_change")
    connection.execute("DROP TRIGGER entries_never_leave")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_whole_store_verifies(tmp_path: Path) -> None:
    """Every kind of entry, from two writers at once, verifies; progress reaches the end."""
    place = tmp_path / "lumyn.db"
    clock = StillClock()
    one = await open_sqlite(place, clock=clock, randomness=CountedRandomness(1))
    two = await open_sqlite(place, clock=clock, randomness=CountedRandomness(2))
    for number in range(10):
        await one.submit([decision(2 * number), event(2 * number, decision(2 * number).entry_id)])
        await two.submit([decision(2 * number + 1), policy(), control(number), memory_item(number)])
    await one.close()
    await two.close()
    seen: list[tuple[int, int]] = []
    report = verify_sqlite(place, progress=lambda done, total: seen.append((done, total)))
    assert report.faults == ()
    assert report.records == 10 * 2 + 10 * 3 + 1
    assert {head.seq for head in report.heads.values()} == {19, 30}
    assert seen == [(51, 51)]
    report.raise_first()


@pytest.mark.parametrize(
    ("statements", "seq", "word"),
    [
        (
            ["UPDATE entries SET body = cast(replace(body, 'TRUST', 'QUERY') AS BLOB) WHERE seq = 7"],
            7,
            "changed",
        ),
        (["UPDATE entries SET verdict = 'QUERY' WHERE seq = 7"], 7, "changed"),
        (["UPDATE entries SET request_key = 'k' WHERE seq = 0"], 0, "changed"),
        (["UPDATE entries SET label = 'x' WHERE seq = 3"], 3, "column is set"),
        (["UPDATE entries SET link = zeroblob(32) WHERE seq = 7"], 7, "changed"),
        (["DELETE FROM entries WHERE seq = 7"], 8, "sequence 7 is missing"),
        (["DELETE FROM entries WHERE seq = 0"], 1, "sequence 0 is missing"),
        (["DELETE FROM entries WHERE seq > 16"], 17, "truncated"),
        (["DELETE FROM entries"], 0, "truncated"),
        (
            [
                "UPDATE entries SET position = -1 WHERE seq = 7",
                "UPDATE entries SET position = 8 WHERE seq = 8",
                "UPDATE entries SET position = 9 WHERE seq = 7",
            ],
            8,
            "missing",
        ),
        (["UPDATE entries SET seq = CASE seq WHEN 7 THEN 8 ELSE 7 END WHERE seq IN (7, 8)"], 8, "missing"),
        (["UPDATE entries SET kind = 'other' WHERE seq = 7"], 7, "no such kind"),
        (["UPDATE entries SET writer = 9 WHERE seq = 7"], 7, "writer is not known"),
        (["UPDATE entries SET reason_codes = 'x' WHERE seq = 7"], 7, "changed"),
    ],
)
@pytest.mark.parametrize("chunk", [verify.CHUNK_POSITIONS, 3])
def test_tampering_is_found_and_named(
    path: Path, statements: list[str], seq: int, word: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first changed, missing, reordered or cut record is named, wherever the chunks meet."""
    monkeypatch.setattr(verify, "CHUNK_POSITIONS", chunk)
    assert verify_sqlite(path).faults == ()
    tamper(path, *statements)
    first = verify_sqlite(path).faults[0]
    assert (first.seq, word in first.what) == (seq, True), str(first)
    with pytest.raises(RecordError, match=word):
        verify_sqlite(path).raise_first()


def forge(path: Path, change: Callable[[sqlite3.Connection], None]) -> None:
    """Change entries, then compute every link anew, as a careful forger would."""
    tamper(path)
    connection = sqlite3.connect(path)
    change(connection)
    writer = connection.execute("SELECT writer FROM writers").fetchone()[0]
    head = genesis(writer)
    rows = connection.execute(f"SELECT position, {ENTRY_LIST} FROM entries ORDER BY position").fetchall()
    for seq, (position, *row) in enumerate(rows):
        head = link(head, header_of(row), row[-1])
        connection.execute("UPDATE entries SET link = ?, seq = ? WHERE position = ?", (head, seq, position))
    connection.commit()
    connection.close()


def test_a_forged_chain_meets_the_anchor(path: Path) -> None:
    """Whoever computes the whole chain anew is found by the head that lies outside."""
    forge(path, lambda c: c.execute("UPDATE entries SET model = 'other' WHERE seq = 7") and None)
    first = verify_sqlite(path).faults[0]
    assert (first.seq, first.what) == (COUNT - 1, "not the record that was anchored")


def test_columns_are_held_against_the_body(path: Path) -> None:
    """A column that contradicts its body is found even where chain and anchor fit."""
    forge(path, lambda c: c.execute("UPDATE entries SET verdict = 'QUERY' WHERE seq = 7") and None)
    anchor_path(path).unlink()
    assert [(f.seq, f.what) for f in verify_sqlite(path).faults] == [(7, "column and body disagree: verdict")]


def test_a_head_from_a_log_is_an_anchor_too(path: Path) -> None:
    """Without its anchor file a cut tail is found by a head that a log kept."""
    known = verify_sqlite(path).heads
    anchor_path(path).unlink()
    tamper(path, "DELETE FROM entries WHERE seq > 16")
    assert verify_sqlite(path).faults == ()
    assert verify_sqlite(path, anchors=known).faults[0].seq == 17
    unheard_of = {"W": Head("W", 3, b"", 0)}
    assert "truncated" in verify_sqlite(path, anchors=unheard_of).faults[0].what


def test_processes_agree_with_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes find what one finds."""
    tamper(path, "UPDATE entries SET model = 'x' WHERE seq IN (3, 11)", "DELETE FROM entries WHERE seq = 15")
    alone = verify_sqlite(path)
    monkeypatch.setattr(verify, "CHUNK_POSITIONS", 4)
    monkeypatch.setattr(verify, "INLINE_MAX", 0)
    assert verify_sqlite(path, jobs=2) == alone
    assert [fault.seq for fault in alone.faults] == [3, 11, 16]


def test_what_is_no_store_is_said_in_one_line(tmp_path: Path) -> None:
    """A file that is missing or no database is a RecordError with its name."""
    with pytest.raises(RecordError, match="cannot be read"):
        verify_sqlite(tmp_path / "missing.db")
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(RecordError, match="cannot be read"):
        verify_sqlite(tmp_path / "text")


def test_a_sealed_entry_has_the_header_of_its_row() -> None:
    """The header that is hashed at submit is the one that verification computes from the row."""
    for entry in (decision(1, request_key="k"), event(1, "D"), memory_item(1), policy(), control(1)):
        sealed = seal(entry)
        assert header_of(sealed.row) == sealed.header


def test_a_sealed_segment_can_leave_and_the_rest_verifies(path: Path) -> None:
    """What a sealed segment names may be deleted, nothing else; the chain goes on from the sealed head."""
    connection = sqlite3.connect(path)
    head, writer = connection.execute(
        "SELECT lower(hex(link)), writers.writer FROM entries JOIN writers ON number = entries.writer "
        "WHERE seq = 9"
    ).fetchone()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM entries WHERE seq <= 9")
    heads = segment_text([Head(writer, 9, bytes.fromhex(head), 0)], [], [])
    connection.execute("INSERT INTO segments VALUES (1, 10, 0, ?, 'sha256:x')", (heads,))
    connection.execute("INSERT INTO dropped VALUES (1, 1, 10)")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM entries WHERE seq <= 10")
    connection.execute("DELETE FROM entries WHERE seq <= 9")
    connection.commit()
    report = verify_sqlite(path)
    assert (report.faults, report.records) == ((), COUNT - 10)
    tamper(path, "DELETE FROM entries WHERE seq = 10")
    assert "sequence 10 is missing" in verify_sqlite(path).faults[0].what
    connection.close()
