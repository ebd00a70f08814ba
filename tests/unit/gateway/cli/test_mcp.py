"""`lumyn mcp pins`: list, look at and accept definitions of tools, on a store that a gateway also uses."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.kernel.ids import IdSource
from gateway.pipeline.pins import Pins
from gateway.store.open import open_store
from gateway.system import SystemClock, SystemRandomness
from gateway.wire.mcp.listing import definitions

URL = "sqlite:.lumyn/lumyn.db"


def see(*versions: dict[str, Any]) -> None:
    """Have a gateway see definitions of `read`, one after the other, and of `other`."""

    async def work() -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        store = await open_store(URL, clock=clock, randomness=randomness)
        pins = Pins(store, clock, IdSource(clock, randomness))
        await pins.load()
        for members in versions:
            tools = [{"name": "read", **members}, {"name": "other"}]
            await pins.see("shop", [one for one in definitions({"tools": tools}) if one is not None])
        await store.close()

    asyncio.run(work())


@pytest.fixture
def changed(lumyn) -> None:
    """A workspace in which `read` has changed."""
    assert lumyn("init").code == 0
    see({"description": "Reads."}, {"description": "Reads, and writes."})


def test_listing(lumyn, changed) -> None:
    """Every tool, or those that wait; a pipe gets tabs, a program JSON."""
    lines = lumyn("mcp", "pins", "ls").out.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["server", "tool", "state"],
        ["shop", "other", "pinned"],
        ["shop", "read", "held"],
    ]
    assert lines[1].endswith("\t-")
    waiting = orjson.loads(lumyn("mcp", "pins", "ls", "--waiting", "--json").out)
    assert [row["tool"] for row in waiting] == ["read"]
    assert waiting[0]["waiting"]["digest"] != waiting[0]["digest"]
    assert lumyn("mcp", "pins", "ls", "--server", "bank").out.splitlines() == lines[:1]


def test_looking(lumyn, changed) -> None:
    """What differs, line by line; a tool that is as it was is shown whole."""
    told = lumyn("mcp", "pins", "show", "shop", "read").out
    assert '-  "description": "Reads.",' in told
    assert '+  "description": "Reads, and writes.",' in told
    assert "waiting_digest: sha256:" in told
    assert '"name": "other"' in lumyn("mcp", "pins", "show", "shop", "other").out
    assert orjson.loads(lumyn("mcp", "pins", "show", "shop", "read", "--json").out)["state"] == "held"
    missing = lumyn("mcp", "pins", "show", "shop", "nobody")
    assert (missing.code, "is pinned" in missing.err) == (1, True)


def test_accepting(lumyn, changed) -> None:
    """By the digest that was looked at, once, and on the record with who and why."""
    [row] = orjson.loads(lumyn("mcp", "pins", "ls", "--waiting", "--json").out)
    words = ("mcp", "pins", "accept", "shop", "read", "--by", "ann", "--reason", "release notes")
    wrong = lumyn(*words, "--digest", row["digest"])
    assert wrong.code == 1
    assert "waits for anybody" in wrong.err
    done = lumyn(*words, "--digest", row["waiting"]["digest"], "--json")
    assert (done.code, orjson.loads(done.out)["digest"]) == (0, row["waiting"]["digest"])
    assert lumyn(*words, "--digest", row["waiting"]["digest"]).code == 1
    assert orjson.loads(lumyn("mcp", "pins", "ls", "--waiting", "--json").out) == []
    record = orjson.loads(lumyn("show", orjson.loads(done.out)["decision_id"]).out)
    assert record["request"]["evidence"]["accepted_by"] == "ann"
    assert lumyn("verify").code == 0


def test_a_word_needs_its_reason(lumyn, changed) -> None:
    """Without one it is wrong usage."""
    assert lumyn("mcp", "pins", "accept", "shop", "read", "--digest", "x").code == 2


def test_no_store_is_made(lumyn) -> None:
    """Where there is none it is said."""
    told = lumyn("mcp", "pins", "ls")
    assert told.code == 1
    assert "workspace not found" in told.err
