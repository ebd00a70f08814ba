"""Heads outside the store: one line each, the furthest of each writer counts, torn lines do not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.chain import LINK_BYTES
from gateway.store.anchor import AnchorFile, Head, anchor_path, furthest, parse_head, read_anchors

LINK = b"\x01" * LINK_BYTES


def head(seq: int, writer: str = "W", at_ms: int = 5) -> Head:
    """A head whose link is told from others' by its sequence."""
    return Head(writer, seq, seq.to_bytes(LINK_BYTES, "big"), at_ms)


def test_the_anchor_lies_beside_its_database() -> None:
    """Its name is that of the file with `-anchor` behind it."""
    assert anchor_path(Path("/x/lumyn.db")) == Path("/x/lumyn.db-anchor")


def test_heads_are_read_back_and_told(tmp_path: Path) -> None:
    """The furthest head of each writer is read; the hook is told each one; only we may read the file."""
    told: list[Head] = []
    path = tmp_path / "anchor"
    file = AnchorFile(path, told.append)
    for one in (head(3), head(9), head(4, "V")):
        file.write(one)
    file.close()
    file.close()
    assert read_anchors(path) == {"W": head(9), "V": head(4, "V")}
    assert told == [head(3), head(9), head(4, "V")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_head_is_written_once_and_none_not_at_all(tmp_path: Path) -> None:
    """A writer that stands still, or has written nothing, adds no line."""
    file = AnchorFile(tmp_path / "anchor")
    for one in (Head("W", -1, LINK, 1), head(3), head(3, at_ms=9)):
        file.write(one)
    file.close()
    assert (tmp_path / "anchor").read_text().count("\n") == 1


def test_a_hook_without_a_file(tmp_path: Path) -> None:
    """Where there is no file the hook alone is told."""
    told: list[Head] = []
    AnchorFile(None, told.append).write(head(1))
    assert told == [head(1)]
    assert read_anchors(tmp_path / "missing") == {}


def test_a_file_that_cannot_be_opened_raises(tmp_path: Path) -> None:
    """The caller hears of it at once."""
    with pytest.raises(OSError, match="No such file"):
        AnchorFile(tmp_path / "no" / "anchor")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "1 2 3\n",
        f"1 {LINK.hex()} 5 W",
        f"x {LINK.hex()} 5 W\n",
        f"1 {LINK.hex()[:-2]} 5 W\n",
        "1 zz 5 W\n",
        f"1 {LINK.hex()} x W\n",
        f"1 {LINK.hex()} 5 W more\n",
    ],
)
def test_a_torn_line_is_no_head(line: str) -> None:
    """A line without its end, of another length or with other words is passed over."""
    assert parse_head(line) is None


@given(st.lists(st.tuples(st.sampled_from("VW"), st.integers(0, 99)), max_size=20))
def test_the_furthest_of_each_writer_counts(pairs: list[tuple[str, int]]) -> None:
    """In whatever order heads come, the greatest sequence of each writer is kept."""
    found = furthest(head(seq, writer) for writer, seq in pairs)
    assert {writer: one.seq for writer, one in found.items()} == {
        writer: max(seq for name, seq in pairs if name == writer) for writer, _ in pairs
    }
