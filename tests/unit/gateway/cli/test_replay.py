"""`lumyn replay`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from controller.evaluate.scenarios import SCENARIOS
from gateway.store.open import open_store
from gateway.system import SystemClock
from tests.kit.controlledger import recorded
from tests.kit.entries import CountedRandomness


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


def stored_spike(place: Path) -> str:
    """Store the control decisions of the first seconds of a spike; return the URL of the store."""

    async def keep() -> None:
        store = await open_store(f"sqlite:{place}", clock=SystemClock(), randomness=CountedRandomness())
        await recorded(replace(SCENARIOS["spike6"], end_s=103.0), 11).store(store)
        await store.close()

    asyncio.run(keep())
    return f"sqlite:{place}"


def test_the_control_decisions_of_a_ledger(lumyn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by part, without a difference; a span can be chosen; the same as JSON."""
    monkeypatch.setenv("LUMYN_STORAGE_URL", stored_spike(tmp_path / "c.db"))
    told = lumyn("replay", "--control")
    assert (told.code, told.err) == (0, "")
    assert re.match(r"ok: \d+ control decisions made again, no difference \(epoch \d+, intents 1, ", told.out)
    found = orjson.loads(lumyn("replay", "--control", "--json").out)
    assert (found["ok"], found["differences"], found["faults"]) == (True, 0, [])
    assert found["control_decisions"] == sum(found["by_part"].values()) > 50
    later = orjson.loads(lumyn("replay", "--control", "--json", "--since", "2100-01-01").out)
    assert later["control_decisions"] == 0


def test_a_control_record_that_was_changed_is_told(
    lumyn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, one line a fault: the tick that was changed, and the plans that stand on it."""
    monkeypatch.setenv("LUMYN_STORAGE_URL", stored_spike(tmp_path / "c.db"))
    with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as connection:
        connection.execute("DROP TRIGGER entries_never_change")
        changed = "CAST(replace(CAST(body AS TEXT), '\"limit\":93', '\"limit\":92') AS BLOB)"
        connection.execute(f"UPDATE entries SET body = {changed} WHERE kind = 'control' AND label = 'tick'")
        connection.commit()
    told = lumyn("replay", "--control")
    assert (told.code, told.out) == (1, "")
    assert "its state is not the one that its digest names" in told.err
    assert "differs in llama-70b.limit" in told.err
    found = orjson.loads(lumyn("replay", "--control", "--json").out)
    assert found["differences"] == len(found["faults"]) > 0


def test_wrong_words_for_a_replay(lumyn, decision_id: str) -> None:
    """Nothing named, both named, or a span for a single decision: wrong usage."""
    assert lumyn("replay").code == 2
    assert lumyn("replay", decision_id, "--control").code == 2
    assert lumyn("replay", decision_id, "--since", "1h").code == 2
    told = lumyn("replay", "--control")
    assert (told.code, told.out.splitlines()[0]) == (
        0,
        "ok: 0 control decisions made again, no difference (none)",
    )
