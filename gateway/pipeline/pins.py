"""Pins: which definition of each tool is in force, so that a server cannot change a tool behind its name.

    first seen -> pinned        another definition -> changed, and held until an operator accepts it -> pinned

The first definition of a tool that comes by is pinned. Another one under the same name is kept beside it and
nothing more: the tool is not shown and not called until an operator has looked at both and accepted the new
one, by its digest. Each step is a decision on the record, made by the gate's policy; the claims beside the
ledger (`mcp_pin`, `mcp_change`) hold what is in force and order who comes first, also between processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import orjson

from gateway.engine.decide import Decision, Stamp
from gateway.kernel.bounds import MCP_DEFINITION_CHARS_KEPT, PAGE_DECISIONS_MAX, WHOLE_MAX
from gateway.kernel.clock import Clock
from gateway.kernel.errors import ClaimTakenError, ConflictError, NotFoundError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import EVERY_TENANT, NO_TENANT, JSONObject
from gateway.pipeline.gatehouse import Finding, decide_finding
from gateway.pipeline.journal import decision_entry
from gateway.store.claims import Claim, ClaimFilter, ClaimStep
from gateway.store.port import Store
from gateway.wire.mcp.listing import Definition
from gateway.wire.mcp.revision import MirroredArgument

PIN_SPACE: Final = "mcp_pin"
CHANGE_SPACE: Final = "mcp_change"
ACTION_TYPE: Final = "mcp.pin_tool"
_GATEWAY: Final = {"id": "lumyn-gateway", "type": "service"}
_FOREVER_MS: Final = WHOLE_MAX
_CHANGE_INTERVAL_MS: Final = 60_000
"""Between two records of changes of one tool: a server whose texts hold the time would fill the ledger."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A definition, in force or proposed."""

    server: str
    tool: str
    digest: str
    decision_id: str
    """The decision that pinned or held it."""
    at_ms: int
    text: str
    """The definition as its digest covers it, cut at a bound."""
    hints: JSONObject
    mirrored: tuple[MirroredArgument, ...]

    @property
    def target(self) -> str:
        """The tool as an approval binds to it: another definition is another target."""
        return f"{self.server}/{self.tool}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one tool."""

    pin: Pin | None
    change: Pin | None = None
    """A definition that waits for an operator."""
    current: str | None = None
    """The digest of the definition that the server gave last, as far as this process knows."""

    @property
    def in_force(self) -> Pin | None:
        """The pin, where the server still means by the name what was pinned."""
        return self.pin if self.pin is not None and self.pin.digest == self.current else None


