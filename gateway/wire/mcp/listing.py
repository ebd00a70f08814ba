"""Lists of tools: what a server offers, the digest of each definition, and a list without some of them.

The digest covers the whole definition but `_meta` and `execution`, which differ between revisions and say
nothing to a model; order of keys and white space do not count. What a client is shown are the server's own
bytes, with the tools that it may not see cut out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

import orjson

from gateway.kernel.bounds import MCP_LIST_TTL_MS, MCP_TOOLS_MAX, TOOL_NAME_CHARS_MAX
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import UpstreamBrokenError
from gateway.kernel.types import JSON, JSONObject
from gateway.wire.mcp.revision import Era, MirroredArgument
from gateway.wire.spans import value_of, with_value, without_items

_NOT_COVERED: Final = frozenset({"_meta", "execution"})
_HINTS: Final = {
    "readOnlyHint": "read_only_hint",
    "destructiveHint": "destructive_hint",
    "idempotentHint": "idempotent_hint",
    "openWorldHint": "open_world_hint",
}
"""Annotations, and the evidence that they are where the configuration trusts the server."""
_HEADER: Final = "x-mcp-header"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_MIRRORED_TYPES: Final = frozenset({"string", "integer", "boolean"})
_MIRRORED_MAX: Final = 32
"""Headers of one tool: a request has 100 in all."""
_SCHEMA_STEPS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Definition:
    """One tool as its server defines it."""

    name: str
    digest: str
    text: str
    """What the digest covers: JSON with sorted keys."""
    hints: JSONObject
    """Its annotations, as evidence; only those that it says."""
    mirrored: tuple[MirroredArgument, ...]


def definitions(result: JSON) -> list[Definition | None]:
    """Return the tools of a `tools/list` result in their order, None for each that is none.

    Raises UpstreamBrokenError where the result is no list, or has more tools than anybody could look at.
    """
    tools = result.get("tools") if isinstance(result, dict) else None
    if not isinstance(tools, list):
        raise UpstreamBrokenError("the server's answer is no list of tools")
    if len(tools) > MCP_TOOLS_MAX:
        raise UpstreamBrokenError(f"the server lists more than {MCP_TOOLS_MAX} tools")
    return [_definition(tool) for tool in tools]


def next_cursor(result: JSON) -> str | None:
    """Return the cursor of the next page; an empty one goes on as well."""
    cursor = result.get("nextCursor") if isinstance(result, dict) else None
    return cursor if isinstance(cursor, str) else None


def shown(message: str, hidden: Collection[int], era: Era) -> str:
    """Return a response's text without the tools at some places of its list.

    In the stateless era the list is marked as this caller's own on every page, and as fresh for a minute at
    most: what is shown depends on who asks, and on the policy of the moment.
    """
    result = value_of(message, "result")
    if result is None:
        return message
    tools = value_of(result, "tools")
    if tools is not None and hidden:
        result = with_value(result, "tools", without_items(tools, hidden))
    if era is Era.STATELESS:
        result = with_value(result, "cacheScope", '"private"')
        fresh_ms = value_of(result, "ttlMs")
        if fresh_ms is not None and not _within(fresh_ms):
            result = with_value(result, "ttlMs", str(MCP_LIST_TTL_MS))
    return with_value(message, "result", result)


def is_tool_name(name: JSON) -> TypeGuard[str]:
    """Tell whether a name can be a tool's: short and printable, so that a person can read what was called."""
    return isinstance(name, str) and 0 < len(name) <= TOOL_NAME_CHARS_MAX and name.isprintable()


def _within(fresh_ms: str) -> bool:
    return fresh_ms.isdecimal() and len(fresh_ms) < 10 and int(fresh_ms) <= MCP_LIST_TTL_MS


def _definition(tool: JSON) -> Definition | None:
    name = tool.get("name") if isinstance(tool, dict) else None
    if not is_tool_name(name):
        return None
    covered = {key: value for key, value in tool.items() if key not in _NOT_COVERED}
    text = orjson.dumps(covered, option=orjson.OPT_SORT_KEYS)
    annotations = tool.get("annotations")
    said = annotations if isinstance(annotations, dict) else {}
    hints = {ours: said[theirs] for theirs, ours in _HINTS.items() if type(said.get(theirs)) is bool}
    mirrored = tuple(_mirrored(tool.get("inputSchema")))
    return Definition(name, sha256_digest(text), text.decode(), hints, mirrored)


def _mirrored(schema: JSON) -> Sequence[MirroredArgument]:
    """Return the arguments that stand in headers; none where the schema is against the rules for them.

    Clients drop a tool with a wrong annotation, and servers check nothing of it: neither do we.
    """
    found: list[MirroredArgument] = []
    for path, node in _positions(schema):
        if _HEADER not in node:
            continue
        token, kind = node[_HEADER], node.get("type")
        if not path or not isinstance(token, str) or not _TOKEN.match(token):
            return ()
        if not isinstance(kind, str) or kind not in _MIRRORED_TYPES:
            return ()
        found.append(MirroredArgument(path, token.lower(), kind == "integer"))
    unique = {argument.header for argument in found}
    return found if len(unique) == len(found) <= _MIRRORED_MAX else ()


def _positions(schema: JSON) -> Iterator[tuple[tuple[str, ...], JSONObject]]:
    """Yield every object of a schema with its path of `properties`, () where there is no such path."""
    pending: list[tuple[tuple[str, ...], bool, JSON]] = [((), True, schema)]
    steps = 0
    while pending and (steps := steps + 1) < _SCHEMA_STEPS_MAX:
        path, reachable, node = pending.pop()
        if isinstance(node, list):
            pending += [((), False, item) for item in node]
        elif isinstance(node, dict):
            yield (path if reachable else ()), node
            for key, below in node.items():
                if key == "properties" and isinstance(below, dict):
                    pending += [((*path, name), reachable, item) for name, item in below.items()]
                elif key not in {"default", "examples", "const", "enum"}:
                    pending.append(((), False, below))
