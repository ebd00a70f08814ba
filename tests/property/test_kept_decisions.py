"""Whatever is decided can be kept, decided again to the same bytes, and packed so that the pack is whole."""

from __future__ import annotations

from pathlib import Path
from random import Random

import orjson

from gateway.embed.config import LumynConfig
from gateway.embed.desk import Desk
from gateway.engine.backtest import redecide
from gateway.engine.packs import check_pack
from gateway.memory.items import LABELS
from gateway.records.markdown import CHARS_MAX, LINES_MAX, record_markdown
from gateway.records.request import validate_request
from tests.kit.entries import StillClock
from tests.kit.generate import make_policy, make_request
from tests.kit.seeded import SeededRandomness

POLICIES = 12
REQUESTS = 6


async def test_every_generated_decision_replays_from_store_and_pack(tmp_path: Path) -> None:
    """Under generated policies, with labels growing in between, no record differs from its replay."""
    random = Random(11)
    desk = Desk(f"sqlite:{tmp_path}/s.db", StillClock(), SeededRandomness())
    for number in range(POLICIES):
        file = tmp_path / f"p{number}.yml"
        file.write_bytes(orjson.dumps(make_policy(random)))
        config = LumynConfig(store_path="unused", policy_path=file)
        for _ in range(REQUESTS):
            request = validate_request(make_request(random))
            record = orjson.loads(await desk.decide(config, request))
            decision_id = record["decision_id"]
            assert record["reason_codes"] != ["STORAGE_UNAVAILABLE"]
            assert (await desk.replay(decision_id)).identical, record
            assert check_pack(await desk.pack(decision_id)).faults == ()
            assert redecide(record, desk.policies(config)) is None
            text = record_markdown(record)
            assert len(text.splitlines()) <= LINES_MAX
            assert len(text) <= CHARS_MAX + 40
            if random.random() < 0.5:
                await desk.append(decision_id, "label", {"label": random.choice(LABELS)})
    await desk.close()
