"""YAML text in, JSON values with the place of every node out; bounded before anything is built.

The reader walks libyaml's event stream and never composes: composing nested brackets crashes libyaml
and aliases expand without limit, so size, depth and node count are checked event by event, and
aliases, anchors, tags, merge keys and duplicate keys are refused. Scalars are JSON scalars: `no` is a
string, and a spelling that some YAML version reads as a number or a boolean and JSON does not (`010`,
`1:30`, `True`) is an error that says so, because guessing would change what a policy means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeAlias

import yaml

from gateway.kernel.bounds import YAML_BYTES_MAX, YAML_DEPTH_MAX, YAML_NODES_MAX
from gateway.kernel.errors import InvalidPolicyError
from gateway.kernel.problem import Problem
from gateway.kernel.types import JSON

PROBLEMS_MAX: Final = 100
"""More than a person mends in one go; it bounds the error that a hostile document can make."""
INTEGER_MAX: Final = 2**53 - 1
"""Beyond it a double no longer tells neighbours apart, so RFC 8785 has no exact text for it."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_NEARLY_NUMBER: Final = re.compile(
    r"[-+]?(?:0[bB][01_]+|0[oO]?[0-7_]+|0[xX][0-9a-fA-F_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_ODD_BREAK: Final = re.compile("[\x85\u2028\u2029]")
