"""`lumyn export`."""

from __future__ import annotations

from pathlib import Path

import orjson


def test_a_pack_is_the_same_twice_and_replays_anywhere(lumyn, decision_id: str) -> None:
    """Exported twice the bytes are the same; without the workspace the pack still replays."""
    assert lumyn("export", decision_id, "--pack", "--out", "a.zip").out == "a.zip\n"
    assert lumyn("export", decision_id, "--out", "b.zip").code == 0
    assert Path("a.zip").read_bytes() == Path("b.zip").read_bytes()
    Path(".lumyn").rename("away")
    told = lumyn("replay", "a.zip")
    assert told.code == 0
    names = [line.split(":")[0] for line in told.out.splitlines()]
    assert names == [
        "ok",
        "decision_id",
        "verdict",
        "policy_hash",
        "context_digest",
        "inputs_digest",
        "obligations",
    ]


def test_export_of_json_and_its_refusals(lumyn, decision_id: str) -> None:
    """JSON goes to standard output or a file; a pack needs a file; a bad path is told."""
    assert orjson.loads(lumyn("export", decision_id).out)["decision_id"] == decision_id
    told = lumyn("export", decision_id, "--pack")
    assert (told.code, told.err.splitlines()[0]) == (
        1,
        "error: decision pack export requires a file path (not stdout)",
    )
    assert "cannot write no/where.json" in lumyn("export", decision_id, "--out", "no/where.json").err