class Pins:
    """The pins of all servers: held in memory, kept in the store, read again where others may write."""

    def __init__(self, store: Store, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._known: dict[tuple[str, str], Standing] = {}

    async def load(self) -> None:
        """Read everything that is kept. Raises StoreUnavailableError."""
        pins = {_name(pin.server, pin.tool): pin for pin in await self._all(PIN_SPACE)}
        changes = {_name(pin.server, pin.tool): pin for pin in await self._all(CHANGE_SPACE)}
        for name, pin in pins.items():
            self._known[pin.server, pin.tool] = self._read_anew(pin, changes.get(name))

    def standing(self, server: str, tool: str) -> Standing:
        """Return what is known of a tool."""
        return self._known.get((server, tool), _NOTHING)

    def listed(self) -> Sequence[Standing]:
        """Return every tool, by server and name."""
        return [self._known[key] for key in sorted(self._known)]

    async def see(self, server: str, seen: Sequence[Definition]) -> None:
        """Take note of definitions that a server gives; return when what is new is durable.

        A tool that comes back to its pinned definition is in force again. Raises StoreError.
        """
        new: list[Definition] = []
        for definition in seen:
            standing = self.standing(server, definition.name)
            if standing.pin is None:
                new.append(definition)
            else:
                await self._compare(server, definition, standing)
        await asyncio.gather(*(self._pin(server, definition) for definition in new))

    async def refresh(self, server: str, tool: str) -> Standing:
        """Read a tool's pins anew: an operator may have spoken to another process. Raises StoreError."""
        name = _name(server, tool)
        pin = await self._store.claim(NO_TENANT, PIN_SPACE, name)
        change = await self._store.claim(NO_TENANT, CHANGE_SPACE, name)
        if pin is None:
            return _NOTHING
        standing = self._read_anew(_pin_of(pin), None if change is None else _pin_of(change))
        self._known[server, tool] = standing
        return standing

    async def accept(self, server: str, tool: str, digest: str, *, by: str, reason: str) -> Pin:
        """Pin the changed definition that has this digest; return it once that is durable.

        Raises NotFoundError where no change of this digest waits, and ConflictError where it has changed
        meanwhile: an operator accepts what was looked at, and nothing else.
        """
        standing = await self.refresh(server, tool)
        change = standing.change
        if standing.pin is None or change is None or change.digest != digest:
            raise NotFoundError(
                f"no change of `{tool}` on `{server}` with the digest {digest[:71]} waits for anybody",
                hint="`lumyn mcp pins ls` lists what waits",
            )
        facts = {"accepted_by": by, "reason": reason, "was": standing.pin.digest}
        pin, decision = self._decide(server, _definition(change), Finding.ACCEPTED, facts)
        steps = (
            ClaimStep(_claim(PIN_SPACE, pin), over=_claim(PIN_SPACE, standing.pin)),
            ClaimStep(_claim(CHANGE_SPACE, change), over=_claim(CHANGE_SPACE, change), removes=True),
        )
        try:
            await self._keep(pin, decision, steps)
        except ClaimTakenError:
            await self.refresh(server, tool)
            raise ConflictError(
                f"`{tool}` on `{server}` has changed meanwhile", hint="look at it again, then accept it"
            ) from None
        self._known[server, tool] = Standing(pin, current=standing.current)
        return pin

    def _read_anew(self, pin: Pin, change: Pin | None) -> Standing:
        """What the server gave last is known here alone; at first it is what was recorded last."""
        known = self._known.get((pin.server, pin.tool))
        if known is not None:
            return Standing(pin, change, known.current)
        return Standing(pin, change, (change or pin).digest)

    async def _compare(self, server: str, definition: Definition, standing: Standing) -> None:
        # Held, or in force again, from now on and whatever becomes of a record: the store may fail.
        standing = replace(standing, current=definition.digest)
        self._known[server, definition.name] = standing
        assert standing.pin is not None
        change = standing.change
        if definition.digest not in {standing.pin.digest, None if change is None else change.digest}:
            recent_ms = self._clock.wall_ms() - _CHANGE_INTERVAL_MS
            if change is None or change.at_ms <= recent_ms:
                await self._hold(server, definition, standing)

    async def _pin(self, server: str, definition: Definition) -> None:
        pin, decision = self._decide(server, definition, Finding.FIRST_SEEN, {})
        try:
            await self._keep(pin, decision, (ClaimStep(_claim(PIN_SPACE, pin)),))
        except ClaimTakenError:
            # Another process saw it first: what it saw holds, also against this definition.
            standing = await self.refresh(server, definition.name)
            if standing.pin is not None:
                await self._compare(server, definition, standing)
            return
        self._known[server, definition.name] = Standing(pin, current=pin.digest)

    async def _hold(self, server: str, definition: Definition, standing: Standing) -> None:
        assert standing.pin is not None
        change, decision = self._decide(server, definition, Finding.CHANGED, {"was": standing.pin.digest})
        over = None if standing.change is None else _claim(CHANGE_SPACE, standing.change)
        try:
            await self._keep(change, decision, (ClaimStep(_claim(CHANGE_SPACE, change), over=over),))
        except ClaimTakenError:
            await self.refresh(server, definition.name)
            return
        self._known[server, definition.name] = replace(standing, change=change)

    def _decide(
        self, server: str, definition: Definition, finding: Finding, facts: JSONObject
    ) -> tuple[Pin, Decision]:
        at_ms = self._clock.wall_ms()
        decision_id = self._ids.new()
        text = definition.text
        pin = Pin(
            server=server,
            tool=definition.name,
            digest=definition.digest,
            decision_id=decision_id,
            at_ms=at_ms,
            text=text[:MCP_DEFINITION_CHARS_KEPT],
            hints=definition.hints,
            mirrored=definition.mirrored,
        )
        request = {
            "schema_version": "decision_request.v0",
            "subject": _GATEWAY,
            "action": {
                "type": ACTION_TYPE,
                "intent": f"pin {definition.name} of {server}",
                "target": {"system": server, "resource_type": "mcp_tool", "resource_id": definition.name},
            },
            "evidence": {**facts, "definition_digest": definition.digest},
            "context": {"mode": "digest_only", "digest": definition.digest},
        }
        extensions = {"mcp": {"definition": pin.text, "whole": len(text) == len(pin.text)}}
        stamp = Stamp(decision_id, at_ms)
        return pin, decide_finding(request, finding, stamp, extensions=extensions)

    async def _keep(self, pin: Pin, decision: Decision, steps: tuple[ClaimStep, ...]) -> None:
        entry = decision_entry(decision, tenant=NO_TENANT, at_ms=pin.at_ms, awaits_outcome=False)
        await self._store.submit((entry,), steps=steps)

    async def _all(self, space: str) -> list[Pin]:
        found: list[Pin] = []
        cursor: str | None = None
        while True:
            page = await self._store.claims(
                EVERY_TENANT, space, ClaimFilter(), limit=PAGE_DECISIONS_MAX, cursor=cursor
            )
            found += map(_pin_of, page.claims)
            cursor = page.next_cursor
            if cursor is None:
                return found


_NOTHING: Final = Standing(None)


def _name(server: str, tool: str) -> str:
    """Return what a pin is claimed under. No server's name holds a slash."""
    return f"{server}/{tool}"


def _claim(space: str, pin: Pin) -> Claim:
    body = {"text": pin.text, "hints": pin.hints, "mirrored": [asdict(one) for one in pin.mirrored]}
    return Claim(
        space=space,
        tenant=NO_TENANT,
        name=_name(pin.server, pin.tool),
        owner=pin.server,
        state="held",
        digest=pin.digest,
        decision_id=pin.decision_id,
        at_ms=pin.at_ms,
        expires_ms=_FOREVER_MS,
        body=orjson.dumps(body),
    )


def _pin_of(claim: Claim) -> Pin:
    server, _, tool = claim.name.partition("/")
    body = orjson.loads(claim.body)
    mirrored = tuple(
        MirroredArgument(tuple(one["path"]), one["header"], one["integer"]) for one in body["mirrored"]
    )
    return Pin(
        server, tool, claim.digest, claim.decision_id, claim.at_ms, body["text"], body["hints"], mirrored
    )


def _definition(pin: Pin) -> Definition:
    return Definition(pin.tool, pin.digest, pin.text, pin.hints, pin.mirrored)
