"""The exchange table: the order of effects is a fact about data, so it is proved by walking the data."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.kernel.types import Fate
from gateway.pipeline.exchange import START, TABLE, Command, Event, Path, State, mermaid, paths

ALL = tuple(paths())
NEVER_WAITS = {Command.ABORT_BACKEND, Command.SETTLE, Command.SETTLE_UNSENT, Command.RELAY_BREAK}
RECORDS_A_FATE = {Command.SETTLE, Command.SETTLE_UNSENT, Command.PERSIST_REFUSAL}
ANSWERS = {
    Command.RELAY_END,
    Command.RELAY_BREAK,
    Command.ANSWER_ERROR,
    Command.ANSWER_REFUSAL,
}

HAPPENS: dict[State, set[Event]] = {
    State.READING: {Event.REQUEST_READ, Event.REQUEST_UNREADABLE},
    State.DECIDING: {Event.PERMITTED, Event.GOVERNED, Event.HELD, Event.DECISION_FAILED},
    State.ADMITTING: {
        Event.ADMITTED,
        Event.UNGOVERNED,
        Event.HELD,
        Event.SHED,
        Event.EXPIRED,
        Event.DECISION_FAILED,
    },
    State.PERSISTING: {Event.COMMITTED, Event.COMMIT_FAILED, Event.OVERTAKEN},
    State.PERSISTING_REFUSAL: {Event.COMMITTED, Event.COMMIT_FAILED},
    State.FORWARDING: {Event.HEAD_ARRIVED, Event.BACKEND_FAILED, Event.ATTEMPT_FAILED},
    State.BACKING_OFF: {Event.BACKED_OFF},
    State.PERSISTING_ATTEMPT: {Event.COMMITTED, Event.COMMIT_FAILED},
    State.RELAYING: {
        Event.CHUNK_ARRIVED,
        Event.BODY_COMPLETED,
        Event.BACKEND_REFUSED,
        Event.BODY_BROKE_OFF,
    },
}
"""What each state's command can come to, written down a second time by hand. Deciding waits for nothing,
so nobody can leave in it."""
INTERRUPTS = {Event.CLIENT_LEFT, Event.SHUT_DOWN}


def queued(path: Path) -> bool:
    """The record of this path is the store's: it was committed, or it was queued when the client left."""
    commits = [event for event in path.events if event in {Event.COMMITTED, Event.COMMIT_FAILED}]
    if commits:
        # The first is the decision's; a later one is that of a further attempt.
        return commits[0] is Event.COMMITTED
    decided = {Event.PERMITTED, Event.GOVERNED} & set(path.events)
    return bool(decided) and path.events[-1] in INTERRUPTS


def test_there_are_many_paths() -> None:
    """The walk is no empty one: every state and every event of the table is on some path."""
    assert len(ALL) > 20
    assert {event for path in ALL for event in path.events} == {event for _, event in TABLE}
    assert {state for state, _ in TABLE} == set(State) - {State.ENDED}


def test_nothing_is_forwarded_before_it_is_committed() -> None:
    """On every path each FORWARD stands behind a PERSIST, and is there only because of COMMITTED."""
    forwarded = [path for path in ALL if Command.FORWARD in path.commands]
    assert forwarded
    for path in forwarded:
        assert path.commands.index(Command.PERSIST) < path.commands.index(Command.FORWARD)
        assert Event.COMMITTED in path.events
    leads_to_forward = {key for key, found in TABLE.items() if Command.FORWARD in found.commands}
    assert leads_to_forward == {
        (State.PERSISTING, Event.COMMITTED),
        (State.PERSISTING_ATTEMPT, Event.COMMITTED),
    }


def test_every_attempt_has_its_own_commit() -> None:
    """On every path, also with two attempts, each FORWARD is the answer to one persist of its own."""
    effects = {Command.PERSIST, Command.PERSIST_ATTEMPT, Command.FORWARD}
    twice = 0
    for path in ALL:
        order = [command for command in path.commands if command in effects]
        assert (
            order
            == [
                Command.PERSIST,
                Command.FORWARD,
                Command.PERSIST_ATTEMPT,
                Command.FORWARD,
            ][: len(order)]
        ), path.events
        commits = path.events.count(Event.COMMITTED) - (Command.PERSIST_REFUSAL in path.commands)
        assert order.count(Command.FORWARD) <= max(0, commits), path.events
        twice += order.count(Command.FORWARD) == 2
    assert twice > 10
    for state in (State.PERSISTING, State.PERSISTING_ATTEMPT):
        assert Command.FORWARD not in TABLE[state, Event.COMMIT_FAILED].commands


