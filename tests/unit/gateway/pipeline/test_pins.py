"""Pins on a real store: what is seen first holds, what changes waits, and a word is given once."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.kernel.bounds import MCP_DEFINITION_CHARS_KEPT
from gateway.kernel.errors import ConflictError, NotFoundError, StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT
from gateway.pipeline.pins import Pins
from gateway.store.port import DecisionFilter
from gateway.wire.mcp.listing import Definition, definitions
from gateway.wire.mcp.revision import MirroredArgument


def definition(name: str = "read", **members: object) -> Definition:
    """A definition as a server gives it."""
    [found] = definitions({"tools": [{"name": name, **members}]})
    assert found is not None
    return found


OLD = definition(
    annotations={"readOnlyHint": True},
    inputSchema={"properties": {"r": {"type": "string", "x-mcp-header": "R"}}},
)
NEW = definition(description="Another.")


@pytest.fixture
def pins(desk) -> Pins:
    """Pins of an empty store."""
    return Pins(desk.store, desk.clock, desk.ids)


async def reasons(desk) -> list[str]:
    """The reasons of all decisions about definitions, oldest first."""
    wanted = DecisionFilter(action_type="mcp.pin_tool")
    page = await desk.store.decisions(EVERY_TENANT, wanted, limit=100, cursor=None)
    return [entry.reason_codes[0] for entry in reversed(page.decisions)]


async def test_what_is_seen_first_holds(desk, pins) -> None:
    """Seen again it is nothing new; its hints and mirrored arguments are what was seen."""
    for _ in range(3):
        await pins.see("shop", [OLD])
    pin = pins.standing("shop", "read").in_force
    assert (pin.digest, pin.hints) == (OLD.digest, {"read_only_hint": True})
    assert pin.mirrored == (MirroredArgument(("r",), "r", integer=False),)
    assert pin.target == f"shop/read@{OLD.digest}"
    assert await reasons(desk) == ["TOOL_DEFINITION_PINNED"]
    assert pins.standing("shop", "other").pin is None
    assert pins.standing("bank", "read").pin is None


async def test_what_changes_waits_and_may_come_back(desk, pins) -> None:
    """The pin stays the same all the time; only whether it is in force changes."""
    await pins.see("shop", [OLD])
    await pins.see("shop", [NEW])
    held = pins.standing("shop", "read")
    assert held.in_force is None
    assert (held.pin.digest, held.change.digest) == (OLD.digest, NEW.digest)
    await pins.see("shop", [OLD])
    assert pins.standing("shop", "read").in_force.digest == OLD.digest
    await pins.see("shop", [NEW])
    assert pins.standing("shop", "read").in_force is None
    assert await reasons(desk) == ["TOOL_DEFINITION_PINNED", "TOOL_DEFINITION_CHANGED"]


async def test_a_word_is_given_for_what_was_looked_at(desk, pins) -> None:
    """Not for the pinned definition, not for one that never came, and not twice."""
    await pins.see("shop", [OLD])
    with pytest.raises(NotFoundError):
        await pins.accept("shop", "read", NEW.digest, by="ann", reason="r")
    await pins.see("shop", [NEW])
    for wrong in (OLD.digest, "sha256:" + "0" * 64):
        with pytest.raises(NotFoundError):
            await pins.accept("shop", "read", wrong, by="ann", reason="r")
    accepted = await pins.accept("shop", "read", NEW.digest, by="ann", reason="r")
    assert accepted.digest == NEW.digest
    assert pins.standing("shop", "read").in_force.digest == NEW.digest
    with pytest.raises(NotFoundError):
        await pins.accept("shop", "read", NEW.digest, by="ann", reason="r")
    await pins.see("shop", [OLD])
    assert pins.standing("shop", "read").in_force is None


async def test_a_word_given_elsewhere_is_heard(desk, pins) -> None:
    """Another process accepts; this one reads it before the next call of the tool."""
    await pins.see("shop", [OLD])
    await pins.see("shop", [NEW])
    await Pins(desk.store, desk.clock, desk.ids).accept("shop", "read", NEW.digest, by="ann", reason="r")
    assert pins.standing("shop", "read").in_force is None
    assert (await pins.refresh("shop", "read")).in_force.digest == NEW.digest


async def test_of_two_words_one_counts(desk, pins) -> None:
    """The slower one is told to look again."""
    await pins.see("shop", [OLD])
    await pins.see("shop", [NEW])
    others = [Pins(desk.store, desk.clock, desk.ids) for _ in range(3)]
    given = await asyncio.gather(
        *(one.accept("shop", "read", NEW.digest, by=f"p{at}", reason="r") for at, one in enumerate(others)),
        return_exceptions=True,
    )
    refused = [one for one in given if isinstance(one, ConflictError | NotFoundError)]
    assert len(refused) == 2
    assert (await reasons(desk)).count("TOOL_DEFINITION_ACCEPTED") == 1


async def test_of_two_processes_the_first_one_pins(desk, pins) -> None:
    """The other one holds what it saw against that, and neither record is lost."""
    other = Pins(desk.store, desk.clock, desk.ids)
    await pins.see("shop", [OLD])
    await other.see("shop", [NEW])
    assert other.standing("shop", "read").pin.digest == OLD.digest
    assert other.standing("shop", "read").in_force is None
    assert await reasons(desk) == ["TOOL_DEFINITION_PINNED", "TOOL_DEFINITION_CHANGED"]


async def test_a_start_reads_what_is_kept(desk, pins) -> None:
    """Every tool of every server; what changed last is what the server is taken to mean."""
    await pins.see("shop", [definition(f"t{at}") for at in range(30)])
    await pins.see("bank", [OLD])
    await pins.see("bank", [NEW])
    later = Pins(desk.store, desk.clock, desk.ids)
    await later.load()
    assert len(later.listed()) == 31
    assert later.standing("shop", "t7").in_force is not None
    assert later.standing("bank", "read").in_force is None
    assert [one.pin.tool for one in later.listed()][:2] == ["read", "t0"]


async def test_changes_of_one_tool_are_recorded_once_a_minute(desk, pins) -> None:
    """Each is held at once; the ledger has one of them, and the next after a minute."""
    await pins.see("shop", [OLD])
    for turn in range(5):
        await pins.see("shop", [definition(description=f"{turn}")])
        assert pins.standing("shop", "read").in_force is None
    assert (await reasons(desk)).count("TOOL_DEFINITION_CHANGED") == 1
    desk.clock.now_ms += 60_000
    await pins.see("shop", [definition(description="later")])
    assert (await reasons(desk)).count("TOOL_DEFINITION_CHANGED") == 2
    assert pins.standing("shop", "read").change.text.count("later") == 1


async def test_a_long_definition_is_cut_and_its_digest_is_not(desk, pins) -> None:
    """The record says that it is not whole."""
    long = definition(description="x" * MCP_DEFINITION_CHARS_KEPT)
    await pins.see("shop", [long])
    pin = pins.standing("shop", "read").pin
    assert (len(pin.text), pin.digest) == (MCP_DEFINITION_CHARS_KEPT, long.digest)
    kept = await desk.store.decision(EVERY_TENANT, pin.decision_id)
    assert orjson.loads(kept.body)["extensions"]["mcp"]["whole"] is False


async def test_nothing_is_pinned_that_is_not_kept(desk, pins) -> None:
    """A store that fails leaves the tool unknown, and one that changed held."""
    await pins.see("shop", [OLD])
    await desk.store.close()
    with pytest.raises(StoreUnavailableError):
        await pins.see("shop", [definition("other")])
    assert pins.standing("shop", "other").pin is None
    with pytest.raises(StoreUnavailableError):
        await pins.see("shop", [NEW])
    assert pins.standing("shop", "read").in_force is None
