"""The desk: one store, many configurations, and a store that fails."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.embed.config import LumynConfig
from gateway.embed.desk import CONFIGS_MAX, REOPEN_S, Desk
from gateway.engine.packs import check_pack
from gateway.kernel.errors import InvalidPolicyError, InvalidRequestError, NotFoundError, StoreSetupError
from gateway.policy.builtin import SUPPORT
from tests.kit.entries import StillClock
from tests.kit.refunds import refund
from tests.kit.seeded import SeededRandomness

CONFIG = LumynConfig(store_path="unused")


def _desk(path: Path, clock: StillClock | None = None) -> Desk:
    return Desk(f"sqlite:{path}", clock or StillClock(), SeededRandomness())


async def test_what_it_decides_is_stored_and_replays(tmp_path: Path) -> None:
    """A decision can be read back, replayed to the same bytes, and packed so that the pack is whole."""
    desk = _desk(tmp_path / "s.db")
    body = await desk.decide(CONFIG, refund())
    decision_id = orjson.loads(body)["decision_id"]
    assert await desk.read(decision_id) == body
    assert (await desk.replay(decision_id)).decision.body == body
    assert check_pack(await desk.pack(decision_id)).ok
    await desk.close()


async def test_a_changed_policy_file_decides_at_once(tmp_path: Path) -> None:
    """Editing the policy changes the next decision; a broken edit raises, with its line."""
    file = tmp_path / "p.yml"
    file.write_text(Path(SUPPORT).read_text())
    config = LumynConfig(store_path="unused", policy_path=file)
    desk = _desk(tmp_path / "s.db")
    assert orjson.loads(await desk.decide(config, refund()))["verdict"] == "TRUST"
    file.write_text(Path(SUPPORT).read_text().replace("refund_trust_usd: 25", "refund_trust_usd: 1"))
    second = orjson.loads(await desk.decide(config, refund()))
    assert second["verdict"] == "ESCALATE"
    assert (await desk.replay(second["decision_id"])).identical
    file.write_text("schema_version: policy.v0\n")
    with pytest.raises(InvalidPolicyError) as caught:
        await desk.decide(config, refund())
    assert caught.value.problems[0].line == 1
    await desk.close()


async def test_a_store_that_cannot_be_opened_abstains_and_comes_back(tmp_path: Path) -> None:
    """While there is no place for the store the answer is ABSTAIN; once there is, decisions are stored."""
    clock = StillClock()
    desk = _desk(tmp_path / "missing/deeper/s.db", clock)
    record = orjson.loads(await desk.decide(CONFIG, refund()))
    assert (record["verdict"], record["reason_codes"]) == ("ABSTAIN", ["STORAGE_UNAVAILABLE"])
    with pytest.raises(StoreSetupError):
        await desk.read(record["decision_id"])
    (tmp_path / "missing").mkdir()
    # Until it is time to look again the first refusal answers.
    assert orjson.loads(await desk.decide(CONFIG, refund()))["verdict"] == "ABSTAIN"
    clock.now_s += REOPEN_S
    assert orjson.loads(await desk.decide(CONFIG, refund()))["verdict"] == "TRUST"
    await desk.close()


async def test_a_closed_store_abstains(tmp_path: Path) -> None:
    """After close a decision is ABSTAIN and raises nothing."""
    desk = _desk(tmp_path / "s.db")
    await desk.decide(CONFIG, refund())
    await desk.close()
    assert orjson.loads(await desk.decide(CONFIG, refund()))["reason_codes"] == ["STORAGE_UNAVAILABLE"]


async def test_configurations_share_memory_and_not_policies(tmp_path: Path) -> None:
    """A failure labelled under one configuration is known under another with the same store."""
    desk = _desk(tmp_path / "s.db")
    first = orjson.loads(await desk.decide(CONFIG, refund()))
    await desk.append(first["decision_id"], "label", {"label": "failure"})
    other = LumynConfig(store_path="unused", mode="advisory")
    record = orjson.loads(await desk.decide(other, refund()))
    assert (record["verdict"], record["policy"]["mode"]) == ("ESCALATE", "advisory")
    without = LumynConfig(store_path="unused", top_k=0)
    assert orjson.loads(await desk.decide(without, refund()))["verdict"] == "TRUST"
    await desk.close()


async def test_compiled_configurations_are_bounded(tmp_path: Path) -> None:
    """However many configurations ask, only the latest few stay compiled."""
    desk = _desk(tmp_path / "s.db")
    for number in range(CONFIGS_MAX + 3):
        desk.policies(LumynConfig(store_path="unused", packs=(), top_k=number))
    assert len(desk._settings) == CONFIGS_MAX


async def test_unknown_ids_and_false_digests_are_refused(tmp_path: Path) -> None:
    """An id that is none is NotFoundError; content that is not what its digest says is a request error."""
    desk = _desk(tmp_path / "s.db")
    with pytest.raises(NotFoundError):
        await desk.read("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    with pytest.raises(NotFoundError):
        await desk.pack("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    inline = {"mode": "inline", "inline": {"a": 1}, "digest": "sha256:" + "0" * 64}
    with pytest.raises(InvalidRequestError) as caught:
        await desk.decide(CONFIG, refund(context=inline))
    assert caught.value.pointer == "/context/digest"
    await desk.close()


async def test_only_who_decides_reads_all_memory(tmp_path: Path) -> None:
    """Reading and labelling leave the index empty; the first decision fills it, with what was labelled."""
    first = _desk(tmp_path / "s.db")
    decision_id = orjson.loads(await first.decide(CONFIG, refund()))["decision_id"]
    await first.close()
    second = Desk(f"sqlite:{tmp_path}/s.db", StillClock(), SeededRandomness(2))
    await second.append(decision_id, "label", {"label": "failure"})
    await second.read(decision_id)
    assert second._index.prefix("acme", "support.refund").length == 0
    assert orjson.loads(await second.decide(CONFIG, refund()))["verdict"] == "ESCALATE"
    await second.close()