def test_nothing_is_sent_again_once_an_answer_has_begun() -> None:
    """Behind RELAY_HEAD no path forwards: the client has bytes of the first answer."""
    begun = [path.commands for path in ALL if Command.RELAY_HEAD in path.commands]
    assert begun
    for commands in begun:
        assert Command.FORWARD not in commands[commands.index(Command.RELAY_HEAD) :]


def test_an_attempt_is_given_up_before_the_next_is_thought_of() -> None:
    """No two backends have the same exchange in their hands: there is no hedge."""
    found = TABLE[State.FORWARDING, Event.ATTEMPT_FAILED]
    assert found.commands[0] is Command.ABORT_BACKEND
    assert [key for key, one in TABLE.items() if one.state is State.BACKING_OFF] == [
        (State.FORWARDING, Event.ATTEMPT_FAILED)
    ]


def test_forward_stands_alone_in_its_transition() -> None:
    """No command runs in the same breath as FORWARD, so none can come between commit and forward."""
    for state in (State.PERSISTING, State.PERSISTING_ATTEMPT):
        assert TABLE[state, Event.COMMITTED].commands == (Command.FORWARD,)


def test_each_recorded_path_seals_exactly_one_fate() -> None:
    """A record that the store owns gets one outcome, whichever way the exchange goes."""
    for path in ALL:
        counted = Counter(path.commands)
        sealed = sum(counted[command] for command in RECORDS_A_FATE)
        assert len(path.fates) == sealed, path.events
        assert sealed <= 1, path.events
        if queued(path):
            assert sealed == 1, path.events


def test_what_was_never_recorded_has_no_settlement() -> None:
    """Where no record is promised nothing is settled and nothing was forwarded."""
    for path in ALL:
        if not queued(path):
            assert Command.SETTLE not in path.commands, path.events
            assert Command.FORWARD not in path.commands, path.events


def test_a_settlement_knows_its_fate() -> None:
    """What records a fate stands in transitions that say which, and no other transition has one."""
    for found in TABLE.values():
        assert bool(RECORDS_A_FATE & set(found.commands)) == (found.fate is not None)


def test_who_was_turned_away_was_never_forwarded() -> None:
    """Shed, expired and held requests commit decision and fate together, and no backend hears of them."""
    for path in ALL:
        if {Event.SHED, Event.EXPIRED, Event.HELD} & set(path.events):
            assert Command.PERSIST_REFUSAL in path.commands
            assert not {Command.FORWARD, Command.PERSIST} & set(path.commands)


def test_who_is_overtaken_is_never_forwarded() -> None:
    """Where another claimed first, the decision is committed as a refusal, and no backend hears of it."""
    overtaken = [path for path in ALL if Event.OVERTAKEN in path.events]
    assert overtaken
    for path in overtaken:
        assert Command.PERSIST_REFUSAL in path.commands
        assert Command.FORWARD not in path.commands


def test_without_a_governor_nothing_is_new() -> None:
    """A path that never meets a governor has the commands that it had before there was one."""
    direct = [path for path in ALL if Event.PERMITTED in path.events]
    assert direct
    for path in direct:
        assert path.commands[:3] == (Command.READ, Command.DECIDE, Command.PERSIST)
        assert Command.ADMIT not in path.commands


def test_a_failing_governor_changes_nothing() -> None:
    """Behind UNGOVERNED the request goes on exactly as an admitted one does."""
    assert TABLE[State.ADMITTING, Event.UNGOVERNED] == TABLE[State.ADMITTING, Event.ADMITTED]


def test_who_is_not_there_is_not_waited_for() -> None:
    """When the client has left or we are stopping only commands that never wait are left to do."""
    for (_, event), found in TABLE.items():
        if event in INTERRUPTS:
            assert set(found.commands) <= NEVER_WAITS
            assert found.state is State.ENDED


