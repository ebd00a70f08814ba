"""`lumyn replay`."""

from __future__ import annotations

from pathlib import Path

import orjson


def test_replay_from_the_store_and_as_json(lumyn, decision_id: str) -> None:
    """An id replays what is stored."""
    assert lumyn("replay", decision_id).out.startswith("ok\n")
    assert orjson.loads(lumyn("replay", decision_id, "--json").out)["ok"] is True
    assert lumyn("replay", decision_id, "--markdown").out.startswith("# Lumyn replay `")


def test_an_altered_pack_does_not_replay(lumyn, decision_id: str) -> None:
    """A changed byte ends with 1 and says what was changed; what is no pack is told apart."""
    lumyn("export", decision_id, "--out", "a.zip")
    data = Path("a.zip").read_bytes()
    Path("a.zip").write_bytes(data.replace(b"refund_trust_usd: 25", b"refund_trust_usd: 99"))
    told = lumyn("replay", "a.zip")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("error: ")
    Path("n.zip").write_text("no zip")
    assert "no zip file" in lumyn("replay", "n.zip").err
    assert lumyn("replay", "missing.zip").code == 1
    assert "neither a .zip file nor a decision id" in lumyn("replay", "thing").err
