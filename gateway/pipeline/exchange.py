"""One exchange as a table: what may follow what, and the fate each path ends in.

Events come in, commands go out; nothing here waits, reads or writes. Whatever carries the commands
out (`pipeline.drive`) can only do what the table says, so "persist, then forward" is a fact about
this table, and the tests prove it by walking every path.

Two rules:

1. Everything that decides the order of effects lives in `TABLE`.
2. A path that reached a decision ends in exactly one fate. A request that was never decided (it
   could not be read) has no record and no fate: nothing was forwarded and nothing was promised.

The diagram in `docs/architecture.md` is drawn from this table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from gateway.kernel.types import Fate


class _Name(Enum):
    """A name that is itself and nothing else: hashed as an object, at a tenth of what `Enum` takes."""

    __hash__ = object.__hash__


class State(_Name):
    """Where an exchange stands."""

    READING = auto()
    DECIDING = auto()
    ADMITTING = auto()
    """Permitted, and waiting for its turn: only where intents are configured."""
    PERSISTING = auto()
    PERSISTING_REFUSAL = auto()
    FORWARDING = auto()
    BACKING_OFF = auto()
    """An attempt failed before the first byte of an answer, and there is somewhere else, or another time."""
    PERSISTING_ATTEMPT = auto()
    RELAYING = auto()
    ENDED = auto()


class Event(_Name):
    """What happened: past tense."""

    REQUEST_READ = auto()
    REQUEST_UNREADABLE = auto()
    PERMITTED = auto()
    """The verdict is TRUST, or the mode is advisory; nobody governs the load."""
    GOVERNED = auto()
    """Permitted, and a governor has a say in when and how it is served."""
    ADMITTED = auto()
    """Its turn has come, under a plan that the policy permits as well."""
    SHED = auto()
    EXPIRED = auto()
    UNGOVERNED = auto()
    """The governor failed. It fails open: the request goes on as it came."""
    HELD = auto()
    DECISION_FAILED = auto()
    COMMITTED = auto()
    COMMIT_FAILED = auto()
    OVERTAKEN = auto()
    """Another request claimed, between our look and our commit, what this one needs to itself."""
    HEAD_ARRIVED = auto()
    CHUNK_ARRIVED = auto()
    BODY_COMPLETED = auto()
    BACKEND_REFUSED = auto()
    """The answer is whole and says that the backend did not do it (status 400 and above)."""
    BODY_BROKE_OFF = auto()
    BACKEND_FAILED = auto()
    """No head came, or one that says no, and there is no further attempt."""
    ATTEMPT_FAILED = auto()
    """As above, and there is a further attempt."""
    BACKED_OFF = auto()
    CLIENT_LEFT = auto()
    SHUT_DOWN = auto()
    """We are stopping and the drain time is over."""
    FAULTED = auto()
    """Something of ours broke where nothing should: to be mended, and still one fate."""


class Command(_Name):
    """What to do next: imperative."""

    READ = auto()
    DECIDE = auto()
    ADMIT = auto()
    """Plan the request and wait for its turn."""
    PERSIST = auto()
    PERSIST_REFUSAL = auto()
    """The decision and its outcome (refused, shed or expired), in one commit."""
    FORWARD = auto()
    BACK_OFF = auto()
    """Wait, if at all, until the further attempt may be made."""
    PERSIST_ATTEMPT = auto()
    """Commit the event of the further attempt, with the digest of the bytes that it sends."""
    RELAY_HEAD = auto()
    RELAY_CHUNK = auto()
    RELAY_END = auto()
    RELAY_BREAK = auto()
    """End the client's answer so that it cannot be taken for a whole one."""
    ABORT_BACKEND = auto()
    SETTLE = auto()
    """Append the outcome event with the transition's fate, and hand the observation on."""
    SETTLE_UNSENT = auto()
    """Queue the decision and its outcome together: whoever asked does not wait for the commit any more."""
    ANSWER_ERROR = auto()
    ANSWER_REFUSAL = auto()


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an event leads, what is to be done, in order, and the fate where one is sealed."""

    state: State
    commands: tuple[Command, ...] = ()
    fate: Fate | None = None


START: Final = Transition(State.READING, (Command.READ,))

_LEFT: Final = Transition(State.ENDED, (Command.ABORT_BACKEND, Command.SETTLE), Fate.CLIENT_GONE)
_NO_ANSWER: Final = Transition(
    State.ENDED,
    (Command.ABORT_BACKEND, Command.SETTLE, Command.ANSWER_ERROR),
    Fate.FAILED,
)
_CUT: Final = Transition(
    State.ENDED,
    (Command.ABORT_BACKEND, Command.SETTLE, Command.RELAY_BREAK),
    Fate.CUT,
)

_NO_ATTEMPT: Final = Transition(State.ENDED, (Command.SETTLE, Command.ANSWER_ERROR), Fate.FAILED)
_LEFT_BETWEEN: Final = Transition(State.ENDED, (Command.SETTLE,), Fate.CLIENT_GONE)
_CUT_BETWEEN: Final = Transition(State.ENDED, (Command.SETTLE, Command.RELAY_BREAK), Fate.CUT)
"""Before the first attempt and between two no backend has anything of this exchange in its hands."""

_UNPROMISED: Final = Transition(State.ENDED, (Command.ANSWER_ERROR,))
"""Nothing is on record and nothing was forwarded: the caller is told, and no fate is sealed."""


def _turned_away(fate: Fate) -> Transition:
    return Transition(State.PERSISTING_REFUSAL, (Command.PERSIST_REFUSAL,), fate)


TABLE: Final[Mapping[tuple[State, Event], Transition]] = MappingProxyType(
    {
        (State.READING, Event.REQUEST_READ): Transition(State.DECIDING, (Command.DECIDE,)),
        (State.READING, Event.REQUEST_UNREADABLE): _UNPROMISED,
        (State.READING, Event.FAULTED): _UNPROMISED,
        (State.READING, Event.CLIENT_LEFT): Transition(State.ENDED),
        (State.READING, Event.SHUT_DOWN): Transition(State.ENDED),
        (State.DECIDING, Event.PERMITTED): Transition(State.PERSISTING, (Command.PERSIST,)),
        (State.DECIDING, Event.HELD): _turned_away(Fate.REFUSED),
        (State.DECIDING, Event.GOVERNED): Transition(State.ADMITTING, (Command.ADMIT,)),
        (State.DECIDING, Event.DECISION_FAILED): _UNPROMISED,
        (State.DECIDING, Event.FAULTED): _UNPROMISED,
        (State.ADMITTING, Event.ADMITTED): Transition(State.PERSISTING, (Command.PERSIST,)),
        (State.ADMITTING, Event.UNGOVERNED): Transition(State.PERSISTING, (Command.PERSIST,)),
        (State.ADMITTING, Event.HELD): _turned_away(Fate.REFUSED),
        (State.ADMITTING, Event.SHED): _turned_away(Fate.SHED),
        (State.ADMITTING, Event.EXPIRED): _turned_away(Fate.EXPIRED),
        (State.ADMITTING, Event.DECISION_FAILED): _UNPROMISED,
        (State.ADMITTING, Event.FAULTED): _UNPROMISED,
        # It was decided and it waited: that is on record, though nothing was forwarded.
        (State.ADMITTING, Event.CLIENT_LEFT): Transition(
            State.ENDED, (Command.SETTLE_UNSENT,), Fate.CLIENT_GONE
        ),
        (State.ADMITTING, Event.SHUT_DOWN): Transition(
            State.ENDED,
            (Command.SETTLE_UNSENT, Command.RELAY_BREAK),
            Fate.CUT,
        ),
        (State.PERSISTING, Event.COMMITTED): Transition(State.FORWARDING, (Command.FORWARD,)),
        (State.PERSISTING, Event.COMMIT_FAILED): _UNPROMISED,
        (State.PERSISTING, Event.OVERTAKEN): _turned_away(Fate.REFUSED),
        (State.PERSISTING, Event.FAULTED): _UNPROMISED,
        # The record was queued and belongs to the store: its outcome is queued behind it.
        (State.PERSISTING, Event.CLIENT_LEFT): _LEFT_BETWEEN,
        (State.PERSISTING, Event.SHUT_DOWN): _CUT_BETWEEN,
        (State.PERSISTING_REFUSAL, Event.COMMITTED): Transition(State.ENDED, (Command.ANSWER_REFUSAL,)),
        (State.PERSISTING_REFUSAL, Event.COMMIT_FAILED): _UNPROMISED,
        (State.PERSISTING_REFUSAL, Event.FAULTED): _UNPROMISED,
        (State.PERSISTING_REFUSAL, Event.CLIENT_LEFT): Transition(State.ENDED),
        (State.PERSISTING_REFUSAL, Event.SHUT_DOWN): Transition(State.ENDED),
        (State.FORWARDING, Event.HEAD_ARRIVED): Transition(State.RELAYING, (Command.RELAY_HEAD,)),
        (State.FORWARDING, Event.BACKEND_FAILED): _NO_ANSWER,
        (State.FORWARDING, Event.ATTEMPT_FAILED): Transition(
            State.BACKING_OFF, (Command.ABORT_BACKEND, Command.BACK_OFF)
        ),
        (State.FORWARDING, Event.FAULTED): _NO_ANSWER,
        (State.FORWARDING, Event.CLIENT_LEFT): _LEFT,
        (State.FORWARDING, Event.SHUT_DOWN): _CUT,
        (State.BACKING_OFF, Event.BACKED_OFF): Transition(
            State.PERSISTING_ATTEMPT, (Command.PERSIST_ATTEMPT,)
        ),
        (State.BACKING_OFF, Event.FAULTED): _NO_ATTEMPT,
        (State.BACKING_OFF, Event.CLIENT_LEFT): _LEFT_BETWEEN,
        (State.BACKING_OFF, Event.SHUT_DOWN): _CUT_BETWEEN,
        (State.PERSISTING_ATTEMPT, Event.COMMITTED): Transition(State.FORWARDING, (Command.FORWARD,)),
        # The decision is on record and an attempt was made: nothing more is sent, and it has its fate.
        (State.PERSISTING_ATTEMPT, Event.COMMIT_FAILED): _NO_ATTEMPT,
        (State.PERSISTING_ATTEMPT, Event.FAULTED): _NO_ATTEMPT,
        (State.PERSISTING_ATTEMPT, Event.CLIENT_LEFT): _LEFT_BETWEEN,
        (State.PERSISTING_ATTEMPT, Event.SHUT_DOWN): _CUT_BETWEEN,
        (State.RELAYING, Event.CHUNK_ARRIVED): Transition(State.RELAYING, (Command.RELAY_CHUNK,)),
        (State.RELAYING, Event.BODY_COMPLETED): Transition(
            State.ENDED,
            (Command.SETTLE, Command.RELAY_END),
            Fate.COMPLETE,
        ),
        (State.RELAYING, Event.BACKEND_REFUSED): Transition(
            State.ENDED,
            (Command.SETTLE, Command.RELAY_END),
            Fate.FAILED,
        ),
        (State.RELAYING, Event.BODY_BROKE_OFF): _CUT,
        (State.RELAYING, Event.FAULTED): _CUT,
        (State.RELAYING, Event.CLIENT_LEFT): _LEFT,
        (State.RELAYING, Event.SHUT_DOWN): _CUT,
    },
)


@dataclass(frozen=True, slots=True)
class Path:
    """One way through the table, each of its rows taken at most once: loops, and a second attempt, once."""

    events: tuple[Event, ...]
    commands: tuple[Command, ...]
    fates: tuple[Fate, ...]


def paths() -> Iterator[Path]:
    """Yield every way from start to end, so that a test can assert over all of them."""
    none: frozenset[tuple[State, Event]] = frozenset()
    pending = [(START.state, none, Path((), START.commands, ()))]
    while pending:
        state, taken, path = pending.pop()
        if state is State.ENDED:
            yield path
            continue
        for row, transition in TABLE.items():
            if row[0] is state and row not in taken:
                fates = () if transition.fate is None else (transition.fate,)
                longer = Path((*path.events, row[1]), path.commands + transition.commands, path.fates + fates)
                pending.append((transition.state, taken | {row}, longer))


def mermaid() -> str:
    """Draw the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> READING"]
    for (state, event), transition in TABLE.items():
        commands = ", ".join(command.name.lower() for command in transition.commands)
        fate = "" if transition.fate is None else f" [{transition.fate.value}]"
        label = f"{event.name.lower()}{' / ' + commands if commands else ''}{fate}"
        lines.append(f"    {state.name} --> {transition.state.name}: {label}")
    return "\n".join([*lines, "    ENDED --> [*]", ""])