def test_every_event_that_can_happen_is_foreseen() -> None:
    """Each state foresees what its command can come to, a fault of ours, and an interrupt where it waits."""
    for state, events in HAPPENS.items():
        waits = set() if state is State.DECIDING else INTERRUPTS
        assert {event for origin, event in TABLE if origin is state} == events | waits | {Event.FAULTED}


def test_a_client_that_stays_gets_one_answer() -> None:
    """Every path that ends by itself answers exactly once; one that is forwarded and broken off is broken."""
    for path in ALL:
        answers = sum(path.commands.count(command) for command in ANSWERS)
        assert answers == (0 if path.events[-1] is Event.CLIENT_LEFT else 1) or (
            path.events[-1] is Event.SHUT_DOWN and answers in {0, 1}
        )


def test_a_broken_answer_never_looks_whole() -> None:
    """RELAY_END follows only a body that the backend ended as whole."""
    ends = {key for key, found in TABLE.items() if Command.RELAY_END in found.commands}
    assert ends == {(State.RELAYING, Event.BODY_COMPLETED), (State.RELAYING, Event.BACKEND_REFUSED)}


@pytest.mark.parametrize(
    ("state", "event", "fate"),
    [
        (State.RELAYING, Event.BODY_COMPLETED, Fate.COMPLETE),
        (State.RELAYING, Event.BACKEND_REFUSED, Fate.FAILED),
        (State.RELAYING, Event.BODY_BROKE_OFF, Fate.CUT),
        (State.RELAYING, Event.CLIENT_LEFT, Fate.CLIENT_GONE),
        (State.RELAYING, Event.SHUT_DOWN, Fate.CUT),
        (State.RELAYING, Event.FAULTED, Fate.CUT),
        (State.FORWARDING, Event.BACKEND_FAILED, Fate.FAILED),
        (State.FORWARDING, Event.FAULTED, Fate.FAILED),
        (State.FORWARDING, Event.CLIENT_LEFT, Fate.CLIENT_GONE),
        (State.BACKING_OFF, Event.CLIENT_LEFT, Fate.CLIENT_GONE),
        (State.BACKING_OFF, Event.SHUT_DOWN, Fate.CUT),
        (State.PERSISTING_ATTEMPT, Event.COMMIT_FAILED, Fate.FAILED),
        (State.PERSISTING_ATTEMPT, Event.CLIENT_LEFT, Fate.CLIENT_GONE),
        (State.PERSISTING, Event.CLIENT_LEFT, Fate.CLIENT_GONE),
        (State.DECIDING, Event.HELD, Fate.REFUSED),
        (State.ADMITTING, Event.HELD, Fate.REFUSED),
        (State.PERSISTING, Event.OVERTAKEN, Fate.REFUSED),
        (State.ADMITTING, Event.SHED, Fate.SHED),
        (State.ADMITTING, Event.EXPIRED, Fate.EXPIRED),
        (State.ADMITTING, Event.CLIENT_LEFT, Fate.CLIENT_GONE),
    ],
)
def test_fates(state: State, event: Event, fate: Fate) -> None:
    """Each end has the fate that the design names for it."""
    assert TABLE[state, event].fate is fate


def test_an_open_backend_is_always_dealt_with() -> None:
    """Where a backend may hold an answer that is not read to its end, it is aborted before the settlement."""
    for (state, event), found in TABLE.items():
        whole = event in {Event.BODY_COMPLETED, Event.BACKEND_REFUSED}
        if state in {State.FORWARDING, State.RELAYING} and found.state is State.ENDED and not whole:
            assert found.commands[0] is Command.ABORT_BACKEND


def test_the_diagram_shows_every_transition() -> None:
    """The drawing has one line for each row of the table, with its commands and its fate."""
    drawn = mermaid().splitlines()
    assert drawn[0] == "stateDiagram-v2"
    assert drawn[1].strip() == f"[*] --> {START.state.name}"
    assert drawn[-1].strip() == "ENDED --> [*]"
    assert len(drawn) == len(TABLE) + 3
    assert "    PERSISTING --> FORWARDING: committed / forward" in drawn
    assert "    RELAYING --> ENDED: body_completed / settle, relay_end [complete]" in drawn
    assert "    READING --> ENDED: client_left" in drawn
