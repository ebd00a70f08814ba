"""The library over every driver: decided, labelled, learnt from, replayed, packed."""

from __future__ import annotations

from gateway.engine.packs import check_pack
from lumyn import Lumyn, LumynConfig
from tests.kit.refunds import refund


def test_the_library_does_the_same_on_every_store(url: str) -> None:
    """A labelled failure escalates the next refund, and its record replays and packs, wherever it lies."""
    config = LumynConfig(storage_url=url)
    with Lumyn(config) as lumyn:
        first = lumyn.decide(refund(request_id="r-1"))
        assert lumyn.decide(refund(request_id="r-1")) == first
        lumyn.label(first["decision_id"], "failure")
        second = lumyn.decide(refund(19))
        assert (first["verdict"], second["verdict"]) == ("TRUST", "ESCALATE")
        assert lumyn.replay(second["decision_id"])["identical"]
        pack = lumyn._running().call(lambda desk: desk.pack(second["decision_id"]))
    assert check_pack(pack).ok