"""Line ends to YAML 1.1, plain characters to YAML 1.2 and JSON."""
_WORDS: Final[dict[str, JSON]] = {"": None, "~": None, "null": None, "true": True, "false": False}
_NEARLY_WORDS: Final = frozenset({"Null", "NULL", "True", "TRUE", "False", "FALSE"})


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One value of the document and where it stands; lines and columns count from 1. Compared by identity."""

    value: JSON
    line: int
    column: int
    key_line: int
    key_column: int
    parent: Node | None
    step: str | int
    members: dict[str, Node]
    """The members of a mapping; empty for anything else."""
    items: list[Node]
    """The items of a sequence; empty for anything else."""

    @property
    def pointer(self) -> str:
        """The RFC 6901 pointer to this node."""
        steps: list[str] = []
        node: Node = self
        while node.parent is not None:
            steps.append(str(node.step).replace("~", "~0").replace("/", "~1"))
            node = node.parent
        return "".join(f"/{step}" for step in reversed(steps))

    def problem(self, message: str) -> Problem:
        """Return a problem placed at this value."""
        return Problem(message, self.line, self.column, self.pointer)

    def key_problem(self, message: str) -> Problem:
        """Return a problem placed at the key that leads to this value."""
        return Problem(message, self.key_line, self.key_column, self.pointer)


_NODES: Final = frozenset({yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent})
_ENDS: Final = frozenset({yaml.SequenceEndEvent, yaml.MappingEndEvent})
_Place: TypeAlias = tuple[int, int]


def read_document(text: bytes, *, source: str = "policy") -> Node:
    """Return the root of the one YAML document in `text` (UTF-8).

    Raises `InvalidPolicyError` with every duplicate key, tag, alias and ambiguous scalar found (at
    most `PROBLEMS_MAX`), or with the first breach of a bound or of YAML's syntax.
    """
    reader = _Reader(source)
    try:
        for event in yaml.parse(_decode(text, reader), Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        reader.stop(f"not YAML: {error.problem or error.context}", *(_place(mark) if mark else (1, 1)))
    except yaml.YAMLError as error:
        reader.stop(f"not YAML: {_first_line(error)}", 1, 1)
    return reader.finish()


def _decode(text: bytes, reader: _Reader) -> str:
    if len(text) > YAML_BYTES_MAX:
        reader.stop(f"{len(text)} bytes, and at most {YAML_BYTES_MAX} are read: split it into packs", 1, 1)
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - text.rfind(b"\n", 0, error.start)
        reader.stop("not UTF-8: save the document as UTF-8", line, column)
    found = None if decoded.isascii() else _ODD_BREAK.search(decoded)
    if found is not None:
        line = decoded.count("\n", 0, found.start()) + 1
        column = found.start() - decoded.rfind("\n", 0, found.start())
        message = f"U+{ord(found[0]):04X} ends a line for some readers only: write it as an escape"
        reader.stop(message, line, column)
    return decoded


def _place(mark: Any) -> _Place:
    return mark.line + 1, mark.column + 1


_NO_MEMBERS: Final[dict[str, Node]] = {}
_NO_ITEMS: Final[list[Node]] = []


def _containers(value: JSON) -> tuple[dict[str, Node], list[Node]]:
    """Return what a node needs to hold others; scalars, which hold none, share one pair."""
    if isinstance(value, dict):
        return {}, _NO_ITEMS
    return _NO_MEMBERS, ([] if isinstance(value, list) else _NO_ITEMS)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "unreadable")


class _Reader:
    """Builds nodes from events; `take` is called once per event, `finish` once at the end."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._problems: list[Problem] = []
        self._open: list[Node] = []
        self._root: Node | None = None
        self._key: tuple[str, _Place] | None = None
        self._nodes = 0
        self._documents = 0

    def stop(self, message: str, line: int, column: int) -> NoReturn:
        """Raise with what was found so far and this problem, which reading cannot go past."""
        raise InvalidPolicyError([*self._problems, Problem(message, line, column)], source=self._source)

    def take(self, event: Any) -> None:
        kind = event.__class__
        if kind in _NODES:
            self._take_node(event, _place(event.start_mark))
        elif kind in _ENDS:
            self._open.pop()
        elif kind is yaml.AliasEvent:
            message = f"alias `*{event.anchor}`: write the value out, aliases are not read"
            self.stop(message, *_place(event.start_mark))
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                self.stop("a second document: one file holds one policy", *_place(event.start_mark))

    def finish(self) -> Node:
        if self._problems:
            raise InvalidPolicyError(self._problems, source=self._source)
        if self._root is None:
            self.stop("the document is empty", 1, 1)
        return self._root

    def _take_node(self, event: Any, place: _Place) -> None:
        self._nodes += 1
        if self._nodes > YAML_NODES_MAX:
            self.stop(f"more than {YAML_NODES_MAX} nodes: split it into packs", *place)
        if event.anchor is not None:
            self._report(f"anchor `&{event.anchor}`: anchors are not read", place)
        if event.tag is not None:
            self._report(f"tag `{event.tag}`: tags are not read", place)
        scalar = event.__class__ is yaml.ScalarEvent
        if self._expects_key():
            self._take_key(event, place, scalar=scalar)
        elif scalar:
            self._attach(self._scalar(event, place), place)
        else:
            if len(self._open) >= YAML_DEPTH_MAX:
                self.stop(f"nested deeper than {YAML_DEPTH_MAX}", *place)
            mapping = isinstance(event, yaml.MappingStartEvent)
            self._open.append(self._attach({} if mapping else [], place))

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._key is None

    def _take_key(self, event: Any, place: _Place, *, scalar: bool) -> None:
        if not scalar:
            self.stop("a key must be a single string", *place)
        key = self._scalar(event, place)
        if not isinstance(key, str):
            self._report(f"key `{event.value}` is not a string: quote it", place)
            key = event.value
        if key == "<<" and not event.style:
            self._report("merge key `<<`: write the members out, merging is not read", place)
        if key in self._open[-1].members:
            first = self._open[-1].members[key]
            self._report(f"duplicate key `{_short(key)}`, first seen on line {first.key_line}", place)
        self._key = (key, place)

    def _attach(self, value: JSON, place: _Place) -> Node:
        parent = self._open[-1] if self._open else None
        step: str | int = ""
        key_place = place
        if parent is not None and self._key is not None:
            step, key_place = self._key
        elif parent is not None:
            step = len(parent.items)
        members, items = _containers(value)
        node = Node(value, place[0], place[1], key_place[0], key_place[1], parent, step, members, items)
        if parent is None:
            self._root = node
        elif isinstance(step, str):
            parent.value[step] = value
            parent.members[step] = node
            self._key = None
        else:
            parent.value.append(value)
            parent.items.append(node)
        return node

    def _scalar(self, event: Any, place: _Place) -> JSON:
        text: str = event.value
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            self._report("a lone surrogate is no character", place)
        if event.style:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text in _NEARLY_WORDS:
            self._report(f"`{text}` is ambiguous: write {text.lower()}, or quote it", place)
            return text
        number = _NUMBER.fullmatch(text)
        if number is not None:
            return self._number(text, place, whole=number.group(1) is None and number.group(2) is None)
        if _NEARLY_NUMBER.fullmatch(text) is not None:
            message = f"`{_short(text)}` is not a JSON number: write it plainly, or quote it"
            self._report(message, place)
        return text

    def _number(self, text: str, place: _Place, *, whole: bool) -> int | float:
        # The bound on digits comes first: int() and Decimal() of a long literal are not linear.
        if len(text) > 40:
            self._report(f"`{_short(text)}` has more digits than a number can keep", place)
            return 0
        value = int(text) if whole else float(text)
        if abs(value) > INTEGER_MAX and (whole or value == float("inf") or float(value).is_integer()):
            self._report(f"`{text}` is beyond 2^53-1 and cannot be kept exactly", place)
        elif not whole and Decimal(text) != Decimal(repr(value)):
            self._report(f"`{text}` cannot be kept exactly: write fewer digits", place)
        return value

    def _report(self, message: str, place: _Place) -> None:
        self._problems.append(Problem(message, *place))
        if len(self._problems) >= PROBLEMS_MAX:
            raise InvalidPolicyError(self._problems, source=self._source)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and everything below it, in document order."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed([*current.members.values(), *current.items]))
