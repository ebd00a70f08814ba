"""`gateway.config.places`: a pointer's line and column, or those of what is nearest to it."""

from __future__ import annotations

from pathlib import Path

from gateway.config.places import place_of

TEXT = """\
listen: {port: 0}
intents:
  - name: chat
    latency:
      ttft_ms: 500
  - name: other
"""


def test_a_value_is_found_by_its_pointer(tmp_path: Path) -> None:
    """Mappings by key, lists by number; what is missing is placed at what is around it."""
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    pointers = ("/intents/0/latency/ttft_ms", "/intents/1/quality/models", "/intents/9", "")
    assert place_of(str(path), pointers) == {
        "/intents/0/latency/ttft_ms": "line 5, column 16, ",
        "/intents/1/quality/models": "line 6, column 5, ",
        "/intents/9": "line 3, column 3, ",
        "": "line 1, column 1, ",
    }


def test_a_file_that_cannot_be_read_has_no_places(tmp_path: Path) -> None:
    """Gone, or no YAML any more: the message stands without a place."""
    assert place_of(str(tmp_path / "none"), ("/a",)) == {}
    (tmp_path / "bad").write_text("a: [")
    assert place_of(str(tmp_path / "bad"), ("/a",)) == {}
