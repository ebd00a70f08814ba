"""What outlives an outage: outcomes of what was admitted, and nothing whose decision was refused."""

from __future__ import annotations

import asyncio

import pytest

from gateway.store.outage import belongs_to_lost, spare
from gateway.store.rows import seal
from gateway.store.writer import Group
from tests.kit.entries import control, decision, event


@pytest.fixture
async def loop() -> asyncio.AbstractEventLoop:
    """The loop that makes the futures of groups."""
    return asyncio.get_running_loop()


def group(loop: asyncio.AbstractEventLoop, *entries, patient: bool) -> Group:
    """A group of entries."""
    return Group(tuple(map(seal, entries)), loop.create_future(), patient)


async def test_what_nobody_waits_for_is_kept_in_order(loop: asyncio.AbstractEventLoop) -> None:
    """Outcomes and control records stay; decisions, and outcomes behind a refused decision, go."""
    earlier, refused, withdrawn = decision(1), decision(2), decision(3)
    groups = [
        group(loop, event(1, earlier.entry_id), patient=True),
        group(loop, refused, patient=False),
        group(loop, event(2, refused.entry_id), patient=True),
        group(loop, withdrawn, event(3, withdrawn.entry_id), patient=True),
        group(loop, control(4), patient=True),
    ]
    lost: set[str] = set()
    gone, kept = spare(groups, lost)
    assert gone == groups[1:3]
    assert kept == [groups[0], *groups[3:]]
    assert lost == {refused.entry_id, event(2, refused.entry_id).entry_id}


def test_an_event_of_a_lost_decision_is_known() -> None:
    """Only an event can belong to a decision, and only to one that was refused counts."""
    sealed = (seal(decision(1)), seal(event(1, decision(1).entry_id)))
    assert belongs_to_lost(sealed, {decision(1).entry_id})
    assert not belongs_to_lost(sealed, {decision(2).entry_id})
    assert not belongs_to_lost(sealed[:1], {decision(1).entry_id})
